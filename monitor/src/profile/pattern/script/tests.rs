//! What an interpreter runs, by its arguments.

use super::*;
use crate::profile::actor::Trust;

fn image_of_nothing<'a>() -> Image<'a> {
    Image {
        exe: None,
        given: None,
        argv: &[],
        argv_truncated: false,
        cwd: None,
        trust: Trust::Trusted,
        pin: crate::profile::actor::Pin::None,
    }
}

fn script(argv: &[&str]) -> Option<(String, bool)> {
    let argv: Vec<Arc<str>> = argv.iter().map(|s| Arc::from(*s)).collect();
    let exe = format!("/usr/bin/{}", &*argv[0]);
    let image = Image { exe: Some(&exe), argv: &argv, ..image_of_nothing() };
    match script_of(&image) {
        Script::File { path, before } => Some((path.to_owned(), before != Before::Nothing)),
        Script::None | Script::Module(_) => None,
    }
}

#[test]
fn script_is_the_first_argument_that_is_not_an_option() {
    let n8n = Some(("/usr/local/bin/n8n".to_owned(), false));
    assert_eq!(script(&["node", "/usr/local/bin/n8n", "start"]), n8n);
    assert_eq!(script(&["node", "--disable-proto=delete", "/usr/local/bin/n8n"]), n8n);
    assert_eq!(script(&["python3.11", "-I", "-X", "dev", "/usr/local/bin/n8n"]), n8n);
    assert_eq!(script(&["bash", "-o", "pipefail", "-e", "/usr/local/bin/n8n"]), n8n);
    assert_eq!(script(&["node", "--", "/usr/local/bin/n8n"]), n8n);
}

#[test]
fn code_on_the_command_line_has_no_script_whatever_follows() {
    for argv in [
        &["node", "-e", "x", "/usr/local/bin/n8n"][..],
        &["node", "--eval=x", "/usr/local/bin/n8n"],
        &["python3", "-Ic", "x", "/usr/local/bin/n8n"],
        &["sh", "-ec", "x", "/usr/local/bin/n8n"],
        &["perl", "-we", "x", "/usr/local/bin/n8n"],
        &["node", "-", "/usr/local/bin/n8n"],
        &["node"],
    ] {
        assert_eq!(script(argv), None, "{argv:?}");
    }
}

#[test]
fn code_loaded_before_the_script_is_told() {
    for argv in [
        &["node", "-r", "/tmp/x.js", "/s"][..],
        &["node", "--require=/tmp/x.js", "/s"],
        &["node", "--import", "/tmp/x.mjs", "/s"],
        &["node", "--env-file=/tmp/x.env", "/s"],
        &["node", "--env-file", "/tmp/x.env", "/s"],
        &["node", "--env_file_if_exists=/tmp/x.env", "/s"],
        &["node", "--experimental_loader", "/tmp/x.mjs", "/s"],
        &["node", "--openssl-config=/tmp/x.cnf", "/s"],
        &["node", "--snapshot-blob", "/tmp/x.blob", "/s"],
        &["perl", "-Mevil", "/s"],
    ] {
        assert_eq!(script(argv), Some(("/s".to_owned(), true)), "{argv:?}");
    }
}

fn told(argv: &[&str]) -> String {
    let argv: Vec<Arc<str>> = argv.iter().map(|s| Arc::from(*s)).collect();
    let exe = format!("/usr/bin/{}", &*argv[0]);
    format!("{:?}", script_of(&Image { exe: Some(&exe), argv: &argv, ..image_of_nothing() }))
}

#[test]
fn module_is_what_python_runs_and_not_what_its_program_is_told() {
    let module = "Module(\"src.main\")";
    for argv in [
        &["python3", "-m", "src.main"][..],
        &["python3.13", "-I", "-B", "-X", "disable_remote_debug", "-m", "src.main"],
        &["python3", "-IBm", "src.main", "x"],
        &["python3", "-msrc.main"],
    ] {
        assert_eq!(told(argv), module, "{argv:?}");
    }
    for argv in [
        &["python3", "-c", "import os", "-m", "src.main"][..],
        &["python3", "-Icx", "-m", "src.main"],
        &["python3", "-", "-m", "src.main"],
        &["python3", "/tmp/x.py", "-m", "src.main"],
        &["python3", "-m"],
        &["perl", "-m", "src.main"],
    ] {
        assert_ne!(told(argv), module, "{argv:?}");
    }
    let scripts = Scripts::new([&"-m src.main".to_owned(), &"**/bin/x".to_owned()]).unwrap();
    assert!(scripts.module("src.main") && scripts.file("/opt/bin/x"));
    assert!(!scripts.module("src.mainx") && !scripts.file("-m src.main") && !scripts.module("/opt/bin/x"));
    assert!(Scripts::new([&"-m [".to_owned()]).is_err());
}

#[test]
fn archive_is_what_java_runs_and_not_what_its_program_is_told() {
    let run = |before: &str| format!("File {{ path: \"/j.jar\", before: {before} }}");
    assert_eq!(told(&["java", "-jar", "/j.jar", "-jar", "/x.jar"]), run("Nothing"));
    assert_eq!(
        told(&["java", "-Xmx1g", "-cp", "/x.jar", "--add-opens", "a/b=c", "-jar", "/j.jar"]),
        run("Nothing")
    );
    for agent in
        ["-javaagent:/x.jar", "-agentpath:/x.so", "-agentlib:jdwp=server=y", "-Xbootclasspath/a:/x.jar"]
    {
        assert_eq!(told(&["java", agent, "-jar", "/j.jar"]), run("Agent"), "{agent}");
    }
    for argv in [
        &["java", "-cp", "/x.jar", "Evil", "-jar", "/j.jar"][..],
        &["java", "-m", "a/b.Evil", "-jar", "/j.jar"],
        &["java", "@/tmp/options", "-jar", "/j.jar"],
        &["java", "-jar"],
        &["java"],
    ] {
        assert_eq!(told(argv), "None", "{argv:?}");
    }
}

#[test]
fn busybox_is_the_applet_it_is_called_by() {
    let script = |argv: &[&str]| {
        let argv: Vec<Arc<str>> = argv.iter().map(|s| Arc::from(*s)).collect();
        let image = Image { exe: Some("/bin/busybox"), argv: &argv, ..image_of_nothing() };
        match script_of(&image) {
            Script::None | Script::Module(_) => None,
            Script::File { path, .. } => Some(path.to_owned()),
        }
    };
    assert_eq!(script(&["/bin/sh", "/x.sh", "a"]).as_deref(), Some("/x.sh"));
    assert_eq!(script(&["ash", "-e", "/x.sh"]).as_deref(), Some("/x.sh"));
    assert_eq!(script(&["busybox", "sh", "/x.sh"]).as_deref(), Some("/x.sh"));
    assert_eq!(script(&["sh", "-c", "id"]), None);
    assert_eq!(script(&["cat", "/x.sh"]), None);
    assert_eq!(script(&["busybox"]), None);
    assert_eq!(script(&[]), None);
}

#[test]
fn a_program_that_is_no_interpreter_has_no_script() {
    assert_eq!(script(&["cat", "/usr/local/bin/n8n"]), None);
}

//! Recording the live kernel, and playing it again without privileges.
//!
//! Needs root; `SANDWATCH_BIN` names the program, `SANDWATCH_RULES` its rules.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use serde_json::Value;

mod lab;

use lab::{alerts, cgroup_root, program, sandwatch, signal, wait};

/// `sandwatch record` of a cgroup, ready to see.
struct Recorder {
    child: Child,
    log: BufReader<ChildStderr>,
    folder: tempfile::TempDir,
}

impl Recorder {
    fn start(cgroup: &str, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let (output, raised) = (file("recording"), file("alerts"));
        let arguments = ["record", "--cgroup", cgroup, "-o", &output, "--alerts", &raised];
        let mut command = sandwatch(&arguments);
        let mut child = command.args(more).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("recording") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended before it recorded");
        }
        Self { child, log, folder }
    }

    /// Ends it: the recording, and the alerts raised meanwhile.
    fn end(mut self) -> (String, Vec<Value>) {
        signal(&self.child, libc::SIGINT);
        let status = wait(&mut self.child);
        let mut said = String::new();
        self.log.read_to_string(&mut said).unwrap();
        assert_eq!(status.code(), Some(0), "{said}");
        let text = |name: &str| fs::read_to_string(self.folder.path().join(name)).unwrap();
        (text("recording"), alerts(&text("alerts")))
    }
}

/// The alerts of a recording, as text, played by somebody who may nothing.
fn replay(recording: &str, rules: Option<&Path>) -> String {
    // Where anybody may execute it: the build's folder may be root's alone.
    let copy = tempfile::tempdir().unwrap();
    let ours = copy.path().join("sandwatch");
    fs::copy(program(), &ours).unwrap();
    open_to_all(copy.path());
    let mut command = Command::new(&ours);
    command.args(["replay", "-", "--output", "-"]).uid(65534).gid(65534).current_dir("/");
    if let Some(rules) = rules {
        command.arg("--rules").arg(rules);
    }
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(recording.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            open_to_all(&entry.path());
        } else {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}

/// What has to be the same live and played again: all but who delivered it, and the wall clock, which the agent asks again
/// each second.
fn essence(alerts: &[Value]) -> Vec<Value> {
    fn timeless(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for gone in [
                    "time",
                    "first",
                    "last",
                    "start",
                    "delivery",
                    "labels",
                    "environment",
                    "clock_synced",
                    "machine_id",
                ] {
                    fields.remove(gone);
                }
                fields.values_mut().for_each(timeless);
            }
            Value::Array(items) => items.iter_mut().for_each(timeless),
            _ => {}
        }
    }
    // Gaps are the whole agent's, a recording is that of some workers.
    let mut alerts: Vec<Value> = alerts.iter().filter(|alert| alert["kind"] == "incident").cloned().collect();
    alerts.iter_mut().for_each(timeless);
    // Live, a worse one that was raised in the same moment is sent first.
    alerts.sort_by_key(|alert| alert["id"].to_string());
    alerts
}

/// Where two values differ first, in words: whole alerts would fill screens.
fn difference(path: &str, a: &Value, b: &Value) -> Option<String> {
    match (a, b) {
        (Value::Object(left), Value::Object(right)) => left
            .keys()
            .chain(right.keys())
            .find_map(|key| difference(&format!("{path}.{key}"), &a[key], &b[key])),
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => left
            .iter()
            .zip(right)
            .enumerate()
            .find_map(|(at, (a, b))| difference(&format!("{path}[{at}]"), a, b)),
        _ => (a != b).then(|| format!("{path}: {a:#} and {b:#}")),
    }
}

fn assert_same(played: &[Value], live: &[Value]) {
    let (played, live) = (Value::from(essence(played)), Value::from(essence(live)));
    assert_eq!(difference("", &played, &live), None);
}

#[test]
fn recorded_demo_played_again_raises_the_very_same_alerts() {
    let recorder = Recorder::start("/sandwatch-demo-*", &[]);
    let demo = sandwatch(&["demo"]).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(demo.success());
    let (recording, live) = recorder.end();
    assert!(recording.starts_with(r#"{"schema":"sandwatch/recording/v1","made":"recorded""#));
    let (once, twice) = (replay(&recording, None), replay(&recording, None));
    assert_eq!(once, twice, "byte for byte");
    let played = alerts(&once);
    assert!(played.iter().any(|alert| alert["tier"] == "objective"), "{played:#?}");
    assert!(played.iter().all(|alert| alert["labels"]["replay"] == "recorded"));
    assert_same(&played, &live);
}

#[test]
fn demo_without_privileges_plays_its_recording_and_says_so() {
    let copy = tempfile::tempdir().unwrap();
    let ours = copy.path().join("sandwatch");
    fs::copy(program(), &ours).unwrap();
    open_to_all(copy.path());
    let output = Command::new(&ours)
        .args(["demo", "--recorded"])
        .uid(65534)
        .gid(65534)
        .current_dir("/")
        .output()
        .unwrap();
    let story = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{story}{}", String::from_utf8_lossy(&output.stderr));
    assert!(story.contains("THIS IS A RECORDING") && story.contains("3 of 3 signs"), "{story}");
}

const PROFILE: &str = r#"
schema: sandwatch/profile/v1
name: toy
title: A toy engine
select: [{ cgroup: "/sandwatch-ids-*" }]
roles:
  - { name: engine, parent: entry, program: toy-engine }
  - { name: runner, parent: engine, program: toy-runner, author: true }
expect:
  entry: { exec: { allow: [{ any: true }] } }
  engine: { exec: { allow: [{ becomes: runner }] } }
  runner: { exec: { allow: [{ any: true }] } }
  descendant: { exec: { allow: [{ any: true }] } }
attribution:
  - { field: run, from: env, name: TOY_RUN_ID, trust: engine }
  - { field: step, from: cwd, pattern: "**/jobs/{step}", trust: engine }
  - { field: workflow, from: open, pattern: "FOLDER/logs/{workflow}.log", at: engine, trust: engine }
"#;

const IDENTITIES: &str = r#"
schema: sandwatch/identities/v1
identities:
  - { id: toy-key, class: engine, gives: all, paths: ["FOLDER/key"], respond: { rotate: Change it. } }
"#;

/// A toy engine in a worker of its own, on a disk: programs on tmpfs are nobody's.
struct Toy {
    folder: tempfile::TempDir,
    cgroup: PathBuf,
}

impl Toy {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("sandwatch-ids-").tempdir_in("/var/lib").unwrap();
        for part in ["jobs/load", "jobs/evil", "logs", "rules/profiles"] {
            fs::create_dir_all(folder.path().join(part)).unwrap();
        }
        for name in ["toy-engine", "toy-runner"] {
            fs::copy("/bin/sh", folder.path().join(name)).unwrap();
        }
        for (file, text) in [("rules/profiles/toy.yaml", PROFILE), ("rules/identities.yaml", IDENTITIES)] {
            let text = text.replace("FOLDER", &folder.path().display().to_string());
            fs::write(folder.path().join(file), text).unwrap();
        }
        for file in ["key", "logs/nightly.log", "logs/evil.log"] {
            fs::write(folder.path().join(file), "x").unwrap();
        }
        open_to_all(folder.path());
        let cgroup = cgroup_root().join(format!("sandwatch-ids-{}", std::process::id()));
        fs::create_dir(&cgroup).unwrap();
        Self { folder, cgroup }
    }

    /// Runs a script as the engine.
    fn run(&self, script: &str) {
        let folder = self.folder.path().display();
        let enter = format!(
            "echo $$ > {}/cgroup.procs; exec {folder}/toy-engine -c '{script}'",
            self.cgroup.display()
        );
        let status = Command::new("/bin/sh")
            .args(["-c", &enter])
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Toy {
    fn drop(&mut self) {
        let _ = fs::write(self.cgroup.join("cgroup.kill"), "1");
        for _ in 0..300 {
            if fs::remove_dir(&self.cgroup).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

#[test]
fn forged_ids_on_the_live_kernel_change_no_attribution() {
    let toy = Toy::new();
    let rules = toy.folder.path().join("rules");
    let recorder = Recorder::start("/sandwatch-ids-*", &["--rules", &rules.display().to_string()]);
    // The engine names run and step and opens the workflow's log; the step says it is somebody else in every way there is,
    // leaves its parent, and takes the key.
    toy.run(
        "read x < logs/nightly.log; cd jobs/load; TOY_RUN_ID=42 ../../toy-runner -c \"\
         read x < ../../logs/evil.log; cd ../evil; export TOY_RUN_ID=666; \
         ( ../../toy-runner -c \\\"sleep 1; cat ../../key; true\\\" & ) ; true\"; sleep 2",
    );
    let (recording, live) = recorder.end();
    let theft = live
        .iter()
        .find(|alert| alert["blast_radius"]["taken"][0]["identity"] == "toy-key")
        .unwrap_or_else(|| panic!("no theft in {live:#?}"));
    let attribution = &theft["attribution"];
    let field = |name: &str| format!("{} {}", attribution[name]["value"], attribution[name]["trust"]);
    assert_eq!(field("run"), r#""42" "engine""#, "{attribution:#}");
    assert_eq!(field("step"), r#""load" "engine""#, "{attribution:#}");
    assert_eq!(field("workflow"), r#""nightly" "engine""#, "{attribution:#}");
    let chain = theft["incident"]["chain"].to_string();
    assert!(chain.contains("identity-substitution"), "{chain}");
    assert_eq!(theft["incident"]["run_key"], "run:42");
    open_to_all(toy.folder.path());
    assert_same(&alerts(&replay(&recording, Some(&rules))), &live);
}

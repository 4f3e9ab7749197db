//! The program as people call it: answers, errors and exit codes. Nothing here needs root or probes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn sandwatch(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sandwatch"))
        .args(args)
        .env_remove("SANDWATCH_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn answer(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn write(path: &Path, text: &str) -> String {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    path.to_str().unwrap().to_owned()
}

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../rules");

#[test]
fn version_and_help_are_answers_not_errors() {
    for args in [&["--version"][..], &["--help"], &["run", "--help"]] {
        let output = sandwatch(args);
        assert_eq!(code(&output), 0);
        assert!(error(&output).is_empty());
    }
    assert!(answer(&sandwatch(&["--version"])).starts_with("sandwatch 0."));
    assert!(!answer(&sandwatch(&["--help"])).contains("demo-toy"), "parts of the demo are not for people");
}

#[test]
fn usage_errors_exit_2() {
    for args in
        [&[][..], &["rnu"], &["run", "--colour"], &["doctor", "--hooks", "lsn"], &["rules", "schema", "x"]]
    {
        let output = sandwatch(args);
        assert_eq!(code(&output), 2, "{args:?}: {}", error(&output));
        assert!(!error(&output).is_empty());
    }
}

#[test]
fn a_configuration_error_names_file_line_and_the_nearest_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(&dir.path().join("c.yaml"), "schema: sandwatch/config/v1\nworkers:\n  wach: [\"/a\"]\n");
    let output = sandwatch(&["run", "--config", &path]);
    assert_eq!(code(&output), 2);
    assert!(
        error(&output).contains(&format!("{path}:3:3: unknown key \"wach\"; did you mean \"watch\"?")),
        "{}",
        error(&output)
    );
}

#[test]
fn a_configuration_that_others_may_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(&dir.path().join("c.yaml"), "schema: sandwatch/config/v1\n");
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let output = sandwatch(&["run", "--config", &path]);
    assert_eq!(code(&output), 2);
    assert!(error(&output).contains("may be written by everyone"), "{}", error(&output));
}

#[test]
fn rules_that_cannot_be_read_or_understood_are_refused_before_anything_is_watched() {
    let dir = tempfile::tempdir().unwrap();
    let config = write(
        &dir.path().join("c.yaml"),
        "schema: sandwatch/config/v1\nworkers: { watch: [\"/sw-none\"] }\n",
    );
    let output = sandwatch(&["run", "--config", &config, "--rules", "/nonexistent"]);
    assert_eq!(code(&output), 2, "{}", error(&output));
    assert!(error(&output).contains("/nonexistent"), "{}", error(&output));
    let rules = dir.path().join("rules");
    fs::create_dir(&rules).unwrap();
    write(&rules.join("a.yaml"), "schema: sandwatch/profile/v1\nname: a\ntitle: t\nrolls: []\n");
    let output = sandwatch(&["run", "--config", &config, "--rules", rules.to_str().unwrap()]);
    assert_eq!(code(&output), 2, "{}", error(&output));
    let text = error(&output);
    assert!(text.contains("a.yaml:4") && text.contains("roles"), "{text}");
}

#[test]
fn an_output_that_cannot_be_opened_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = write(
        &dir.path().join("c.yaml"),
        "schema: sandwatch/config/v1\nworkers: { watch: [\"/sw-none\"] }\n",
    );
    let output =
        sandwatch(&["run", "--config", &config, "--rules", RULES, "--output", "/nonexistent/a.jsonl"]);
    assert_eq!(code(&output), 2, "{}", error(&output));
    assert!(error(&output).contains("/nonexistent/a.jsonl: cannot be opened"), "{}", error(&output));
}

#[test]
fn rules_check_explain_and_schema_answer() {
    let output = sandwatch(&["rules", "check", RULES, "--keys"]);
    assert_eq!(code(&output), 0, "{}", error(&output));
    assert!(answer(&output).contains("sha256:") && answer(&output).contains("prefix"), "{}", answer(&output));
    let output = sandwatch(&["rules", "explain", "demo", "--rules", RULES]);
    assert!(code(&output) == 0 && answer(&output).contains("Profile demo"), "{}", error(&output));
    for of in ["alert", "config", "profile", "detections", "identities", "endpoints", "rule-test"] {
        let output = sandwatch(&["rules", "schema", of]);
        let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(schema["properties"]["schema"].is_object(), "{of}");
    }
}

#[test]
fn rules_check_of_a_broken_file_exits_2() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a.yaml"), "schema: sandwatch/profil/v1\n");
    let output = sandwatch(&["rules", "check", dir.path().to_str().unwrap()]);
    assert_eq!(code(&output), 2);
    assert!(error(&output).contains("a.yaml"), "{}", error(&output));
}

#[test]
fn rules_test_exits_1_when_a_test_fails() {
    let dir = tempfile::tempdir().unwrap();
    write(
        &dir.path().join("p.yaml"),
        "schema: sandwatch/profile/v1\nname: toy\ntitle: t\nselect: [{ cgroup: \"/toy\" }]\n",
    );
    fs::create_dir(dir.path().join("tests")).unwrap();
    write(
        &dir.path().join("tests/p.yaml"),
        "schema: sandwatch/rule-test/v1\nprofile: toy\ntests:\n  - name: a\n    steps:\n      - { exec: { exe: /bin/sh }, finds: [no-such-finding] }\n",
    );
    let output = sandwatch(&["rules", "test", dir.path().to_str().unwrap()]);
    assert_eq!(code(&output), 1, "{}", error(&output));
    let text = answer(&output);
    assert!(text.contains("FAILED tests/p.yaml:4 a") && text.contains("1 rule tests, 1 failed"), "{text}");
}

#[test]
fn explain_of_what_is_no_alert_exits_2_and_of_an_unknown_id_1() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(&dir.path().join("a.jsonl"), "{\"schema\":\"other\"}\n");
    assert_eq!(code(&sandwatch(&["explain", &file])), 2);
    assert_eq!(code(&sandwatch(&["explain", "0123456789", "--in", &file])), 1);
    assert_eq!(code(&sandwatch(&["explain", "0123"])), 2);
}

#[test]
fn a_part_of_the_demo_run_by_hand_says_what_it_is() {
    let output = sandwatch(&["demo-toy", "dance"]);
    assert_eq!(code(&output), 1);
    assert!(error(&output).contains("`sandwatch demo`"), "{}", error(&output));
}

#[test]
fn a_reader_who_has_gone_is_no_reason_to_panic() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_sandwatch"))
        .args(["rules", "explain", "--rules", RULES])
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", error(&output));
    assert!(error(&output).is_empty(), "{}", error(&output));
}

#[test]
fn log_verify_tells_a_whole_log_from_a_changed_one() {
    use monitor::ledger::{Ledger, Limits, What};
    const TIME: &str = "2026-11-23T20:40:01Z";
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().to_str().unwrap();
    let output = sandwatch(&["log", "verify", "--state-dir", state]);
    assert_eq!(code(&output), 1, "no log is not a whole one");
    assert!(error(&output).contains("there is no log"), "{}", error(&output));

    let (mut ledger, _) = Ledger::open(dir.path(), TIME, "sha256:c", Limits::default()).unwrap();
    for number in 0..5 {
        ledger.append(TIME, What::Rules { rules: format!("sha256:{number}"), why: "SIGHUP".into() }).unwrap();
    }
    let head = ledger.head().unwrap().to_string();
    let output = sandwatch(&["log", "verify", "--state-dir", state, "--head", &head]);
    assert_eq!(code(&output), 0, "{}{}", answer(&output), error(&output));
    assert!(answer(&output).starts_with("WHOLE   5 entries in 1 file, 1 to 5\n"), "{}", answer(&output));

    let file = dir.path().join("log/00000000000000000001.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("sha256:2", "sha256:9")).unwrap();
    let output = sandwatch(&["log", "verify", "--state-dir", state]);
    assert_eq!(code(&output), 1);
    assert!(answer(&output).starts_with(&format!("BROKEN  {}:3: ", file.display())), "{}", answer(&output));

    let output = sandwatch(&["log", "verify", "--state-dir", state, "--head", "5:xyz"]);
    assert_eq!(code(&output), 2, "{}", error(&output));
}

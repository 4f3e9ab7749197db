//! Delivery by the real agent on the live kernel: alerts outlive a sink that is away and a disk that is full.
//!
//! Needs root; `SANDWATCH_BIN` names the program, `SANDWATCH_RULES` its rules.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

mod lab;

use lab::{FILE, Lab, alerts, eventually, sandwatch, shipped_rules, signal};

fn is_theft(alert: &Value) -> bool {
    alert["kind"] == "incident" && alert["tier"] == "identity"
}

fn condition(alert: &Value) -> Option<(&str, &str)> {
    Some((alert["health"]["condition"].as_str()?, alert["state"].as_str()?))
}

/// Replaces a sink's path in the lab's configuration.
fn edit(lab: &Lab, from: &str, to: &str) {
    let config = lab.folder.path().join("sandwatch.yaml");
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains(from));
    fs::write(&config, text.replace(from, to)).unwrap();
}

#[test]
fn theft_while_the_sink_is_away_is_told_after_the_next_start() {
    let mut lab = Lab::new("away", "[{ name: siem, type: file, path: /dev/full }]", &shipped_rules());
    lab.steal();
    lab.wait_for_log("the sink takes nothing");
    signal(&lab.agent, libc::SIGTERM);
    assert!(lab::wait(&mut lab.agent).success());
    let log = lab.log();
    assert!(log.contains("sandwatch: sink siem: queued") && log.contains("alerts not delivered"), "{log}");
    edit(&lab, "/dev/full", &lab.folder.path().join("alerts.jsonl").display().to_string());
    lab.kill_and_restart();
    eventually("the theft of the run before is told", || lab.alerts().iter().any(is_theft));
    let seqs: Vec<u64> =
        lab.alerts().iter().map(|alert| alert["delivery"]["seq"].as_u64().unwrap()).collect();
    let mut sorted = seqs.clone();
    sorted.sort_unstable();
    assert!(sorted.iter().copied().eq(1..=seqs.len() as u64), "{seqs:?}");
}

/// A small file system of its own.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        let options = ["-t", "tmpfs", "-o", "size=1m,mode=0700", "sw-spool-live"];
        assert!(Command::new("mount").args(options).arg(at).status().unwrap().success());
        Self(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy"]).arg(&self.0).status();
    }
}

#[test]
fn full_disk_stops_no_alert_and_is_said_and_so_is_its_end() {
    let lab = Lab::new("full", FILE, &shipped_rules());
    let disk = SmallDisk::new(&lab.folder.path().join("small"));
    edit(&lab, "/state\n", "/small\n");
    let mut lab = lab;
    lab.kill_and_restart();
    let filler = disk.0.join("filler");
    let _ = fs::write(&filler, vec![0; 2 << 20]);
    lab.steal();
    eventually("the theft is told", || lab.alerts().iter().any(is_theft));
    let said =
        |state: &'static str| lab.alerts().iter().any(|alert| condition(alert) == Some(("spool", state)));
    eventually("the full disk is told", || said("open"));
    fs::remove_file(&filler).unwrap();
    eventually("that it has room is told", || said("closed"));
    let (status, log) = lab.stop();
    assert!(status.success(), "{log}");
    assert!(!log.contains("not delivered"), "{log}");
    drop(disk);
}

#[test]
fn file_that_was_moved_away_is_opened_again_on_sigusr1_and_the_rules_are_left_alone() {
    let lab = Lab::new("usr1", FILE, &shipped_rules());
    lab.steal();
    eventually("the theft is told", || lab.alerts().iter().any(is_theft));
    let file = lab.folder.path().join("alerts.jsonl");
    let aside = lab.folder.path().join("aside");
    fs::rename(&file, &aside).unwrap();
    signal(&lab.agent, libc::SIGUSR1);
    eventually("the file is there again", || file.exists());
    assert!(alerts(&fs::read_to_string(aside).unwrap()).iter().any(is_theft));
    let (status, log) = lab.stop();
    assert!(status.success() && !log.contains("SIGHUP"), "{log}");
}

#[test]
fn replay_of_dead_letters_names_what_there_is_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let alert = |args: &[&str]| {
        let output = sandwatch(&["alert"]).args(args).arg("--state-dir").arg(dir.path()).output().unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    };
    let (code, text) = alert(&["replay"]);
    assert!(code == Some(1) && text.contains("there are no dead letters"), "{text}");
    fs::create_dir(dir.path().join("dead")).unwrap();
    fs::write(dir.path().join("dead/siem.jsonl"), "{}\n{}\n").unwrap();
    let (code, text) = alert(&["dead"]);
    assert!(code == Some(0) && text.contains("siem: 2 dead letter(s)"), "{text}");
    let (code, text) = alert(&["replay", "--sink", "siem"]);
    assert!(code == Some(0) && text.contains("No agent runs"), "{text}");
    assert_eq!(alert(&["dead"]).0, Some(1));
}

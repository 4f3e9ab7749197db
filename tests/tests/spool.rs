//! Delivery by the real agent on the live kernel: alerts outlive a sink that is away and a disk that is full.
//!
//! Needs root; `SANDWATCH_BIN` names the program, `SANDWATCH_RULES` its rules.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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
    let seqs: Vec<u64> = lab.alerts().iter().filter_map(|alert| alert["delivery"]["seq"].as_u64()).collect();
    let mut sorted = seqs.clone();
    sorted.sort_unstable();
    assert!(sorted.iter().copied().eq(1..=seqs.len() as u64), "{seqs:?}");
}

/// Ids of the alerts that stand in the local log: those that were in the spool.
fn accepted(lab: &Lab) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(lab.folder.path().join("state/log")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "jsonl") {
            continue;
        }
        // A last line may be torn by a kill; the next start cuts it off.
        let lines = fs::read_to_string(path).unwrap();
        let entries = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let alerts = entries.filter(|entry| entry["what"] == "alert");
        ids.extend(alerts.map(|entry| entry["id"].as_str().unwrap().to_owned()));
    }
    ids
}

/// Ids that a file has, after a check that every number of the stream came or is named as gone.
fn received(path: &Path) -> BTreeSet<String> {
    let (mut ids, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    // A line that was torn by a kill comes again.
    let text = fs::read_to_string(path).unwrap();
    for alert in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        // A heartbeat has no number.
        let Some(number) = alert["delivery"]["seq"].as_u64() else {
            assert_eq!(alert["kind"], "heartbeat");
            continue;
        };
        numbers.insert(number);
        for named in alert["gap"]["sequences"].as_array().into_iter().flatten() {
            numbers.extend(named[0].as_u64().unwrap()..=named[1].as_u64().unwrap());
        }
        ids.insert(alert["id"].as_str().unwrap().to_owned());
    }
    let last = *numbers.last().unwrap();
    assert_eq!(numbers.len() as u64, last, "every number up to {last} of {}", path.display());
    ids
}

/// One theft after the other, each by processes that have nothing to do with those before, until it is dropped.
struct Thieves(Child);

impl Thieves {
    fn start(lab: &Lab) -> Self {
        let home = lab.folder.path().join("home/.ssh");
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join("id_ed25519"), "no key").unwrap();
        let script = format!(
            "while :; do sh -c 'echo $$ > {}/cgroup.procs; cat {}/id_ed25519' >/dev/null; done",
            lab.cgroup.display(),
            home.display()
        );
        Self(Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Thieves {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn agent_that_is_killed_again_and_again_under_load_loses_nothing_that_it_accepted() {
    const KILLS: usize = 5;
    // All lives together stay below the 64 incidents that a worker has at most.
    const EACH: usize = 10;
    let sinks = "[{ name: up, type: file, path: FOLDER/up }, { name: late, type: file, path: /dev/full }]";
    let mut lab = Lab::new("killed", sinks, &shipped_rules());
    let thieves = Thieves::start(&lab);
    let mut before = BTreeSet::new();
    for kill in 0..KILLS {
        eventually(&format!("it accepted some before kill {kill}"), || {
            accepted(&lab).len() >= before.len() + EACH
        });
        lab.agent.kill().unwrap();
        lab.agent.wait().unwrap();
        let after = accepted(&lab);
        assert!(before.is_subset(&after), "what is in the log stays there");
        before = after;
        if kill + 1 == KILLS {
            edit(&lab, "/dev/full", &lab.folder.path().join("late").display().to_string());
        }
        lab.kill_and_restart();
    }
    drop(thieves);
    signal(&lab.agent, libc::SIGTERM);
    assert!(lab::wait(&mut lab.agent).success());
    let all = accepted(&lab);
    assert!(all.len() >= KILLS * EACH, "{} alerts", all.len());
    for sink in ["up", "late"] {
        let got = received(&lab.folder.path().join(sink));
        let lost: Vec<&String> = all.difference(&got).take(5).collect();
        assert!(lost.is_empty(), "{sink} lost {lost:?} … of {}", all.len());
    }
    let state = lab.folder.path().join("state");
    let verified = sandwatch(&["log", "verify", "--state-dir", state.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success() && said.starts_with("WHOLE"), "{said}");
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

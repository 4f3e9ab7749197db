//! Incidents on the live kernel: they outlive the agent, and people close them.
//!
//! Needs root; `SANDWATCH_BIN` names the program, `SANDWATCH_RULES` its rules.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

mod lab;

use lab::{FILE, Lab, eventually, newest, sandwatch, shipped_rules};

/// A shell in the worker that reads the secrets it is told of, each through a process of its own.
struct Thief {
    shell: Child,
}

impl Thief {
    fn new(lab: &Lab) -> Self {
        // The shell that stays is executed inside, as a container's first process is.
        let enter = format!("echo $$ > {}/cgroup.procs; exec /bin/sh", lab.cgroup.display());
        let shell = Command::new("/bin/sh")
            .args(["-c", &enter])
            .env("DEPLOY_TOKEN", "never-shown-4711")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pid = shell.id().to_string();
        eventually("the shell is in the worker", || {
            fs::read_to_string(lab.cgroup.join("cgroup.procs")).unwrap().lines().any(|line| line == pid)
        });
        Self { shell }
    }

    fn read(&mut self, path: &Path) {
        let line = format!("cat {}\n", path.display());
        self.shell.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    }
}

impl Drop for Thief {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// A file of the catalogue's kind in the lab's folder.
fn secret(lab: &Lab, name: &str) -> std::path::PathBuf {
    let path = lab.folder.path().join("home").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "no secret").unwrap();
    path
}

/// The newest revision of an incident that took this identity.
fn theft(lab: &Lab, identity: &str) -> Option<Value> {
    let takes = |alert: &Value| {
        let taken = alert["blast_radius"]["taken"].as_array().cloned().unwrap_or_default();
        taken.iter().any(|taken| taken["identity"] == identity)
    };
    newest(&lab.alerts(), takes)
}

fn incident(lab: &Lab, args: &[&str]) -> Output {
    let state = lab.folder.path().join("state");
    sandwatch(&["incident"]).args(args).arg("--state-dir").arg(state).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn incident_goes_on_after_the_agent_was_killed() {
    let mut lab = Lab::new("kill", FILE, &shipped_rules());
    let (first, second) = (secret(&lab, ".ssh/id_ed25519"), secret(&lab, ".aws/credentials"));
    let mut thief = Thief::new(&lab);
    thief.read(&first);
    eventually("the first theft is told", || theft(&lab, "ssh-private-key").is_some());
    let before = theft(&lab, "ssh-private-key").unwrap();
    // Written right after the alert was: a kill in that very moment would lose it.
    let id = before["incident"]["id"].as_str().unwrap();
    let kept = lab.folder.path().join(format!("state/incidents/{id}.json"));
    eventually("the incident is kept", || kept.exists());
    lab.kill_and_restart();
    thief.read(&second);
    eventually("the second theft is told", || {
        theft(&lab, "ssh-private-key").is_some_and(|alert| {
            alert["blast_radius"]["taken"].as_array().is_some_and(|taken| taken.len() == 2)
        })
    });
    let after = theft(&lab, "ssh-private-key").unwrap();
    assert_eq!(before["incident"]["id"], after["incident"]["id"], "one incident");
    assert_eq!(before["incident"]["run_key"], after["incident"]["run_key"]);
    assert!(after["incident"]["revision"].as_u64() > before["incident"]["revision"].as_u64());
    // What is less urgent comes later, whatever its number.
    eventually("the stream goes on, without a hole", || {
        let sent = sent(&lab);
        sent.iter().map(|(seq, _)| *seq).eq(1..=sent.len() as u64)
    });
    let sent = sent(&lab);
    let ids: BTreeSet<&String> = sent.iter().map(|(_, id)| id).collect();
    assert_eq!(ids.len(), sent.len(), "no id is used twice: {sent:?}");
}

/// Number and id of every alert so far, in the order of the numbers. What was sent within the last second before a kill may have
/// been sent again, with the number that it had.
fn sent(lab: &Lab) -> BTreeSet<(u64, String)> {
    // A heartbeat has no number.
    let of = |alert: &Value| Some((alert["delivery"]["seq"].as_u64()?, alert["id"].to_string()));
    lab.alerts().iter().filter_map(of).collect()
}

#[test]
fn incident_shows_what_came_before_and_what_is_within_reach() {
    let lab = Lab::new("reach", FILE, &shipped_rules());
    let key = secret(&lab, ".ssh/id_ed25519");
    let mut thief = Thief::new(&lab);
    thief.read(&key);
    // What is within reach follows the first alert.
    eventually("the theft is told, and what was within reach", || {
        theft(&lab, "ssh-private-key").is_some_and(|alert| {
            let environment = alert["blast_radius"]["environment"].as_array().cloned().unwrap_or_default();
            environment.iter().any(|name| name == "DEPLOY_TOKEN")
        })
    });
    let alert = theft(&lab, "ssh-private-key").unwrap();
    assert!(!alert.to_string().contains("never-shown-4711"));
    let tree = alert["evidence"]["tree"].as_array().unwrap();
    assert!(tree.iter().any(|process| process["pid"] == thief.shell.id()), "{alert:#}");
    let freeze = alert["respond"][0].as_str().unwrap();
    let file = freeze.rsplit_once("> ").unwrap().1;
    assert!(Path::new(file).exists(), "the command works as it stands: {freeze}");
}

#[test]
fn person_closes_an_incident_and_the_next_finding_opens_another() {
    let lab = Lab::new("close", FILE, &shipped_rules());
    let (first, second) = (secret(&lab, ".ssh/id_ed25519"), secret(&lab, ".aws/credentials"));
    let mut thief = Thief::new(&lab);
    thief.read(&first);
    eventually("the theft is told", || theft(&lab, "ssh-private-key").is_some());
    let id = theft(&lab, "ssh-private-key").unwrap()["incident"]["id"].as_str().unwrap().to_owned();
    // Its file is written once its alert is in the spool.
    eventually("it is listed", || text(&incident(&lab, &["list"])).contains(&id[..8]));
    let shown = text(&incident(&lab, &["show", &id[..8]]));
    assert!(shown.contains("How it went") && shown.contains("ssh-private-key"), "{shown}");

    let unreasoned = incident(&lab, &["close", &id, "--by", "ops", "--reason", " "]);
    assert_eq!(unreasoned.status.code(), Some(2), "{}", text(&unreasoned));
    let closed = incident(&lab, &["close", &id[..8], "--by", "ops", "--reason", "key replaced"]);
    assert_eq!(closed.status.code(), Some(0), "{}", text(&closed));
    assert!(text(&closed).contains("is closed"), "{}", text(&closed));
    let newest = || newest(&lab.alerts(), |alert| alert["incident"]["id"] == *id).unwrap();
    eventually("its end is told", || newest()["state"] == "closed");
    let last = newest();
    assert_eq!((&last["state"], &last["closed_by"]), (&"closed".into(), &"operator".into()));
    assert_eq!(last["incident"]["closure"]["reason"], "key replaced");
    assert_eq!(incident(&lab, &["list"]).status.code(), Some(1), "none is open");
    assert_eq!(incident(&lab, &["close", &id, "--by", "ops", "--reason", "again"]).status.code(), Some(1));

    thief.read(&second);
    let next = || {
        lab.alerts().into_iter().find(|alert| {
            alert["blast_radius"]["taken"][0]["identity"] == "aws-credentials"
                || alert["file"]["path"].as_str().is_some_and(|path| path.ends_with(".aws/credentials"))
        })
    };
    eventually("the next theft is told", || next().is_some());
    assert_ne!(next().unwrap()["incident"]["id"].as_str(), Some(&*id));
}

#[test]
fn request_that_no_agent_takes_waits_for_the_next_one() {
    let mut lab = Lab::new("wait", FILE, &shipped_rules());
    let key = secret(&lab, ".ssh/id_ed25519");
    let mut thief = Thief::new(&lab);
    thief.read(&key);
    eventually("the theft is told", || theft(&lab, "ssh-private-key").is_some());
    let id = theft(&lab, "ssh-private-key").unwrap()["incident"]["id"].as_str().unwrap().to_owned();
    lab.agent.kill().unwrap();
    lab.agent.wait().unwrap();
    let asked = incident(&lab, &["close", &id, "--by", "ops", "--reason", "key replaced"]);
    assert!(text(&asked).contains("as soon as one runs"), "{}", text(&asked));
    assert!(text(&incident(&lab, &["list"])).contains("closing is asked for"));
    lab.kill_and_restart();
    eventually("it is closed", || {
        lab.alerts().iter().any(|alert| alert["incident"]["id"] == *id && alert["state"] == "closed")
    });
}

#[test]
fn file_of_an_incident_that_cannot_be_read_is_set_aside_and_said() {
    let mut lab = Lab::new("torn", FILE, &shipped_rules());
    let folder = lab.folder.path().join("state/incidents");
    fs::write(folder.join("torn.json"), "{\"schema\":\"sandwatch/inc").unwrap();
    lab.kill_and_restart();
    eventually("it is said", || {
        lab.alerts().iter().any(|alert| alert["health"]["condition"] == "incident-state")
    });
    assert!(folder.join("torn.aside").exists());
    assert_eq!(lab.stop().0.code(), Some(0));
}

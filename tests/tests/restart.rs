//! What an agent that was killed could not see is made up for by the next one, on the live kernel.
//!
//! Needs root; `SANDWATCH_BIN` names the program, `SANDWATCH_RULES` its rules.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

mod lab;

use lab::{FILE, Lab, eventually, shipped_rules};

/// A shell in the worker that is driven over this connection, and waits for what it is told.
fn driven_shell(cgroup: &Path, connection: TcpStream) -> Child {
    let script = format!("echo $$ > {}/cgroup.procs; exec /bin/sh", cgroup.display());
    let (input, output) = (connection.try_clone().unwrap(), connection);
    Command::new("/bin/sh")
        .args(["-c", &script])
        .stdin(Stdio::from(OwnedFd::from(input)))
        .stdout(Stdio::from(OwnedFd::from(output)))
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn is_there(cgroup: &Path, pid: u32) -> bool {
    let inside = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    inside.lines().any(|line| line == pid.to_string()) && line == b"/bin/sh\0"
}

fn gaps(lab: &Lab) -> Vec<Value> {
    let is = |alert: &Value| alert["kind"] == "gap" && alert["gap"]["reason"] == "restart";
    lab.alerts().into_iter().filter(is).collect()
}

#[test]
fn process_that_began_while_a_killed_agent_was_away_is_found_as_a_candidate_and_the_time_is_one_gap() {
    let mut lab = Lab::new("restart", FILE, &shipped_rules());
    eventually("it wrote down until when it watched", || {
        fs::metadata(lab.folder.path().join("state/watched-until")).is_ok_and(|file| file.len() > 0)
    });
    lab.agent.kill().unwrap();
    lab.agent.wait().unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut shell = driven_shell(&lab.cgroup, listener.accept().unwrap().0);
    eventually("the shell is in the worker", || is_there(&lab.cgroup, shell.id()));

    lab.kill_and_restart();
    let of_shell = |alert: &Value| alert["finding"]["id"] == "reverse-shell";
    eventually("the shell is told", || lab.alerts().iter().any(of_shell));
    let alert = lab.alerts().into_iter().find(of_shell).unwrap();
    assert_eq!(alert["worker"]["name"], "lab");
    assert_eq!(alert["process"]["pid"], shell.id());
    assert_eq!(alert["finding"]["certainty"], "candidate; unknown: history", "{alert:#}");
    eventually("the time in between is told", || !gaps(&lab).is_empty());
    let (status, log) = {
        drop(far);
        shell.wait().unwrap();
        let told = gaps(&lab);
        let [gap] = told.as_slice() else { panic!("{told:#?}") };
        let time = |key: &str| gap["gap"][key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        let began: jiff::Timestamp = alert["process"]["start"].as_str().unwrap().parse().unwrap();
        assert!(time("from") < began && began < time("to"), "{began} is not within {gap:#}");
        assert!(gap["gap"]["detail"].as_str().unwrap().contains("1 of their processes"), "{gap:#}");
        lab.stop()
    };
    assert_eq!(status.code(), Some(0), "{log}");
}

//! The agent is killed between a trigger and its answer, and started again.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use integration::fakes::{Fault, Service};
use monitor::alert::Alert;

use crate::agent::{Agent, eventually, incident};
use crate::pagerduty;

/// Set for the process that is an agent: its folder.
const FOLDER: &str = "SANDWATCH_TEST_AGENT";

/// An agent in a process of its own, that raises these alerts and runs until it is killed.
fn agent(folder: &Path, alerts: &[Alert]) -> Child {
    let lines: Vec<String> = alerts.iter().map(|alert| serde_json::to_string(alert).unwrap()).collect();
    std::fs::write(folder.join("alerts.jsonl"), lines.join("\n")).unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::the_agent_that_is_killed", "--nocapture"])
        .env(FOLDER, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Run by the other test, in another process; without it, there is nothing to do.
#[test]
fn the_agent_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let agent = Agent::start(folder, &std::fs::read_to_string(folder.join("sink")).unwrap());
    for line in std::fs::read_to_string(folder.join("alerts.jsonl")).unwrap().lines() {
        agent.raise(serde_json::from_str(line).unwrap());
    }
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn agent_killed_between_trigger_and_answer_pages_once_and_resolves_what_it_opened() {
    for number in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let service = Service::start(pagerduty::KEY).unwrap();
        std::fs::write(folder.path().join("sink"), pagerduty::sink(folder.path(), &service)).unwrap();
        // The trigger is taken, and the answer lost.
        service.server.fail(Fault::CutAfter);
        let mut first = agent(folder.path(), &[incident("t", 1, "identity", "open")]);
        eventually("it is triggered", || service.open() == ["t/page"]);
        // A little later each time: before the answer is missed, after, and in the middle of the next try.
        std::thread::sleep(Duration::from_millis(number * 20));
        first.kill().unwrap();
        first.wait().unwrap();
        let closed = incident("t", 2, "identity", "closed");
        let mut second = agent(folder.path(), &[closed, incident("u", 1, "identity", "open")]);
        eventually("what was opened is resolved", || service.open() == ["u/page"]);
        second.kill().unwrap();
        second.wait().unwrap();
        let alerts = service.alerts();
        assert_eq!(alerts["t/page"].notified, 1, "{:?}", service.log());
        assert_eq!(alerts["u/page"].notified, 1, "{:?}", service.log());
    }
}

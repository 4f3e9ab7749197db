//! The agent is killed between a request and its answer, and started again.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use integration::fakes::Fault;
use monitor::alert::Alert;

use crate::agent::{Agent, eventually, titled};
use crate::receivers::{Kind, Receiver};

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

/// Run by the other tests, in another process; without it, there is nothing to do.
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

fn kill(mut agent: Child) {
    agent.kill().unwrap();
    agent.wait().unwrap();
}

/// What was taken and not answered is closed by the next agent, and not opened again.
fn after_it_was_taken(kind: Kind) {
    for number in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let receiver = kind.start(folder.path());
        std::fs::write(folder.path().join("sink"), receiver.sink(folder.path())).unwrap();
        // The request is taken, and the answer lost.
        receiver.server().fail(Fault::CutAfter);
        let first = agent(folder.path(), &[titled("t", 1, "identity", "open")]);
        eventually("it is open", || receiver.open() == ["t"]);
        // A little later each time: before the answer is missed, after, and in the middle of the next try.
        std::thread::sleep(Duration::from_millis(number * 20));
        kill(first);
        let closed = titled("t", 2, "identity", "closed");
        let second = agent(folder.path(), &[closed, titled("u", 1, "identity", "open")]);
        eventually("what was opened is closed, and the other open", || receiver.open() == ["u"]);
        kill(second);
        match &receiver {
            Receiver::PagerDuty(service) => {
                let alerts = service.alerts();
                assert_eq!(alerts["t/page"].notified, 1, "{:?}", service.log());
                assert_eq!(alerts["u/page"].notified, 1, "{:?}", service.log());
            }
            Receiver::Slack(channel) => {
                let texts = channel.texts();
                let closed = texts.iter().filter(|text| text.starts_with("Closed: t ")).count();
                assert_eq!(closed, 1, "{texts:?}");
                let told = |which: &str| texts.iter().filter(|text| text.contains(which)).count();
                // The answer to the first message was lost, and it may have been tried once more by then.
                assert!(told("identity: t ") <= 2 && told("identity: u ") == 1, "{texts:?}");
            }
            Receiver::Alertmanager(of) => assert!(of.told().iter().any(|line| line.ends_with("identity t"))),
        }
    }
}

/// What was not taken is told by the next agent, which hears nothing of it itself.
fn before_it_was_taken(kind: Kind) {
    let folder = tempfile::tempdir().unwrap();
    let receiver = kind.start(folder.path());
    std::fs::write(folder.path().join("sink"), receiver.sink(folder.path())).unwrap();
    receiver.server().fail(Fault::Hang(Duration::from_secs(60)));
    let first = agent(folder.path(), &[titled("t", 1, "identity", "open")]);
    eventually("it was tried", || !receiver.server().seen().is_empty());
    kill(first);
    assert!(receiver.open().is_empty(), "it was not taken");
    let second = agent(folder.path(), &[titled("u", 1, "identity", "open")]);
    eventually("both are open", || receiver.open() == ["t", "u"]);
    kill(second);
}

macro_rules! of_each_kind {
    ($($kind:ident => $variant:ident),* $(,)?) => { $(
        mod $kind {
            use super::Kind;

            #[test]
            fn agent_killed_between_request_and_answer_tells_once_and_closes_what_it_opened() {
                super::after_it_was_taken(Kind::$variant);
            }

            #[test]
            fn agent_killed_before_its_request_was_taken_tells_it_after_the_next_start() {
                super::before_it_was_taken(Kind::$variant);
            }
        }
    )* };
}

of_each_kind! { pagerduty => PagerDuty, slack => Slack, alertmanager => Alertmanager }

//! Everything that goes wrong between an agent and a receiver, once for each of them: what is open in the end is what is open.

use std::path::Path;
use std::time::{Duration, Instant};

use integration::fakes::program::free_address;
use integration::fakes::{Channel, Fault, Reply, Server, Service};

use crate::agent::{Agent, eventually, incident, secret};
use crate::alertmanager::Alertmanager;
use crate::{channel, pagerduty};

/// A receiver.
enum Receiver {
    PagerDuty(Service),
    Slack(Channel),
    Alertmanager(Alertmanager),
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    PagerDuty,
    Slack,
    Alertmanager,
}

impl Kind {
    fn start(self, folder: &Path) -> Receiver {
        match self {
            Self::PagerDuty => Receiver::PagerDuty(Service::start(pagerduty::KEY).unwrap()),
            Self::Slack => Receiver::Slack(Channel::start(channel::PATH).unwrap()),
            Self::Alertmanager => Receiver::Alertmanager(Alertmanager::start(folder, false)),
        }
    }
}

impl Receiver {
    fn server(&self) -> &Server {
        match self {
            Self::PagerDuty(service) => &service.server,
            Self::Slack(channel) => &channel.server,
            Self::Alertmanager(alertmanager) => &alertmanager.gate,
        }
    }

    fn sink(&self, folder: &Path) -> String {
        match self {
            Self::PagerDuty(service) => pagerduty::sink(folder, service),
            Self::Slack(channel) => channel::sink(folder, channel),
            Self::Alertmanager(alertmanager) => alertmanager.sink(),
        }
    }

    /// Whether the theft `t` is open there and no other incident is (there may be a summary of those that came and went); for Slack, which knows no such thing, whether it was told that
    /// `t` is open and that `b` was closed.
    fn is_right(&self) -> bool {
        match self {
            Self::PagerDuty(service) => {
                service.open().iter().filter(|key| !key.contains("/missed/")).collect::<Vec<_>>()
                    == ["t/page"]
            }
            Self::Alertmanager(alertmanager) => {
                let active = alertmanager.active();
                active.iter().filter(|line| !line.contains("/missed/")).collect::<Vec<_>>() == ["identity t"]
            }
            Self::Slack(channel) => {
                let texts = channel.texts();
                let told = |start: &str| texts.iter().any(|text| text.starts_with(start));
                told("CRITICAL") && (told("Closed") || told("While you were unreachable"))
            }
        }
    }
}

fn faults() -> [(&'static str, Fault); 6] {
    [
        ("500", Fault::Answer(Reply::text(500, "oops"))),
        ("503 with a page of HTML", Fault::Answer(Reply::text(503, &"<p>".repeat(5000)))),
        ("hangs", Fault::Hang(Duration::from_secs(1))),
        ("cut", Fault::Cut),
        ("cut after it was taken", Fault::CutAfter),
        ("answer breaks off", Fault::HalfAnswer),
    ]
}

/// A boundary incident that is closed, and a theft that stays open; each request before the last fails once.
fn play(kind: Kind) {
    for (name, fault) in faults() {
        let folder = tempfile::tempdir().unwrap();
        let receiver = kind.start(folder.path());
        let agent = Agent::start(folder.path(), &receiver.sink(folder.path()));
        receiver.server().fail(fault.clone());
        agent.raise(incident("b", 1, "boundary", "open"));
        agent.raise(incident("t", 1, "boundary", "open"));
        eventually("it was tried", || !receiver.server().seen().is_empty());
        receiver.server().fail(fault.clone());
        agent.raise(incident("t", 2, "identity", "update"));
        agent.raise(incident("b", 2, "boundary", "closed"));
        // It may be right for a moment before it has heard of all.
        eventually(&format!("{kind:?} is right after {name}"), || {
            let stats = agent.stats();
            stats.queued == 4 && stats.waiting == 0 && receiver.is_right()
        });
        let stats = agent.end();
        // The answer of an Alertmanager has no body that could break off.
        let failed =
            stats.retried > 0 || matches!(kind, Kind::Alertmanager) && matches!(fault, Fault::HalfAnswer);
        assert!(failed && stats.rejected == 0 && stats.waiting == 0, "{kind:?} {name}: {stats:?}");
        assert!(receiver.is_right(), "{kind:?} stays right after {name}");
        if let Receiver::PagerDuty(service) = &receiver {
            assert_eq!(service.alerts()["t/page"].notified, 1, "{name}: {:?}", service.log());
        }
    }
}

#[test]
fn pagerduty_is_right_in_the_end_whatever_went_wrong() {
    play(Kind::PagerDuty);
}

#[test]
fn slack_is_right_in_the_end_whatever_went_wrong() {
    play(Kind::Slack);
}

#[test]
fn alertmanager_is_right_in_the_end_whatever_went_wrong() {
    play(Kind::Alertmanager);
}

#[test]
fn what_came_and_went_while_the_receiver_was_away_is_one_summary_and_thefts_page() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address().unwrap();
    let key = secret(folder.path(), "pagerduty.key", pagerduty::KEY);
    let agent = Agent::start(
        folder.path(),
        &format!("type: pagerduty, url: \"http://{address}\", key_file: {key}, retry: 50ms, timeout: 500ms"),
    );
    for number in 0..3 {
        agent.raise(incident(&format!("b{number}"), 1, "boundary", "open"));
        agent.raise(incident(&format!("b{number}"), 2, "boundary", "closed"));
    }
    agent.raise(incident("gone", 1, "identity", "open"));
    agent.raise(incident("gone", 2, "identity", "closed"));
    agent.raise(incident("t", 1, "identity", "open"));
    eventually("it fails", || agent.stats().failing);
    eventually("all is in the spool", || agent.stats().queued == 9);
    // What comes while some of it is still in the spool is told one by one.
    agent.wait_taken_in();
    let service = Service::start_at(address, pagerduty::KEY).unwrap();
    eventually("what is open is open", || {
        let open = service.open();
        open.len() == 2 && !open.iter().any(|key| key == "gone/page")
    });
    agent.end();
    let alerts = service.alerts();
    let summary = alerts
        .iter()
        .find(|(key, _)| key.contains("/missed/"))
        .map(|(_, alert)| alert.payload.clone())
        .unwrap();
    assert_eq!(summary["summary"], "While you were unreachable: 3 alerts came and went on node-1");
    // What was tried and never answered is resolved all the same: it might have been taken.
    let log = service.log();
    let triggers: Vec<&str> = log.iter().filter_map(|line| line.strip_prefix("trigger ")).collect();
    assert_eq!(triggers[..2], ["gone/page", "t/page"], "{log:?}");
    assert!(triggers.len() == 3 && triggers[2].contains("/missed/"), "{log:?}");
    assert!(!alerts["gone/page"].open && alerts["t/page"].open, "{log:?}");
}

#[test]
fn receiver_that_asks_to_be_left_alone_is() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(pagerduty::KEY).unwrap();
    let agent = Agent::start(folder.path(), &pagerduty::sink(folder.path(), &service));
    service.server.fail(Fault::Answer(Reply::text(429, "").with("retry-after", "2")));
    let start = Instant::now();
    agent.raise(incident("t", 1, "identity", "open"));
    eventually("it is open", || service.open() == ["t/page"]);
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(service.server.seen().len(), 2, "nothing was tried in between");
    agent.end();
}

//! Everything that goes wrong between an agent and a receiver, once for each of them: what is open in the end is what is open.

use std::time::{Duration, Instant};

use integration::fakes::program::free_address;
use integration::fakes::{Fault, Reply, Server, Service};

use crate::agent::{Agent, eventually, incident, titled};
use crate::pagerduty::KEY;
use crate::receivers::{Kind, Receiver};

macro_rules! of_each_kind {
    ($($kind:ident => $variant:ident),* $(,)?) => { $(
        mod $kind {
            use super::Kind;

            of_each_kind!(@cases $variant: right_in_the_end down_at_start_and_then_up asks_to_be_left_alone refuses_one redirects);
        }
    )* };
    (@cases $variant:ident: $($case:ident)*) => { $(
        #[test]
        fn $case() {
            super::$case(Kind::$variant);
        }
    )* };
}

of_each_kind! { pagerduty => PagerDuty, slack => Slack, alertmanager => Alertmanager }

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
fn right_in_the_end(kind: Kind) {
    for (name, fault) in faults() {
        let folder = tempfile::tempdir().unwrap();
        let receiver = kind.start(folder.path());
        let agent = Agent::start(folder.path(), &receiver.sink(folder.path()));
        receiver.server().fail(fault.clone());
        agent.raise(titled("b", 1, "boundary", "open"));
        agent.raise(titled("t", 1, "boundary", "open"));
        eventually("it was tried", || !receiver.server().seen().is_empty());
        receiver.server().fail(fault.clone());
        agent.raise(titled("t", 2, "identity", "update"));
        agent.raise(titled("b", 2, "boundary", "closed"));
        let right = || receiver.open() == ["t"] && no_ticket_is_open(&receiver);
        // It may be right for a moment before it has heard of all.
        eventually(&format!("{kind:?} is right after {name}"), || {
            let stats = agent.stats();
            stats.queued == 4 && stats.waiting == 0 && right()
        });
        let stats = agent.end();
        // The answer of an Alertmanager has no body that could break off.
        let failed = stats.retried > 0 || kind == Kind::Alertmanager && matches!(fault, Fault::HalfAnswer);
        assert!(failed && stats.rejected == 0 && stats.waiting == 0, "{kind:?} {name}: {stats:?}");
        assert!(right(), "{kind:?} stays right after {name}");
        if let Receiver::PagerDuty(service) = &receiver {
            assert_eq!(service.alerts()["t/page"].notified, 1, "{name}: {:?}", service.log());
        }
    }
}

/// Whether nothing of tier boundary is open; of a channel, whether it was told that what was has come to an end.
fn no_ticket_is_open(receiver: &Receiver) -> bool {
    match receiver {
        Receiver::PagerDuty(service) => !service.open().iter().any(|key| key.ends_with("/ticket")),
        Receiver::Alertmanager(of) => !of.active().iter().any(|line| line.starts_with("boundary ")),
        Receiver::Slack(channel) => {
            let texts = channel.texts();
            texts
                .iter()
                .any(|text| text.starts_with("Closed") || text.starts_with("While you were unreachable"))
        }
    }
}

fn down_at_start_and_then_up(kind: Kind) {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address().unwrap();
    let agent = Agent::start(folder.path(), &kind.sink(folder.path(), address));
    for number in 0..3 {
        agent.raise(titled(&format!("b{number}"), 1, "boundary", "open"));
        agent.raise(titled(&format!("b{number}"), 2, "boundary", "closed"));
    }
    agent.raise(titled("gone", 1, "identity", "open"));
    agent.raise(titled("gone", 2, "identity", "closed"));
    agent.raise(titled("t", 1, "identity", "open"));
    eventually("it fails", || agent.stats().failing && agent.stats().queued == 9);
    agent.wait_taken_in();
    let receiver = kind.start_at(folder.path(), address);
    eventually("what is open is open, and the rest is one summary", || {
        receiver.open() == ["t"] && receiver.summaries().len() == 1 && !agent.stats().failing
    });
    let stats = agent.end();
    assert_eq!((stats.rejected, stats.waiting), (0, 0), "{stats:?}");
    assert_eq!((receiver.open().len(), receiver.summaries().len()), (1, 1), "and it stays so");
}

fn asks_to_be_left_alone(kind: Kind) {
    let folder = tempfile::tempdir().unwrap();
    let receiver = kind.start(folder.path());
    let agent = Agent::start(folder.path(), &receiver.sink(folder.path()));
    receiver.server().fail(Fault::Answer(Reply::text(429, "").with("retry-after", "2")));
    let start = Instant::now();
    agent.raise(titled("t", 1, "identity", "open"));
    eventually("it was tried", || !receiver.server().seen().is_empty());
    // Something new is no reason either.
    agent.raise(titled("u", 1, "identity", "open"));
    eventually("it is tried again", || receiver.server().seen().len() > 1);
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    eventually("both are open", || receiver.open() == ["t", "u"]);
    let stats = agent.end();
    assert_eq!((stats.acknowledged, stats.rejected, stats.waiting), (2, 0, 0), "{stats:?}");
}

fn refuses_one(kind: Kind) {
    let folder = tempfile::tempdir().unwrap();
    let receiver = kind.start(folder.path());
    let agent = Agent::start(folder.path(), &receiver.sink(folder.path()));
    // A page that PagerDuty refuses is sent once more, with less in it.
    let times = if kind == Kind::PagerDuty { 2 } else { 1 };
    (0..times).for_each(|_| receiver.server().fail(Fault::Answer(Reply::text(400, "what is this"))));
    agent.raise(titled("bad", 1, "identity", "open"));
    eventually("it is refused", || agent.stats().rejected == 1);
    agent.raise(titled("t", 1, "identity", "open"));
    eventually("the next is told", || receiver.open() == ["t"]);
    let stats = agent.end();
    assert_eq!((stats.acknowledged, stats.rejected, stats.waiting), (1, 1, 0), "{stats:?}");
    assert_eq!(receiver.server().seen().len(), times + 1, "what is refused is not tried again and again");
}

fn redirects(kind: Kind) {
    let elsewhere = Server::start(|_| Reply::text(202, "{}")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let receiver = kind.start(folder.path());
    let agent = Agent::start(folder.path(), &receiver.sink(folder.path()));
    // A client that follows the first turns it into a question without a body, the second asks for the same again.
    for status in [302, 307] {
        receiver.server().fail(Fault::Answer(Reply::text(status, "").with("location", &elsewhere.url())));
    }
    agent.raise(titled("t", 1, "identity", "open"));
    eventually("it is open where it should be", || receiver.open() == ["t"]);
    assert_eq!(agent.end().retried, 2);
    assert_eq!(elsewhere.connections(), 0, "nothing, and no key, went there");
}

#[test]
fn what_came_and_went_while_the_receiver_was_away_is_one_summary_and_thefts_page() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address().unwrap();
    let agent = Agent::start(folder.path(), &Kind::PagerDuty.sink(folder.path(), address));
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
    let service = Service::start_at(address, KEY).unwrap();
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

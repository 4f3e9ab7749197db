//! A broker that is not there, hangs, or is cut off. What was accepted and what was received is compared by id.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use integration::fakes::alerts;
use monitor::delivery::{Outcome, Transport};

use crate::broker::{Broker, TOPIC, messages};
use crate::deliver::{Delivered, deliver, ids, open, retry};
use crate::gate::{Fault, Gate};

/// A broker behind a gate, and the sink to it.
fn behind_a_gate(timeout: &str) -> (Gate, Broker, Box<dyn Transport>) {
    let gate = Gate::new(None, None);
    let front = format!("127.0.0.1:{}", gate.port());
    let broker = Broker::behind(&front);
    gate.open_to(broker.address);
    let sink = open(&format!("type: kafka, brokers: [\"{front}\"], topic: {TOPIC}, timeout: {timeout}"));
    (gate, broker, sink)
}

fn received(gate: &Gate, done: &Delivered) -> Vec<String> {
    let front = format!("127.0.0.1:{}", gate.port());
    messages(&front, 1, done.accepted.len()).into_iter().map(|message| message.id).collect()
}

#[test]
fn a_broker_that_is_down_loses_nothing_and_is_said() {
    let mut broker = Broker::start();
    broker.program.kill().unwrap();
    let mut sink = broker.sink("");
    let begin = Instant::now();
    let (reason, _) = retry(&mut *sink);
    assert!(reason.contains("connection refused: nobody listens there"), "{reason}");
    assert!(reason.contains(&broker.address.to_string()), "{reason}");
    assert!(begin.elapsed() < Duration::from_secs(4), "no need for the whole timeout: {:?}", begin.elapsed());
    broker.restart();
    assert_eq!(deliver(&mut *sink, 1..=50).accepted, ids(1..=50));
    let received = broker.messages(50).into_iter().map(|message| message.id).collect();
    assert_eq!(ids(1..=50), received);
    // And in between: what it had in memory is gone, which is its own business; what follows is not.
    broker.program.kill().unwrap();
    retry(&mut *sink);
    broker.restart();
    assert_eq!(deliver(&mut *sink, 51..=90).accepted, ids(51..=90));
    let received = broker.messages(40).into_iter().map(|message| message.id).collect();
    assert_eq!(ids(51..=90), received);
}

#[test]
fn a_connection_that_is_cut_loses_nothing_and_doubles_nothing() {
    for fault in [Fault::CutBefore, Fault::CutMidway, Fault::CutAfter] {
        let (gate, _broker, mut sink) = behind_a_gate("5s");
        assert_eq!(deliver(&mut *sink, 1..=20).accepted, ids(1..=20));
        gate.fail(&[fault, fault]);
        let mut done = deliver(&mut *sink, 21..=400);
        assert_eq!(gate.left(), 0, "{fault:?}");
        assert_eq!(done.retries, Vec::<String>::new(), "{fault:?}: the producer sees to it by itself");
        done.accepted.extend(ids(1..=20));
        let received = received(&gate, &done);
        assert_eq!(received.len(), 400, "{fault:?}: none twice");
        assert_eq!(received.into_iter().collect::<BTreeSet<_>>(), done.accepted, "{fault:?}");
    }
}

#[test]
fn a_broker_that_hangs_is_left_in_time_and_nothing_is_lost() {
    for fault in [Fault::Hang, Fault::HangAfter] {
        let (gate, _broker, mut sink) = behind_a_gate("1s");
        gate.fail(&[fault]);
        let begin = Instant::now();
        let outcomes = sink.send(&alerts::items(1..=500).unwrap());
        assert!(begin.elapsed() < Duration::from_secs(3), "{fault:?}: {:?}", begin.elapsed());
        assert_eq!(outcomes.len(), 500);
        let Outcome::Retry { reason, .. } = &outcomes[0] else { panic!("{fault:?}: {outcomes:?}") };
        assert!(reason.contains("no answer"), "{reason}");
        let done = deliver(&mut *sink, 1..=500);
        assert_eq!(done.accepted, ids(1..=500), "{fault:?} {:?}", done.retries);
        let received: BTreeSet<String> = received(&gate, &done).into_iter().collect();
        assert_eq!(received, ids(1..=500), "{fault:?}");
    }
}

#[test]
fn a_broker_that_accepts_connections_and_says_nothing_is_left_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let mut sink = open(&format!("type: kafka, brokers: [\"{address}\"], topic: {TOPIC}, timeout: 2s"));
    let begin = Instant::now();
    let (reason, _) = retry(&mut *sink);
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    assert!(reason.contains("no answer"), "{reason}");
}

#[test]
fn a_broker_that_is_killed_in_the_middle_keeps_what_it_accepted_afterwards() {
    let mut broker = Broker::start();
    let mut sink = broker.sink("");
    let first = deliver(&mut *sink, 1..=300);
    assert_eq!(first.accepted, ids(1..=300));
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| drop(sink.send(&alerts::items(301..=800).unwrap())));
        std::thread::sleep(Duration::from_millis(3));
        broker.program.kill().unwrap();
        broker.restart();
        sending.join().unwrap();
    });
    // It keeps everything in memory: what it took before it was killed went with it.
    let done = deliver(&mut *sink, 801..=900);
    assert_eq!(done.accepted, ids(801..=900), "{:?}", done.retries);
    let received: BTreeSet<String> = broker.messages(100).into_iter().map(|message| message.id).collect();
    assert!(received.is_superset(&ids(801..=900)));
}

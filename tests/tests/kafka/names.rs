//! A name that does not resolve, and an address that no way leads to: in a network namespace without any network, which the threads of
//! a producer have from the one that makes it.

use std::time::{Duration, Instant};

use integration::fakes::without_network;

use crate::broker::TOPIC;
use crate::deliver::{open, retry};

fn reason_for(broker: &str) -> String {
    let keys = format!("type: kafka, brokers: [\"{broker}\"], topic: {TOPIC}, timeout: 10s");
    let begin = Instant::now();
    let reason = without_network(|| retry(&mut *open(&keys)).0).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5), "no need for the whole timeout: {:?}", begin.elapsed());
    reason
}

#[test]
fn a_name_that_does_not_resolve_is_said_and_nothing_is_given_up() {
    let reason = reason_for("receiver.invalid:9092");
    assert!(reason.contains("receiver.invalid:9092: the name does not resolve"), "{reason}");
}

#[test]
fn an_address_without_a_way_to_it_is_said_and_nothing_is_given_up() {
    let reason = reason_for("192.0.2.1:9092");
    assert!(reason.contains("192.0.2.1:9092") && reason.contains("Network is unreachable"), "{reason}");
}

//! What arrives when nothing goes wrong.

use integration::fakes::alerts;
use monitor::delivery::Outcome;

use crate::broker::Broker;
use crate::deliver::{deliver, ids};

#[test]
fn every_alert_arrives_once_keyed_by_its_incident() {
    let broker = Broker::start();
    for (keys, numbers) in [("", 1..=300), (", gzip: true", 301..=600)] {
        let mut sink = broker.sink(keys);
        let done = deliver(&mut *sink, numbers.clone());
        assert_eq!(done.accepted, ids(numbers), "{:?} {:?}", done.rejected, done.retries);
    }
    let messages = broker.messages(600);
    assert_eq!(messages.len(), 600, "none twice");
    let received = messages.iter().map(|message| message.id.clone()).collect();
    assert_eq!(ids(1..=600), received);
    for message in &messages {
        let number: u64 = message.id.rsplit('-').next().unwrap().parse().unwrap();
        assert_eq!(message.key, format!("incident-{number}"));
        assert_eq!(message.headers["id"], message.id);
        assert_eq!(message.headers["seq"], number.to_string());
        assert_eq!(message.headers["schema"], "sandwatch/alert/v1");
    }
}

#[test]
fn alerts_of_one_incident_stay_in_order() {
    let broker = Broker::start();
    let mut sink = broker.sink("");
    let mut items = alerts::items(1..=100).unwrap();
    for item in &mut items {
        // One alert again and again, as an incident that grows.
        let alert = alerts::alert(7).unwrap();
        item.alert = alert;
    }
    assert!(sink.send(&items).iter().all(|outcome| *outcome == Outcome::Accepted));
    let messages = broker.messages(100);
    assert!(
        messages.iter().all(|message| message.partition == messages[0].partition),
        "one key, one partition"
    );
    let order: Vec<&str> = messages.iter().map(|message| message.headers["seq"].as_str()).collect();
    let wanted: Vec<String> = (1..=100).map(|seq: u64| seq.to_string()).collect();
    assert_eq!(order, wanted);
}

#[test]
fn an_alert_that_is_too_large_is_rejected_and_holds_up_nobody() {
    let broker = Broker::start();
    let mut sink = broker.sink("");
    let mut items = alerts::items(1..=3).unwrap();
    items[1].text = vec![b'x'; 2 << 20];
    let outcomes = sink.send(&items);
    assert!(
        matches!(outcomes[..], [Outcome::Accepted, Outcome::Rejected { .. }, Outcome::Accepted]),
        "{outcomes:?}"
    );
}

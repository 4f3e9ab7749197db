//! Sends until every alert has an end, as the engine does, without its pauses.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use integration::fakes::alerts;
use monitor::config::{self, SinkConfig};
use monitor::delivery::{Item, Outcome, Transport};

/// What became of a run.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    /// Ids of the alerts that the receiver took.
    pub(crate) accepted: BTreeSet<String>,
    /// Ids of those that it refused for good, with the reason.
    pub(crate) rejected: Vec<(String, String)>,
    /// Why something had to be sent again.
    pub(crate) retries: Vec<String>,
}

/// The configuration of one sink, as it stands in a file.
pub(crate) fn config(keys: &str) -> SinkConfig {
    let text = format!("schema: sandwatch/config/v1\nsinks: [{{ name: t, {keys} }}]\n");
    let mut all = config::parse(Path::new("test.yaml"), &text).unwrap_or_else(|error| panic!("{error}"));
    all.sinks.remove(0)
}

/// The transport of one sink.
pub(crate) fn open(keys: &str) -> Box<dyn Transport> {
    monitor::sink::network(&config(keys)).unwrap_or_else(|error| panic!("{keys}: {error}"))
}

/// Ids of the alerts of these numbers.
pub(crate) fn ids(numbers: std::ops::RangeInclusive<u64>) -> BTreeSet<String> {
    numbers.map(alerts::id).collect()
}

/// Sends the alerts of these numbers until each has an end.
pub(crate) fn deliver(transport: &mut dyn Transport, numbers: std::ops::RangeInclusive<u64>) -> Delivered {
    let mut left = alerts::items(numbers).unwrap();
    let mut done = Delivered::default();
    for _ in 0..200 {
        if left.is_empty() {
            return done;
        }
        let most = transport.limits().items;
        let rest = left.split_off(most.min(left.len()));
        let mut again = round(transport, left, &mut done);
        if !again.is_empty() {
            std::thread::sleep(Duration::from_millis(20));
        }
        again.extend(rest);
        left = again;
    }
    panic!("{} alerts have no end: {:?}", left.len(), done.retries.last());
}

fn round(transport: &mut dyn Transport, batch: Vec<Item>, done: &mut Delivered) -> Vec<Item> {
    let mut outcomes = transport.send(&batch).into_iter();
    let mut again = Vec::new();
    for item in batch {
        match outcomes.next() {
            Some(Outcome::Accepted) => drop(done.accepted.insert(item.alert.id.clone())),
            Some(Outcome::Rejected { reason }) => done.rejected.push((item.alert.id.clone(), reason)),
            Some(Outcome::Retry { reason, .. }) => {
                done.retries.push(reason);
                again.push(item);
            }
            None => again.push(item),
        }
    }
    again
}

/// The reason why the first of one batch has to be sent again, and the pause that was asked for.
pub(crate) fn retry(transport: &mut dyn Transport) -> (String, Option<Duration>) {
    let outcomes = transport.send(&alerts::items(1..=2).unwrap());
    match outcomes.into_iter().next() {
        Some(Outcome::Retry { reason, after }) => (reason, after),
        other => panic!("it should be sent again: {other:?}"),
    }
}

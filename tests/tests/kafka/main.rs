//! The sink `kafka` against Tansu, a broker that speaks Kafka's protocol.
//!
//! `cargo xtask test --kafka` installs it, and says in the environment where it is.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

#[path = "../delivery/deliver.rs"]
mod deliver;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use integration::fakes::alerts;
use integration::fakes::program::{Program, free_address};
use monitor::delivery::Outcome;
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;

use deliver::{deliver, ids, open, retry};

const TOPIC: &str = "sandwatch-alerts";
const PARTITIONS: i32 = 3;

struct Broker {
    folder: tempfile::TempDir,
    address: SocketAddr,
    program: Program,
}

fn tansu() -> PathBuf {
    let named = std::env::var_os("SANDWATCH_PEER_TANSU");
    PathBuf::from(named.unwrap_or_else(|| {
        panic!("SANDWATCH_PEER_TANSU names no broker; run `cargo xtask test --only kafka`")
    }))
}

fn run(folder: &std::path::Path, address: SocketAddr) -> Program {
    let url = format!("tcp://{address}");
    let mut command = Command::new(tansu());
    command.args(["broker", "--listener-url", &url, "--advertised-listener-url", &url]);
    command.args(["--storage-engine", "memory://tansu/"]);
    let program = Program::start(command, folder, address).unwrap();
    let mut command = Command::new(tansu());
    let partitions = PARTITIONS.to_string();
    command.args(["topic", "create", TOPIC, "--broker", &url, "--partitions", &partitions]);
    let made = command.output().unwrap();
    assert!(made.status.success(), "{made:?}");
    program
}

impl Broker {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address().unwrap();
        let program = run(folder.path(), address);
        Self { folder, address, program }
    }

    fn sink(&self, keys: &str) -> Box<dyn monitor::delivery::Transport> {
        open(&format!("type: kafka, brokers: [\"{}\"], topic: {TOPIC}, timeout: 5s{keys}", self.address))
    }

    /// So many messages: (partition, key, id of the alert, headers).
    fn messages(&self, count: usize) -> Vec<(i32, String, String, BTreeMap<String, String>)> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.address.to_string())
            .set("group.id", "test")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            all.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&all).unwrap();
        let mut found = Vec::new();
        let until = Instant::now() + Duration::from_secs(30);
        // A moment longer, so that one too many is seen as well.
        let mut last = Instant::now();
        while found.len() < count || last.elapsed() < Duration::from_millis(500) {
            assert!(Instant::now() < until, "{} of {count} messages came", found.len());
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
            let alert: Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let headers = message.headers().unwrap().iter();
            let headers =
                headers.map(|header| (header.key.to_owned(), text(header.value.unwrap()))).collect();
            let key = text(message.key().unwrap());
            found.push((message.partition(), key, alert["id"].as_str().unwrap().to_owned(), headers));
            last = Instant::now();
        }
        found
    }
}

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
    let received = messages.iter().map(|(_, _, id, _)| id.clone()).collect();
    assert_eq!(ids(1..=600), received);
    for (_, key, id, headers) in &messages {
        let number: u64 = id.rsplit('-').next().unwrap().parse().unwrap();
        assert_eq!(*key, format!("incident-{number}"));
        assert_eq!(headers["id"], *id);
        assert_eq!(headers["seq"], number.to_string());
        assert_eq!(headers["schema"], "sandwatch/alert/v1");
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
    assert!(messages.iter().all(|(partition, ..)| *partition == messages[0].0), "one key, one partition");
    let order: Vec<&str> = messages.iter().map(|(_, _, _, headers)| headers["seq"].as_str()).collect();
    let wanted: Vec<String> = (1..=100).map(|seq: u64| seq.to_string()).collect();
    assert_eq!(order, wanted);
}

#[test]
fn a_broker_that_is_down_loses_nothing() {
    let mut broker = Broker::start();
    broker.program.kill().unwrap();
    let mut sink =
        open(&format!("type: kafka, brokers: [\"{}\"], topic: {TOPIC}, timeout: 1s", broker.address));
    let begin = Instant::now();
    let (reason, _) = retry(&mut *sink);
    assert!(!reason.is_empty());
    // With the timeout that a sink has by default it would be 15 s.
    assert!(begin.elapsed() < Duration::from_secs(12), "{:?}", begin.elapsed());
    broker.program = run(broker.folder.path(), broker.address);
    assert_eq!(deliver(&mut *sink, 1..=50).accepted, ids(1..=50));
    let received = broker.messages(50).into_iter().map(|(_, _, id, _)| id).collect();
    assert_eq!(ids(1..=50), received);
    // And in between: what it had in memory is gone, which is its own business; what follows is not.
    broker.program.kill().unwrap();
    retry(&mut *sink);
    broker.program = run(broker.folder.path(), broker.address);
    assert_eq!(deliver(&mut *sink, 51..=90).accepted, ids(51..=90));
    let received = broker.messages(40).into_iter().map(|(_, _, id, _)| id).collect();
    assert_eq!(ids(51..=90), received);
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

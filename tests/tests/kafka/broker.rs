//! Tansu, and what is in its topic.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use integration::fakes::program::{Program, free_address};
use monitor::delivery::Transport;
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;

use crate::deliver::open;

pub(crate) const TOPIC: &str = "sandwatch-alerts";
pub(crate) const PARTITIONS: i32 = 3;

pub(crate) struct Broker {
    folder: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) program: Program,
}

/// What arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) partition: i32,
    pub(crate) key: String,
    /// Of the alert.
    pub(crate) id: String,
    pub(crate) headers: BTreeMap<String, String>,
}

fn tansu() -> PathBuf {
    let named = std::env::var_os("SANDWATCH_PEER_TANSU");
    PathBuf::from(named.unwrap_or_else(|| {
        panic!("SANDWATCH_PEER_TANSU names no broker; run `cargo xtask test --only kafka`")
    }))
}

/// Starts it, and makes the topic over its own address, whatever it tells clients.
fn run(folder: &Path, address: SocketAddr, advertised: &str, partitions: i32) -> Program {
    let url = format!("tcp://{address}");
    let mut command = Command::new(tansu());
    command.args([
        "broker",
        "--listener-url",
        &url,
        "--advertised-listener-url",
        &format!("tcp://{advertised}"),
    ]);
    command.args(["--storage-engine", "memory://tansu/"]);
    let program = Program::start(command, folder, address).unwrap();
    let mut command = Command::new(tansu());
    command.args(["topic", "create", TOPIC, "--broker", &url, "--partitions", &partitions.to_string()]);
    let made = command.output().unwrap();
    assert!(made.status.success(), "{made:?}");
    program
}

impl Broker {
    pub(crate) fn start() -> Self {
        let address = free_address().unwrap();
        Self::start_at(address, &address.to_string(), PARTITIONS)
    }

    /// One that tells clients to come to another address.
    pub(crate) fn behind(advertised: &str) -> Self {
        Self::start_at(free_address().unwrap(), advertised, 1)
    }

    fn start_at(address: SocketAddr, advertised: &str, partitions: i32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = run(folder.path(), address, advertised, partitions);
        Self { folder, address, program }
    }

    /// Again on the same address, without what it had in memory.
    pub(crate) fn restart(&mut self) {
        self.program = run(self.folder.path(), self.address, &self.address.to_string(), PARTITIONS);
    }

    pub(crate) fn sink(&self, keys: &str) -> Box<dyn Transport> {
        open(&format!("type: kafka, brokers: [\"{}\"], topic: {TOPIC}, timeout: 5s{keys}", self.address))
    }

    /// So many messages, and one too many if there is one.
    pub(crate) fn messages(&self, count: usize) -> Vec<Received> {
        messages(&self.address.to_string(), PARTITIONS, count)
    }
}

/// So many messages of a broker's topic, and one too many if there is one.
pub(crate) fn messages(servers: &str, partitions: i32, count: usize) -> Vec<Received> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "test")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
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
        let alert: Value = serde_json::from_slice(message.payload().unwrap()).unwrap_or_default();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let headers = message.headers().unwrap().iter();
        let headers = headers.map(|header| (header.key.to_owned(), text(header.value.unwrap()))).collect();
        found.push(Received {
            partition: message.partition(),
            key: text(message.key().unwrap()),
            id: alert["id"].as_str().unwrap_or_default().to_owned(),
            headers,
        });
        last = Instant::now();
    }
    found
}

//! One receiver of each kind, and the sink that sends to it.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};

use integration::fakes::bulk::DataStream;
use integration::fakes::hec::{Collector, Token};
use integration::fakes::otlp::Receiver;
use integration::fakes::{Reply, Server};
use monitor::delivery::Transport;
use serde_json::Value;

use crate::deliver::open;

pub(crate) const TOKEN: &str = "0c5a1f3e-s3cret-token";

/// Kinds of receivers that speak HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Http,
    Elasticsearch,
    Splunk,
    SplunkAck,
    Otlp,
}

/// All of them, and what their sinks are called.
pub(crate) const KINDS: [(&str, Kind); 5] = [
    ("http", Kind::Http),
    ("elastic", Kind::Elasticsearch),
    ("splunk", Kind::Splunk),
    ("splunk-ack", Kind::SplunkAck),
    ("otlp", Kind::Otlp),
];

/// A receiver.
pub(crate) enum Rig {
    Http(Server, Arc<Mutex<Vec<Value>>>),
    Elasticsearch(DataStream),
    Splunk(Collector),
    Otlp(Receiver),
}

impl Kind {
    /// Starts a receiver on this address.
    pub(crate) fn start_at(self, address: SocketAddr) -> io::Result<Rig> {
        Ok(match self {
            Self::Http => {
                let lines = Arc::new(Mutex::new(Vec::new()));
                let inner = Arc::clone(&lines);
                let server = Server::start_at(address, None, move |request| {
                    let text = request.text();
                    let parsed: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
                    let Ok(mut parsed) = parsed else { return Reply::text(400, "no JSON lines") };
                    inner.lock().unwrap().append(&mut parsed);
                    Reply::text(204, "")
                })?;
                Rig::Http(server, lines)
            }
            Self::Elasticsearch => {
                Rig::Elasticsearch(DataStream::start_at(address, "logs-sandwatch.alert-default")?)
            }
            Self::Splunk | Self::SplunkAck => Rig::Splunk(Collector::start_at(
                address,
                Token {
                    value: TOKEN.into(),
                    ack: self == Self::SplunkAck,
                    indexes: Vec::new(),
                    enabled: true,
                },
            )?),
            Self::Otlp => Rig::Otlp(Receiver::start_at(address)?),
        })
    }

    /// Starts a receiver.
    pub(crate) fn start(self) -> Rig {
        self.start_at(integration::fakes::server::ANY).unwrap()
    }

    /// The type of its sink.
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Elasticsearch => "elasticsearch",
            Self::Splunk | Self::SplunkAck => "splunk",
            Self::Otlp => "otlp",
        }
    }

    /// The sink for a receiver on this address, with further keys.
    pub(crate) fn sink(self, address: SocketAddr, keys: &str) -> Box<dyn Transport> {
        // Of the process, and never shown: what a test prints is no secret.
        let secret = match self {
            Self::Splunk | Self::SplunkAck => format!(", key_file: {}", token_file()),
            _ => String::new(),
        };
        let name = self.type_name();
        let more = if keys.is_empty() { String::new() } else { format!(", {keys}") };
        open(&format!("type: {name}, url: \"http://{address}\"{secret}{more}"))
    }
}

/// A file with the token.
pub(crate) fn token_file() -> String {
    static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), TOKEN).unwrap();
        folder
    });
    FOLDER.path().join("token").display().to_string()
}

/// An address on which nobody listens.
pub(crate) fn free_address() -> SocketAddr {
    integration::fakes::program::free_address().unwrap()
}

impl Rig {
    pub(crate) fn server(&self) -> &Server {
        match self {
            Self::Http(server, _) => server,
            Self::Elasticsearch(stream) => &stream.server,
            Self::Splunk(collector) => &collector.server,
            Self::Otlp(receiver) => &receiver.server,
        }
    }

    pub(crate) fn server_mut(&mut self) -> &mut Server {
        match self {
            Self::Http(server, _) => server,
            Self::Elasticsearch(stream) => &mut stream.server,
            Self::Splunk(collector) => &mut collector.server,
            Self::Otlp(receiver) => &mut receiver.server,
        }
    }

    /// The alerts that arrived.
    pub(crate) fn alerts(&self) -> Vec<Value> {
        match self {
            Self::Http(_, lines) => lines.lock().unwrap().clone(),
            Self::Elasticsearch(stream) => stream.documents().into_values().collect(),
            Self::Splunk(collector) => {
                collector.indexed().into_iter().map(|mut event| event["event"].take()).collect()
            }
            Self::Otlp(receiver) => receiver.alerts().unwrap(),
        }
    }

    /// Ids of the alerts that arrived.
    pub(crate) fn received(&self) -> BTreeSet<String> {
        self.alerts().iter().map(|alert| alert["id"].as_str().unwrap().to_owned()).collect()
    }
}

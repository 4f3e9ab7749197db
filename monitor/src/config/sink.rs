//! Where alerts go: one entry of `sinks`.
//!
//! Flat, as people write it; which keys a type takes stands in [`SinkKind::takes`], and `check` refuses the others.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::size::{Bytes, Span};
use crate::alert::{AlertKind, Tier};
use crate::profile::doc::OneOrMany;

/// A place where alerts go.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkConfig {
    /// Its name, on every alert that it delivers.
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: SinkKind,

    /// How alerts are written. `auto`: `human` on a terminal, `ecs` for Elasticsearch, otherwise `json`.
    #[serde(default)]
    pub format: SinkFormat,
    /// Incidents below this tier are not sent.
    #[serde(default = "default_min_tier")]
    pub min_tier: Tier,
    /// Kinds that are sent. Left out: all of them; for on-call sinks (pagerduty, alertmanager, slack) all but heartbeats.
    #[serde(default = "default_kinds")]
    pub kinds: Vec<AlertKind>,
    /// Globs of worker names; an alert about another worker is not sent. Alerts about no worker are.
    #[serde(default)]
    pub workers: Vec<String>,
    /// Labels (of the alert, or of its pod) that an alert must have, each with a glob for its value.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Fields that go on everything this sink sends: labels of the alert in `json`, `ocsf` and `ecs`.
    #[serde(default, rename = "static")]
    pub static_fields: BTreeMap<String, String>,
    /// Most bytes of one alert as sent; larger ones are cut, and name what was cut. Each type has its own default.
    #[serde(default)]
    pub max_bytes: Option<Bytes>,
    /// Alerts kept in memory while neither the sink nor the disk can take them; older ones are then dropped and counted.
    #[serde(default = "default_buffer")]
    pub buffer: usize,
    /// How long to wait, at first, before a failing sink is tried again.
    #[serde(default = "default_retry")]
    pub retry: Span,
    /// How long one request or write may take.
    #[serde(default = "default_timeout")]
    pub timeout: Span,

    /// The file, for `file`.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// When the file is put aside as `PATH.1`, for `file`; never unless given.
    #[serde(default)]
    pub rotate: Option<Rotate>,
    /// Where to, for `syslog`: `unix:///dev/log`, `udp://HOST:PORT`, `tcp://HOST:PORT` or `tls://HOST:PORT`.
    #[serde(default)]
    pub address: Option<String>,
    /// Syslog facility.
    #[serde(default)]
    pub facility: Option<String>,
    /// Put a byte order mark before the message, as RFC 5424 has it; most JSON parsers then fail.
    #[serde(default)]
    pub bom: bool,
    /// Where to, for everything that speaks HTTP. Alertmanager: every replica.
    #[serde(default)]
    pub url: Option<OneOrMany<String>>,
    /// Headers of each request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Headers whose values are secrets, each read from a file.
    #[serde(default)]
    pub header_files: BTreeMap<String, PathBuf>,
    /// Compress what is sent.
    #[serde(default)]
    pub gzip: bool,
    /// Proxy for HTTP, `http://HOST:PORT`. Left out: none, whatever the environment says.
    #[serde(default)]
    pub proxy: Option<String>,
    /// User for basic authentication, and of Kafka; the password is the key.
    #[serde(default)]
    pub user: Option<String>,
    /// How the agent logs in to Kafka as `user`.
    #[serde(default)]
    pub sasl: Option<Sasl>,
    /// File with the sink's secret: API key, token, routing key, signing secret, or the URL itself for Slack.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// Environment variable with the sink's secret.
    #[serde(default)]
    pub key_env: Option<String>,
    /// Certificates and keys, for TLS.
    #[serde(default)]
    pub tls: TlsConfig,
    /// Elasticsearch data stream: data set (`logs-DATASET-NAMESPACE`).
    #[serde(default)]
    pub dataset: Option<String>,
    /// Elasticsearch data stream: namespace.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Splunk index.
    #[serde(default)]
    pub index: Option<String>,
    /// Splunk source type.
    #[serde(default)]
    pub sourcetype: Option<String>,
    /// Splunk: wait until the indexers have it. The token must allow acknowledgement.
    #[serde(default)]
    pub ack: Option<bool>,
    /// Kafka brokers, `HOST:PORT`, or `tls://HOST:PORT`; all of them with TLS, or none.
    #[serde(default)]
    pub brokers: Vec<String>,
    /// Kafka topic.
    #[serde(default)]
    pub topic: Option<String>,
    /// Where the runbooks are: `{finding}` in it, or what is added to its end, becomes the name of the finding or condition.
    #[serde(default)]
    pub runbook_url: Option<String>,
}

/// What a sink is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SinkKind {
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File,
    /// A syslog receiver, RFC 5424.
    Syslog,
    /// Any HTTP receiver of JSON lines.
    Http,
    /// Elasticsearch or OpenSearch, into a data stream.
    Elasticsearch,
    /// Splunk's HTTP Event Collector.
    Splunk,
    /// An OpenTelemetry collector, over HTTP.
    Otlp,
    /// Kafka; only in builds with the feature `kafka`.
    Kafka,
    /// PagerDuty, Events API v2.
    Pagerduty,
    /// Prometheus Alertmanager, API v2.
    Alertmanager,
    /// Slack, incoming webhook.
    Slack,
    /// A webhook signed as Standard Webhooks 1.0 has it.
    Webhook,
}

/// How a sink writes alerts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SinkFormat {
    /// What suits the sink.
    #[default]
    Auto,
    /// One JSON object a line: the alert as it is.
    Json,
    /// OCSF 1.8: Detection Finding, or Base Event for health and heartbeats.
    Ocsf,
    /// Elastic Common Schema 9.
    Ecs,
    /// ArcSight's Common Event Format.
    Cef,
    /// For people.
    Human,
}

/// How Kafka is logged in to: mechanisms of SASL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Sasl {
    /// The password as it is; only with TLS, or on loopback.
    #[serde(rename = "plain")]
    Plain,
    /// A proof that the agent has the password.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// The same with SHA-512.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

/// When a file is put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// When it would grow beyond this.
    pub size: Bytes,
    /// How many are kept beside the current one.
    #[serde(default = "default_rotated")]
    pub keep: u32,
}

/// Certificates and keys for TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Authorities that the receiver's certificate may come from, PEM. Left out: the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The agent's own certificate, PEM.
    #[serde(default)]
    pub cert_file: Option<PathBuf>,
    /// The key of that certificate, PEM.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// Name that the receiver's certificate must carry. Left out: the host of the address.
    #[serde(default)]
    pub server_name: Option<String>,
}

impl SinkKind {
    /// All of them, in the order in which they are documented.
    pub const ALL: [Self; 12] = [
        Self::Stdout,
        Self::File,
        Self::Syslog,
        Self::Http,
        Self::Elasticsearch,
        Self::Splunk,
        Self::Otlp,
        Self::Kafka,
        Self::Pagerduty,
        Self::Alertmanager,
        Self::Slack,
        Self::Webhook,
    ];

    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::File => "file",
            Self::Syslog => "syslog",
            Self::Http => "http",
            Self::Elasticsearch => "elasticsearch",
            Self::Splunk => "splunk",
            Self::Otlp => "otlp",
            Self::Kafka => "kafka",
            Self::Pagerduty => "pagerduty",
            Self::Alertmanager => "alertmanager",
            Self::Slack => "slack",
            Self::Webhook => "webhook",
        }
    }

    /// The keys that it takes beyond those of every sink.
    pub const fn takes(self) -> &'static [&'static str] {
        match self {
            Self::Stdout => &[],
            Self::File => &["path", "rotate"],
            Self::Syslog => &["address", "facility", "bom", "tls"],
            Self::Http | Self::Otlp => {
                &["url", "headers", "header_files", "gzip", "proxy", "user", "key_file", "key_env", "tls"]
            }
            Self::Elasticsearch => &[
                "url",
                "headers",
                "header_files",
                "gzip",
                "proxy",
                "user",
                "key_file",
                "key_env",
                "tls",
                "dataset",
                "namespace",
            ],
            Self::Splunk => &[
                "url",
                "headers",
                "header_files",
                "gzip",
                "proxy",
                "key_file",
                "key_env",
                "tls",
                "index",
                "sourcetype",
                "ack",
            ],
            Self::Kafka => &["brokers", "topic", "gzip", "user", "sasl", "key_file", "key_env", "tls"],
            Self::Pagerduty => &["url", "key_file", "key_env", "proxy", "tls", "runbook_url"],
            Self::Alertmanager => &[
                "url",
                "headers",
                "header_files",
                "user",
                "key_file",
                "key_env",
                "proxy",
                "tls",
                "runbook_url",
            ],
            Self::Slack => &["key_file", "key_env", "proxy", "tls", "runbook_url"],
            Self::Webhook => {
                &["url", "headers", "header_files", "key_file", "key_env", "gzip", "proxy", "tls"]
            }
        }
    }

    /// Of those, the ones that it cannot do without; a secret may come from a file or the environment.
    pub const fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Stdout => &[],
            Self::File => &["path"],
            Self::Syslog => &["address"],
            Self::Http | Self::Elasticsearch | Self::Otlp => &["url"],
            Self::Splunk => &["url", "key_file"],
            Self::Kafka => &["brokers", "topic"],
            Self::Pagerduty | Self::Slack => &["key_file"],
            Self::Alertmanager => &["url"],
            Self::Webhook => &["url", "key_file"],
        }
    }

    /// Whether people are told through it: how things stand, and not all that happened.
    pub const fn is_on_call(self) -> bool {
        matches!(self, Self::Pagerduty | Self::Alertmanager | Self::Slack)
    }
}

impl SinkConfig {
    /// A sink to standard output that sends every alert; heartbeats are no news to whoever reads along.
    pub fn stdout() -> Self {
        Self {
            name: "stdout".into(),
            kind: SinkKind::Stdout,
            format: SinkFormat::Auto,
            min_tier: default_min_tier(),
            kinds: default_kinds().into_iter().filter(|kind| *kind != AlertKind::Heartbeat).collect(),
            workers: Vec::new(),
            labels: BTreeMap::new(),
            static_fields: BTreeMap::new(),
            max_bytes: None,
            buffer: default_buffer(),
            retry: default_retry(),
            timeout: default_timeout(),
            path: None,
            rotate: None,
            address: None,
            facility: None,
            bom: false,
            url: None,
            headers: BTreeMap::new(),
            header_files: BTreeMap::new(),
            gzip: false,
            proxy: None,
            user: None,
            sasl: None,
            key_file: None,
            key_env: None,
            tls: TlsConfig::default(),
            dataset: None,
            namespace: None,
            index: None,
            sourcetype: None,
            ack: None,
            brokers: Vec::new(),
            topic: None,
            runbook_url: None,
        }
    }

    /// A sink to a file that sends every alert as JSON lines, and no heartbeats.
    pub fn file(path: PathBuf) -> Self {
        Self {
            name: "file".into(),
            kind: SinkKind::File,
            path: Some(path),
            format: SinkFormat::Json,
            ..Self::stdout()
        }
    }

    /// How its alerts are written, with what suits the receiver where the configuration leaves it open.
    pub fn written_as(&self) -> SinkFormat {
        match (self.format, self.kind) {
            (SinkFormat::Auto, SinkKind::Elasticsearch) => SinkFormat::Ecs,
            (format, _) => format,
        }
    }

    /// Names of the keys that are set and that not every type takes.
    pub fn special_keys(&self) -> Vec<&'static str> {
        let set = [
            ("path", self.path.is_some()),
            ("rotate", self.rotate.is_some()),
            ("address", self.address.is_some()),
            ("facility", self.facility.is_some()),
            ("bom", self.bom),
            ("url", self.url.is_some()),
            ("headers", !self.headers.is_empty()),
            ("header_files", !self.header_files.is_empty()),
            ("gzip", self.gzip),
            ("proxy", self.proxy.is_some()),
            ("user", self.user.is_some()),
            ("sasl", self.sasl.is_some()),
            ("key_file", self.key_file.is_some()),
            ("key_env", self.key_env.is_some()),
            ("tls", self.tls != TlsConfig::default()),
            ("dataset", self.dataset.is_some()),
            ("namespace", self.namespace.is_some()),
            ("index", self.index.is_some()),
            ("sourcetype", self.sourcetype.is_some()),
            ("ack", self.ack.is_some()),
            ("brokers", !self.brokers.is_empty()),
            ("topic", self.topic.is_some()),
            ("runbook_url", self.runbook_url.is_some()),
        ];
        set.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect()
    }
}

fn default_min_tier() -> Tier {
    Tier::Deviation
}

fn default_kinds() -> Vec<AlertKind> {
    vec![AlertKind::Incident, AlertKind::Gap, AlertKind::Posture, AlertKind::Health, AlertKind::Heartbeat]
}

fn default_buffer() -> usize {
    10_000
}

fn default_retry() -> Span {
    Span(Duration::from_secs(1))
}

fn default_timeout() -> Span {
    Span(Duration::from_secs(15))
}

fn default_rotated() -> u32 {
    5
}

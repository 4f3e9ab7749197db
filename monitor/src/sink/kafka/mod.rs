//! Kafka: one message for each alert, keyed by incident, with a report from the broker for each.
//!
//! The producer is idempotent, so that its own retries neither double nor reorder; all alerts of an incident have the same
//! key and so the same partition. Only in builds with the feature `kafka`, as it brings librdkafka. That is built without
//! OpenSSL: brokers are spoken to without TLS.

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig};

use crate::alert::Alert;
use crate::config::SinkConfig;
use crate::delivery::{Item, Limits, Outcome, Promise, Transport};
use crate::sink::net::NetError;
use crate::sink::net::address::HostPort;

/// Of a batch.
const ITEMS: usize = 500;
const BYTES: usize = 2 << 20;
/// Brokers take messages up to 1 MB unless told otherwise.
const MAX_BYTES: u64 = 64 << 10;

/// A sink to Kafka.
pub struct Kafka {
    settings: ClientConfig,
    topic: String,
    brokers: String,
    max_bytes: usize,
    timeout: Duration,
    /// Made when there is something to send, and anew after an error that it cannot recover from.
    producer: Option<(BaseProducer<Reporter>, Receiver<Report>)>,
    round: u64,
}

/// What the broker said of a message.
struct Report {
    round: u64,
    index: usize,
    error: Option<KafkaError>,
}

/// Passes reports on.
struct Reporter(Sender<Report>);

impl ClientContext for Reporter {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, "kafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("kafka: {error}: {reason}");
    }
}

impl ProducerContext for Reporter {
    type DeliveryOpaque = Box<(u64, usize)>;

    fn delivery(&self, result: &DeliveryResult<'_>, place: Self::DeliveryOpaque) {
        let (round, index) = *place;
        let error = result.as_ref().err().map(|(error, _)| error.clone());
        // Nobody waits any more when the sink is being dropped.
        let _ = self.0.send(Report { round, index, error });
    }
}

impl Kafka {
    /// The sink as configured. Connects when there is something to send.
    ///
    /// # Errors
    /// Brokers or topic are missing or cannot be used.
    pub fn open(config: &SinkConfig) -> Result<Self, NetError> {
        if config.brokers.is_empty() {
            return Err(NetError::key("brokers", "is missing: a list of HOST:PORT"));
        }
        for broker in &config.brokers {
            HostPort::parse(broker).map_err(|what| NetError::key("brokers", what))?;
        }
        let topic = config.topic.clone().unwrap_or_default();
        let legal = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
        if topic.is_empty() || topic.len() > 249 || !topic.chars().all(legal) {
            return Err(NetError::key("topic", format!("{topic:?} is not the name of a topic")));
        }
        let brokers = config.brokers.join(",");
        let milliseconds = config.timeout.0.as_millis().max(1000).to_string();
        let mut settings = ClientConfig::new();
        settings
            .set("bootstrap.servers", &brokers)
            .set("client.id", "sandwatch")
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", &milliseconds)
            .set("socket.timeout.ms", &milliseconds)
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "5")
            .set("queue.buffering.max.kbytes", "8192")
            .set("compression.type", if config.gzip { "gzip" } else { "none" });
        let max_bytes =
            usize::try_from(config.max_bytes.map_or(MAX_BYTES, |bytes| bytes.0)).unwrap_or(usize::MAX);
        Ok(Self { settings, topic, brokers, max_bytes, timeout: config.timeout.0, producer: None, round: 0 })
    }

    fn ready(&mut self) -> Result<&(BaseProducer<Reporter>, Receiver<Report>), String> {
        let broken =
            self.producer.as_ref().is_some_and(|(producer, _)| producer.client().fatal_error().is_some());
        if broken {
            self.producer = None;
        }
        if self.producer.is_none() {
            let (sender, receiver) = mpsc::channel();
            let made =
                self.settings.create_with_context(Reporter(sender)).map_err(|error| error.to_string())?;
            self.producer = Some((made, receiver));
        }
        self.producer.as_ref().ok_or_else(|| "there is no producer".to_owned())
    }
}

impl Transport for Kafka {
    fn promise(&self) -> Promise {
        Promise::Acknowledged
    }

    fn limits(&self) -> Limits {
        Limits { items: ITEMS, bytes: BYTES, max_bytes: self.max_bytes }
    }

    fn target(&self) -> String {
        format!("{} ({})", self.brokers, self.topic)
    }

    fn send(&mut self, batch: &[Item]) -> Vec<Outcome> {
        self.round += 1;
        let (round, topic, timeout) = (self.round, self.topic.clone(), self.timeout);
        let (producer, reports) = match self.ready() {
            Ok((producer, reports)) => (producer, reports),
            Err(reason) => return vec![Outcome::Retry { reason, after: None }],
        };
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.len()];
        let mut waiting = 0;
        for (index, item) in batch.iter().enumerate() {
            let key = key(&item.alert);
            let number = item.seq.to_string();
            let headers = OwnedHeaders::new()
                .insert(Header { key: "schema", value: Some(item.alert.schema.as_str()) })
                .insert(Header { key: "id", value: Some(item.alert.id.as_str()) })
                .insert(Header { key: "seq", value: Some(number.as_str()) });
            let record = BaseRecord::with_opaque_to(&topic, Box::new((round, index)))
                .key(key)
                .payload(item.text.as_slice())
                .headers(headers);
            match producer.send(record) {
                Ok(()) => waiting += 1,
                Err((error, _)) => {
                    let outcome = of_error(&error);
                    let stop = matches!(outcome, Outcome::Retry { .. });
                    if let Some(place) = outcomes.get_mut(index) {
                        *place = Some(outcome);
                    }
                    if stop {
                        break;
                    }
                }
            }
        }
        // The producer gives up each message by itself within its own timeout; a little more is for its reports.
        let until = Instant::now() + timeout.max(Duration::from_secs(1)) + Duration::from_secs(1);
        while waiting > 0 && Instant::now() < until {
            producer.poll(Duration::from_millis(50));
            for report in reports.try_iter().filter(|report| report.round == round) {
                waiting -= 1;
                if let Some(place) = outcomes.get_mut(report.index) {
                    *place = Some(report.error.as_ref().map_or(Outcome::Accepted, of_error));
                }
            }
        }
        if waiting > 0 {
            // What is sent again must not still be on its way.
            producer.purge(PurgeConfig::default().queue().inflight());
        }
        let missing =
            || Outcome::Retry { reason: "the broker did not say what became of it".into(), after: None };
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
    }
}

/// Alerts of one incident, or of one condition, stay in order.
fn key(alert: &Alert) -> &str {
    let condition = || alert.gap.as_ref().and_then(|gap| gap.condition.as_deref());
    alert
        .incident
        .as_ref()
        .map(|incident| incident.id.as_str())
        .or_else(condition)
        .unwrap_or(&alert.host.name)
}

fn of_error(error: &KafkaError) -> Outcome {
    use RDKafkaErrorCode::{InvalidMessage, InvalidMessageSize, InvalidRecord, MessageSizeTooLarge};
    let reason = error.to_string();
    match error.rdkafka_error_code() {
        Some(MessageSizeTooLarge | InvalidMessage | InvalidMessageSize | InvalidRecord) => {
            Outcome::Rejected { reason }
        }
        _ => Outcome::Retry { reason, after: None },
    }
}

//! One producer of librdkafka, and what it said: a report for each message, and what goes wrong beside them.

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig};

use super::trouble::{self, Trouble};
use crate::alert::Alert;
use crate::delivery::{Item, Secret};
use crate::sink::net::address::HostPort;

/// Between looks at what was said: short while something comes, longer while nothing does.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(50);

/// A producer.
pub(super) struct Live {
    producer: BaseProducer<Reporter>,
    said: Receiver<Said>,
    round: u64,
    /// Those that it was told of.
    brokers: Vec<HostPort>,
    /// What went wrong last, until a message is taken.
    pub(super) trouble: Option<Trouble>,
    state: State,
}

/// A name may have addresses of which only the second answers.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is known of the way to the brokers since a batch was begun.
#[derive(Clone, Debug, Default)]
struct State {
    /// Brokers that could not be connected to.
    unreached: Vec<HostPort>,
    /// One was, and it or we did not want the other.
    turned_away: bool,
    /// A connection broke: what was sent over it may have been taken.
    cut: bool,
    /// Since then no broker is connected to.
    alone: Option<Instant>,
}

impl State {
    /// Nothing was handed to any broker, and nothing will be.
    fn is_hopeless(&self) -> bool {
        let tried = |since: Instant| self.turned_away || since.elapsed() >= PATIENCE;
        !self.unreached.is_empty() && !self.cut && self.alone.is_some_and(tried)
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Taken,
    /// By the broker, which looks at what was put together as a whole: it may be another's fault.
    Refused(RDKafkaErrorCode),
    /// By librdkafka, alone.
    Unfit(RDKafkaErrorCode),
    Failed(RDKafkaErrorCode),
    /// Nobody said.
    Silent,
}

enum Said {
    Report { round: u64, index: usize, error: Option<RDKafkaErrorCode> },
    Trouble(RDKafkaErrorCode, String),
}

/// Passes on what librdkafka says.
struct Reporter {
    said: Sender<Said>,
    /// Brokers may repeat it.
    hidden: Option<Secret>,
}

impl ClientContext for Reporter {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, "kafka: {}", trouble::harmless(message, self.hidden.as_ref()));
        // Connections that were cut are told only here; what is worse comes as an error too.
        let told =
            matches!(level, RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info);
        if told && facility == "FAIL" {
            // After the name of a thread.
            let text = message.split_once("]: ").map_or(message, |(_, text)| text);
            self.tell(RDKafkaErrorCode::BrokerTransportFailure, text);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("kafka: {error}: {}", trouble::harmless(reason, self.hidden.as_ref()));
        self.tell(code(&error), reason);
    }
}

impl Reporter {
    fn tell(&self, code: RDKafkaErrorCode, text: &str) {
        // Nobody waits any more when the sink is being dropped.
        let _ = self.said.send(Said::Trouble(code, trouble::without_secret(text, self.hidden.as_ref())));
    }
}

impl ProducerContext for Reporter {
    type DeliveryOpaque = Box<(u64, usize)>;

    fn delivery(&self, result: &DeliveryResult<'_>, place: Self::DeliveryOpaque) {
        let (round, index) = *place;
        let error = result.as_ref().err().map(|(error, _)| code(error));
        let _ = self.said.send(Said::Report { round, index, error });
    }
}

impl Live {
    /// A producer with these settings. It connects by itself.
    ///
    /// # Errors
    /// What librdkafka has against the settings, without their values.
    pub(super) fn new(
        settings: &ClientConfig,
        brokers: &[HostPort],
        hidden: Option<Secret>,
    ) -> Result<Self, String> {
        let (sender, said) = mpsc::channel();
        let reporter = Reporter { said: sender, hidden: hidden.clone() };
        let producer = settings.create_with_context(reporter).map_err(|error| {
            let what = match error {
                // Its own text has the value.
                KafkaError::ClientConfig(_, what, key, _) => format!("{key}: {what}"),
                other => other.to_string(),
            };
            trouble::harmless(&what, hidden.as_ref())
        })?;
        let (brokers, state) = (brokers.to_owned(), State::default());
        Ok(Self { producer, said, round: 0, brokers, trouble: None, state })
    }

    /// Why it will never take anything again; `None` if it may.
    pub(super) fn fatal(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.producer.client().fatal_error()
    }

    /// Whether it gave up because no broker can be connected to.
    pub(super) fn is_hopeless(&self) -> bool {
        self.state.is_hopeless()
    }

    /// Hands over a batch and waits until all is said, there is no hope, or `until`. One fate for each item, in order.
    pub(super) fn send(&mut self, topic: &str, batch: &[Item], until: Instant) -> Vec<Fate> {
        if self.round > 0 {
            // What happened since the last batch says nothing of this one; what a new producer met already does, and it says it once.
            self.producer.poll(SHORTEST);
            self.listen(&mut []);
            self.state = State::default();
        }
        self.round += 1;
        let mut fates = vec![Fate::Silent; batch.len()];
        let mut waiting = 0;
        for (index, item) in batch.iter().enumerate() {
            let Err(error) = self.hand_over(topic, index, item) else {
                waiting += 1;
                continue;
            };
            let fate = of_own(error);
            if let Some(place) = fates.get_mut(index) {
                *place = fate;
            }
            if matches!(fate, Fate::Failed(_)) {
                break;
            }
        }
        let mut pause = SHORTEST;
        while waiting > 0 && !self.state.is_hopeless() && Instant::now() < until {
            self.producer.poll(pause);
            let told = self.listen(&mut fates);
            pause = if told > 0 { SHORTEST } else { (pause * 2).min(LONGEST) };
            waiting -= told.min(waiting);
        }
        if waiting > 0 {
            // What is sent again must not still be on its way.
            self.producer.purge(PurgeConfig::default().queue().inflight());
        }
        fates
    }

    fn hand_over(&self, topic: &str, index: usize, item: &Item) -> Result<(), RDKafkaErrorCode> {
        let number = item.seq.to_string();
        let headers = OwnedHeaders::new()
            .insert(Header { key: "schema", value: Some(item.alert.schema.as_str()) })
            .insert(Header { key: "id", value: Some(item.alert.id.as_str()) })
            .insert(Header { key: "seq", value: Some(number.as_str()) });
        let record = BaseRecord::with_opaque_to(topic, Box::new((self.round, index)))
            .key(key(&item.alert))
            .payload(item.text.as_slice())
            .headers(headers);
        self.producer.send(record).map_err(|(error, _)| code(&error))
    }

    /// Takes in what was said; how many reports of this round were among it.
    fn listen(&mut self, fates: &mut [Fate]) -> usize {
        let mut told = 0;
        for said in self.said.try_iter() {
            match said {
                Said::Report { round, index, error } if round == self.round => {
                    let Some(place) = fates.get_mut(index) else { continue };
                    *place = error.map_or(Fate::Taken, of_broker);
                    if error.is_none() {
                        self.trouble = None;
                    }
                    told += 1;
                }
                Said::Report { .. } => {}
                Said::Trouble(RDKafkaErrorCode::AllBrokersDown, _) => {
                    self.state.alone.get_or_insert_with(Instant::now);
                }
                Said::Trouble(code, text) => {
                    let trouble = Trouble { code, text };
                    let unreached = trouble.is_before_anything_was_sent();
                    if let Some(broker) = trouble.broker().filter(|_| unreached) {
                        if !self.state.unreached.contains(&broker) {
                            self.state.unreached.push(broker);
                        }
                        // librdkafka does not always say that all are down: while it adds one, it waits for that too.
                        if self.brokers.iter().all(|broker| self.state.unreached.contains(broker)) {
                            self.state.alone.get_or_insert_with(Instant::now);
                        }
                    }
                    self.state.turned_away |= trouble.is_final();
                    self.state.cut |= !unreached;
                    self.trouble = Some(trouble);
                }
            }
        }
        told
    }

    /// Ends it without waiting for it: a name that is being looked up cannot be interrupted.
    pub(super) fn retire(self) {
        let producer = self.producer;
        let ended = std::thread::Builder::new().name("kafka-end".to_owned()).spawn(move || drop(producer));
        if let Err(error) = ended {
            tracing::debug!("no thread to end a producer on: {error}");
        }
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

fn code(error: &KafkaError) -> RDKafkaErrorCode {
    error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)
}

fn of_broker(code: RDKafkaErrorCode) -> Fate {
    use RDKafkaErrorCode::{InvalidMessage, InvalidMessageSize, InvalidRecord, MessageSizeTooLarge};
    match code {
        MessageSizeTooLarge | InvalidMessage | InvalidMessageSize | InvalidRecord => Fate::Refused(code),
        _ => Fate::Failed(code),
    }
}

fn of_own(code: RDKafkaErrorCode) -> Fate {
    match of_broker(code) {
        Fate::Refused(code) => Fate::Unfit(code),
        other => other,
    }
}

//! Kafka: one message for each alert, keyed by incident, with a report from the broker for each.
//!
//! The producer is idempotent, so that its own retries neither double nor reorder; all alerts of an incident have the same
//! key and so the same partition. Only in builds with the feature `kafka`, as it brings librdkafka, which has its TLS from
//! OpenSSL. `route` is where to, `access` with which certificates and password, `producer` one producer and what it says, `trouble`
//! that in words.
//!
//! A producer lives as long as it takes messages. One that gave up, for whatever reason, is ended and made anew: left alone it would go
//! on connecting, and logging in with a wrong password, twenty times a second.

mod access;
mod producer;
mod route;
mod trouble;

use std::time::{Duration, Instant};

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::RDKafkaErrorCode as Code;

use crate::config::SinkConfig;
use crate::delivery::{Item, Limits, Outcome, Promise, Transport};
use crate::sink::net::NetError;

use access::Access;
use producer::{Fate, Live};
use route::Route;

/// Of a batch.
const ITEMS: usize = 500;
const BYTES: usize = 2 << 20;
/// Brokers take messages up to 1 MB unless told otherwise.
const MAX_BYTES: u64 = 64 << 10;

/// The producer gives up each message by itself after the timeout; a little more is for its reports.
const GRACE: Duration = Duration::from_secs(1);
/// For a look at a certificate.
const LOOK: Duration = Duration::from_secs(1);
/// librdkafka takes no less, and no more for a request.
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(300);
/// How often a message is sent again that a broker answers with an error to; with the pauses between, about four seconds. Without
/// a bound the error would never be told.
const RETRIES: &str = "6";

/// A sink to Kafka.
pub struct Kafka {
    config: SinkConfig,
    route: Route,
    access: Access,
    timeout: Duration,
    /// Made when there is something to send.
    live: Option<Live>,
}

impl Kafka {
    /// The sink as configured. Connects when there is something to send.
    ///
    /// # Errors
    /// Brokers, topic or login are missing or cannot be used; a file is not there or does not hold what it should.
    pub fn open(config: &SinkConfig) -> Result<Self, NetError> {
        let route = Route::of(config)?;
        let access = Access::read(config, route.secure)?;
        let timeout = config.timeout.0.max(LEAST);
        Ok(Self { config: config.clone(), route, access, timeout, live: None })
    }

    fn settings(&self) -> ClientConfig {
        let milliseconds = |span: Duration| span.as_millis().to_string();
        let request = milliseconds(self.timeout.min(MOST));
        let mut settings = ClientConfig::new();
        settings.set_log_level(RDKafkaLogLevel::Info);
        settings
            .set("bootstrap.servers", self.route.servers())
            .set("client.id", "sandwatch")
            .set("enable.idempotence", "true")
            .set("retries", RETRIES)
            .set("message.timeout.ms", milliseconds(self.timeout))
            .set("socket.timeout.ms", &request)
            .set("socket.connection.setup.timeout.ms", &request)
            // Longer than a message is kept, and nobody would hear that there is no such topic.
            .set("topic.metadata.propagation.max.ms", milliseconds(self.timeout / 4))
            .set("reconnect.backoff.max.ms", "2000")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "5")
            .set("queue.buffering.max.kbytes", "8192")
            .set("compression.type", if self.config.gzip { "gzip" } else { "none" });
        self.access.apply(&mut settings);
        settings
    }

    fn ready(&mut self) -> Result<Live, String> {
        match self.live.take() {
            Some(live) if live.fatal().is_none() => Ok(live),
            other => {
                other.into_iter().for_each(Live::retire);
                Live::new(&self.settings(), &self.route.brokers, self.access.hidden())
            }
        }
    }

    /// Sends what was refused together one by one, until the alert that it was refused for stands alone.
    fn alone(&self, live: &mut Live, batch: &[Item], fates: &mut [Fate], until: Instant) {
        if batch.len() == 1 {
            return;
        }
        for (index, fate) in fates.iter_mut().enumerate() {
            let Fate::Refused(code) = *fate else { continue };
            *fate = Fate::Failed(code);
            if Instant::now() + GRACE > until || live.is_hopeless() || live.fatal().is_some() {
                continue;
            }
            let item = batch.get(index..=index).unwrap_or_default();
            if let Some(said) = live.send(&self.route.topic, item, until).pop() {
                *fate = said;
            }
        }
    }

    /// Why a message was not taken that the broker said nothing of.
    fn why(&self, live: &Live) -> String {
        if let Some((code, text)) = live.fatal() {
            let what = trouble::of_code(code, &self.route.topic);
            let known = what != trouble::said(code);
            return if known {
                what
            } else {
                trouble::harmless(&format!("{what}: {text}"), self.access.hidden().as_ref())
            };
        }
        let Some(trouble) = &live.trouble else {
            return format!("no answer within {} s", self.timeout.as_secs_f32());
        };
        // OpenSSL says that a certificate is not accepted, but not why.
        let broker = trouble.broker().filter(|_| trouble.is_certificate());
        let look = broker.and_then(|broker| Some((self.access.look_at(&broker, LOOK)?, broker)));
        look.map_or_else(|| trouble.words(), |(what, broker)| format!("{broker}: {what}"))
    }

    fn outcome(&self, fate: Fate, why: &str) -> Outcome {
        let retry = |reason: String| Outcome::Retry { reason, after: None };
        match fate {
            Fate::Taken => Outcome::Accepted,
            Fate::Refused(code) | Fate::Unfit(code) => {
                Outcome::Rejected { reason: trouble::of_code(code, &self.route.topic) }
            }
            Fate::Failed(code) if !is_vague(code) => retry(trouble::of_code(code, &self.route.topic)),
            Fate::Failed(_) | Fate::Silent => retry(why.to_owned()),
        }
    }
}

impl Transport for Kafka {
    fn promise(&self) -> Promise {
        Promise::Acknowledged
    }

    fn limits(&self) -> Limits {
        let most = self.config.max_bytes.map_or(MAX_BYTES, |bytes| bytes.0);
        Limits { items: ITEMS, bytes: BYTES, max_bytes: usize::try_from(most).unwrap_or(usize::MAX) }
    }

    fn target(&self) -> String {
        self.route.shown()
    }

    fn send(&mut self, batch: &[Item]) -> Vec<Outcome> {
        let until = Instant::now() + self.timeout + GRACE;
        let mut live = match self.ready() {
            Ok(live) => live,
            Err(reason) => return vec![Outcome::Retry { reason, after: None }],
        };
        let mut fates = live.send(&self.route.topic, batch, until);
        self.alone(&mut live, batch, &mut fates, until);
        let gave_up = |fate: &Fate| match fate {
            Fate::Failed(code) => is_vague(*code),
            Fate::Silent => true,
            Fate::Taken | Fate::Refused(_) | Fate::Unfit(_) => false,
        };
        let worn = live.is_hopeless() || fates.iter().any(gave_up);
        let why = if worn { self.why(&live) } else { String::new() };
        if worn {
            live.retire();
        } else {
            self.live = Some(live);
        }
        fates.into_iter().map(|fate| self.outcome(fate, &why)).collect()
    }

    fn reopen(&mut self) -> Result<(), String> {
        self.access = Access::read(&self.config, self.route.secure).map_err(|error| error.to_string())?;
        if let Some(live) = self.live.take() {
            live.retire();
        }
        Ok(())
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Some(live) = self.live.take() {
            live.retire();
        }
    }
}

/// Whether a report only says that a message was given up, and not what for.
fn is_vague(code: Code) -> bool {
    matches!(
        code,
        Code::MessageTimedOut
            | Code::OperationTimedOut
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::PurgeQueue
            | Code::PurgeInflight
            | Code::Fatal
    )
}

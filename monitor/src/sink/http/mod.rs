//! HTTP: alerts posted to any address, one a line (NDJSON), several in one request.
//!
//! A single alert in a request is a plain JSON document, so that a receiver that reads one at a time is served too while
//! alerts are rare. A request that is refused as a whole is sent in halves until the alert that it was refused for
//! stands alone.

use crate::config::{SinkConfig, SinkFormat};
use crate::delivery::{Item, Limits, Outcome, Promise, Transport};
use crate::sink::net::halves::Whole;
use crate::sink::net::{Call, NetError, Receiver, Verdict};

/// Of a request.
const ITEMS: usize = 100;
const BYTES: usize = 1 << 20;

/// A sink to an HTTP receiver.
pub struct Http(Receiver);

impl Http {
    /// The sink as configured. Connects when there is something to send.
    ///
    /// # Errors
    /// The address, headers, key or certificates cannot be used.
    pub fn open(config: &SinkConfig) -> Result<Self, NetError> {
        Receiver::open(config, "", |client, config| client.log_in_as(config, "Bearer")).map(Self)
    }
}

impl Transport for Http {
    fn promise(&self) -> Promise {
        Promise::Acknowledged
    }

    fn limits(&self) -> Limits {
        // Text for people has lines of its own: nothing would tell two alerts apart.
        self.0.limits(if self.0.config.format == SinkFormat::Human { 1 } else { ITEMS }, BYTES)
    }

    fn target(&self) -> String {
        self.0.shown()
    }

    fn send(&mut self, batch: &[Item]) -> Vec<Outcome> {
        let is_json = !matches!(self.0.config.format, SinkFormat::Human | SinkFormat::Cef);
        self.0.send(batch, |client, endpoint, part| {
            let content_type = match (is_json, part.len()) {
                (false, _) => "text/plain; charset=utf-8",
                (true, 1) => "application/json",
                (true, _) => "application/x-ndjson",
            };
            let mut body = Vec::with_capacity(part.iter().map(|item| item.text.len() + 1).sum());
            for item in part {
                body.extend_from_slice(&item.text);
                body.push(b'\n');
            }
            let call = Call { url: &endpoint.url(), content_type, headers: &[], body: &body };
            let verdict = match client.post(&call) {
                Ok(answer) => answer.verdict(),
                Err(reason) => Verdict::Again { reason, after: None },
            };
            Whole::of(verdict, part)
        })
    }

    fn reopen(&mut self) -> Result<(), String> {
        self.0.reopen()
    }
}

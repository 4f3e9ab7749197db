//! HTTP: alerts posted to any address, one a line (NDJSON), several in one request.
//!
//! A single alert in a request is a plain JSON document, so that a receiver that reads one at a time is served too while
//! alerts are rare. A request that is refused as a whole is sent in halves until the alert that it was refused for
//! stands alone.

use crate::config::{SinkConfig, SinkFormat};
use crate::delivery::{Item, Limits, Outcome, Promise, Transport};
use crate::sink::net::halves::{self, Whole};
use crate::sink::net::{Call, Client, Endpoints, NetError, Verdict};

/// Of a request.
const ITEMS: usize = 100;
const BYTES: usize = 1 << 20;

/// A sink to an HTTP receiver.
pub struct Http {
    config: SinkConfig,
    client: Client,
    endpoints: Endpoints,
}

impl Http {
    /// The sink as configured. Connects when there is something to send.
    ///
    /// # Errors
    /// The address, headers, key or certificates cannot be used.
    pub fn open(config: &SinkConfig) -> Result<Self, NetError> {
        let endpoints = Endpoints::of(config, "")?;
        let mut client = Client::open(config)?;
        client.log_in_as(config, "Bearer")?;
        Ok(Self { config: config.clone(), client, endpoints })
    }

    fn is_json(&self) -> bool {
        !matches!(self.config.format, SinkFormat::Human | SinkFormat::Cef)
    }
}

impl Transport for Http {
    fn promise(&self) -> Promise {
        Promise::Acknowledged
    }

    fn limits(&self) -> Limits {
        let max_bytes = self.config.max_bytes.map_or(crate::alert::MAX_ALERT as u64, |bytes| bytes.0);
        Limits {
            // Text for people has lines of its own: nothing would tell two alerts apart.
            items: if self.config.format == SinkFormat::Human { 1 } else { ITEMS },
            bytes: BYTES,
            max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX),
        }
    }

    fn target(&self) -> String {
        self.endpoints.shown()
    }

    fn send(&mut self, batch: &[Item]) -> Vec<Outcome> {
        let is_json = self.is_json();
        let (client, endpoints) = (&self.client, &mut self.endpoints);
        halves::send(batch, |part| {
            let content_type = match (is_json, part.len()) {
                (false, _) => "text/plain; charset=utf-8",
                (true, 1) => "application/json",
                (true, _) => "application/x-ndjson",
            };
            let Some(url) = endpoints.current().map(super::net::Endpoint::url) else {
                return Whole::Each(Vec::new());
            };
            let mut body = Vec::with_capacity(part.iter().map(|item| item.text.len() + 1).sum());
            for item in part {
                body.extend_from_slice(&item.text);
                body.push(b'\n');
            }
            let verdict = match client.post(&Call { url: &url, content_type, headers: &[], body: &body }) {
                Ok(answer) => answer.verdict(),
                Err(reason) => Verdict::Again { reason, after: None },
            };
            match verdict {
                Verdict::Accepted => Whole::Each(vec![Outcome::Accepted; part.len()]),
                Verdict::Final(reason) => Whole::Refused(reason),
                Verdict::Again { reason, after } => {
                    endpoints.next();
                    Whole::Again { reason, after }
                }
            }
        })
    }

    fn reopen(&mut self) -> Result<(), String> {
        self.client.reload().map_err(|error| error.to_string())?;
        self.client.log_in_as(&self.config, "Bearer").map_err(|error| error.to_string())
    }
}

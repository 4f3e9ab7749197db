//! Elasticsearch and OpenSearch: `_bulk` into a data stream, an answer for each alert.
//!
//! Each document has an id of its own (the alert's and its number in the stream), so that what is sent twice is stored once:
//! the second time the receiver says 409, which is success. (After the stream rolled over to its next index a repetition is
//! stored again: ids are unique within an index.) `bulk` writes requests and reads answers.

mod bulk;

use crate::config::SinkConfig;
use crate::delivery::{Item, Limits, Outcome, Promise, Transport};
use crate::sink::net::halves::{self, Whole};
use crate::sink::net::{Call, Client, Endpoint, Endpoints, NetError, Verdict};
use bulk::Stream;

/// Of a request. Elasticsearch advises some MiB; alerts are few, and memory is not.
const ITEMS: usize = 500;
const BYTES: usize = 2 << 20;

/// A sink to Elasticsearch or OpenSearch.
pub struct Elasticsearch {
    config: SinkConfig,
    client: Client,
    endpoints: Endpoints,
    stream: Stream,
}

impl Elasticsearch {
    /// The sink as configured. Connects when there is something to send.
    ///
    /// # Errors
    /// The address, data stream, headers, key or certificates cannot be used.
    pub fn open(config: &SinkConfig) -> Result<Self, NetError> {
        let endpoints = Endpoints::of(config, "/_bulk")?;
        let stream = Stream::of(config)?;
        let mut client = Client::open(config)?;
        client.log_in_as(config, "ApiKey")?;
        Ok(Self { config: config.clone(), client, endpoints, stream })
    }
}

impl Transport for Elasticsearch {
    fn promise(&self) -> Promise {
        Promise::Acknowledged
    }

    fn limits(&self) -> Limits {
        let max_bytes = self.config.max_bytes.map_or(crate::alert::MAX_ALERT as u64, |bytes| bytes.0);
        Limits { items: ITEMS, bytes: BYTES, max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX) }
    }

    fn target(&self) -> String {
        format!("{} ({})", self.endpoints.shown(), self.stream.name())
    }

    fn send(&mut self, batch: &[Item]) -> Vec<Outcome> {
        let (client, endpoints, stream) = (&self.client, &mut self.endpoints, &self.stream);
        halves::send(batch, |part| {
            let Some(url) = endpoints.current().map(Endpoint::url) else { return Whole::Each(Vec::new()) };
            let body = stream.request(part);
            let call = Call { url: &url, content_type: "application/x-ndjson", headers: &[], body: &body };
            let whole = match client.post(&call) {
                Err(reason) => Whole::Again { reason, after: None },
                Ok(answer) => match answer.verdict() {
                    Verdict::Accepted => {
                        let each = stream.read_answer(part, &answer, |text| client.without_secrets(text));
                        each.map_or_else(|reason| puzzled(part, reason), Whole::Each)
                    }
                    // The stream, or what we may: not the alerts.
                    Verdict::Final(reason) if [403, 404].contains(&answer.status) => {
                        Whole::Again { reason, after: answer.retry_after }
                    }
                    Verdict::Final(reason) => Whole::Refused(reason),
                    Verdict::Again { reason, after } => Whole::Again { reason, after },
                },
            };
            if matches!(whole, Whole::Again { .. }) {
                endpoints.next();
            }
            whole
        })
    }

    fn reopen(&mut self) -> Result<(), String> {
        self.client.reload().map_err(|error| error.to_string())?;
        self.client.log_in_as(&self.config, "ApiKey").map_err(|error| error.to_string())
    }
}

/// An answer that says nothing. In a batch, one alert may have confused the receiver: it is looked for in halves. Alone, it is
/// rather the receiver (a proxy's login page), and the alert is sent again.
fn puzzled(part: &[Item], reason: String) -> Whole {
    if part.len() > 1 { Whole::Refused(reason) } else { Whole::Again { reason, after: None } }
}

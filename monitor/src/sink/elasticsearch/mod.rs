//! Elasticsearch and OpenSearch: `_bulk` into a data stream, an answer for each alert.
//!
//! Each document has an id of its own (the alert's and its number in the stream), so that what is sent twice is stored once:
//! the second time the receiver says 409, which is success. (After the stream rolled over to its next index a repetition is
//! stored again: ids are unique within an index.) `bulk` writes requests and reads answers.

mod bulk;

use crate::config::SinkConfig;
use crate::delivery::{Item, Limits, Outcome, Promise, Transport};
use crate::sink::net::halves::Whole;
use crate::sink::net::{Call, NetError, Receiver, Verdict};
use bulk::Stream;

/// Of a request. Elasticsearch advises some MiB; alerts are few, and memory is not.
const ITEMS: usize = 500;
const BYTES: usize = 2 << 20;

/// A sink to Elasticsearch or OpenSearch.
pub struct Elasticsearch {
    receiver: Receiver,
    stream: Stream,
}

impl Elasticsearch {
    /// The sink as configured. Connects when there is something to send.
    ///
    /// # Errors
    /// The address, data stream, headers, key or certificates cannot be used.
    pub fn open(config: &SinkConfig) -> Result<Self, NetError> {
        let stream = Stream::of(config)?;
        let receiver = Receiver::open(config, "/_bulk", |client, config| client.log_in_as(config, "ApiKey"))?;
        Ok(Self { receiver, stream })
    }
}

impl Transport for Elasticsearch {
    fn promise(&self) -> Promise {
        Promise::Acknowledged
    }

    fn limits(&self) -> Limits {
        self.receiver.limits(ITEMS, BYTES)
    }

    fn sent_bytes(&self, item: &Item) -> usize {
        self.receiver.sent_bytes(item, || self.stream.request(std::slice::from_ref(item)).len())
    }

    fn target(&self) -> String {
        format!("{} ({})", self.receiver.shown(), self.stream.name())
    }

    fn send(&mut self, batch: &[Item]) -> Vec<Outcome> {
        let stream = &self.stream;
        self.receiver.send(batch, |client, endpoint, part| {
            let body = stream.request(part);
            let url = endpoint.url();
            let call = Call { url: &url, content_type: "application/x-ndjson", headers: &[], body: &body };
            let answer = match client.post(&call) {
                Ok(answer) => answer,
                Err(reason) => return Whole::Again { reason, after: None },
            };
            match answer.verdict() {
                Verdict::Accepted => {
                    let each = stream.read_answer(part, &answer, |text| client.without_secrets(text));
                    each.map_or_else(|reason| puzzled(part, reason), Whole::Each)
                }
                // The stream, or what we may: not the alerts.
                Verdict::Final(reason) if [403, 404].contains(&answer.status) => {
                    Whole::Again { reason, after: answer.retry_after }
                }
                verdict => Whole::of(verdict, part),
            }
        })
    }

    fn reopen(&mut self) -> Result<(), String> {
        self.receiver.reopen()
    }
}

/// An answer that says nothing. In a batch, one alert may have confused the receiver: it is looked for in halves. Alone, it is
/// rather the receiver (a proxy's login page), and the alert is sent again.
fn puzzled(part: &[Item], reason: String) -> Whole {
    if part.len() > 1 { Whole::Refused(reason) } else { Whole::Again { reason, after: None } }
}

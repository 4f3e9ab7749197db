//! Splunk's HTTP Event Collector, with indexer acknowledgement where the token has it.
//!
//! Status 200 means only that Splunk could read the request. If the answer has an `ackId`, the batch counts once Splunk says
//! that the indexers have it; if that takes too long it is sent again, and then may be there twice. `event` writes requests,
//! `answer` reads what Splunk says.

mod answer;
mod event;

use std::time::{Duration, Instant};

use crate::config::SinkConfig;
use crate::delivery::{Item, Limits, Outcome, Promise, Secret, Transport};
use crate::sink::net::halves::Whole;
use crate::sink::net::{Answer, Call, Client, Endpoint, NetError, Receiver, Verdict};
use answer::Said;
use event::Envelope;

/// Of a request. Splunk takes 1 MB (`max_content_length` of limits.conf) in every version.
const ITEMS: usize = 200;
const BYTES: usize = 900 << 10;

/// Splunk marks events as indexed some seconds after they came: for so many times `timeout` it is asked.
const ACK_TIMEOUTS: u32 = 4;
/// First pause between questions; it doubles up to the second.
const ACK_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// A sink to Splunk.
pub struct Splunk {
    receiver: Receiver,
    envelope: Envelope,
    asks: Asks,
}

/// How it is asked what became of a batch.
struct Asks {
    /// As configured: whether the indexers' word counts.
    ack: Option<bool>,
    /// Whose acknowledgements we ask for: one for each run of the sink.
    channel: String,
    within: Duration,
    /// With `ack: true`: the token was seen to have acknowledgement.
    token_acknowledges: bool,
}

impl Splunk {
    /// The sink as configured. Connects when there is something to send.
    ///
    /// # Errors
    /// There is no key, or the address, headers or certificates cannot be used.
    pub fn open(config: &SinkConfig) -> Result<Self, NetError> {
        Ok(Self {
            receiver: Receiver::open(config, "/services/collector/event", log_in)?,
            envelope: Envelope::of(config)?,
            asks: Asks {
                ack: config.ack,
                channel: uuid::Uuid::new_v4().to_string(),
                within: config.timeout.0 * ACK_TIMEOUTS,
                token_acknowledges: false,
            },
        })
    }
}

impl Asks {
    /// Whether the token has acknowledgement, which `ack: true` insists on: asked before anything is sent, as events to a
    /// token without it would be stored again and again.
    fn check_token(&mut self, client: &Client, endpoint: &Endpoint) -> Result<(), String> {
        if self.ack != Some(true) || self.token_acknowledges {
            return Ok(());
        }
        let answer = self.ask(client, endpoint, 0)?;
        match answer::verdict(&answer, Said::read(&answer).as_ref()) {
            Verdict::Again { reason, .. } => return Err(reason),
            // An id that it does not know is no reason to wait.
            Verdict::Accepted | Verdict::Final(_) => {}
        }
        self.token_acknowledges = true;
        Ok(())
    }

    fn ask(&self, client: &Client, endpoint: &Endpoint, id: u64) -> Result<Answer, String> {
        let url = endpoint.beside("/event", "/ack").with_parameter("channel", &self.channel).url();
        let headers = [("x-splunk-request-channel", self.channel.as_str())];
        let body = format!("{{\"acks\":[{id}]}}");
        let call =
            Call { url: &url, content_type: "application/json", headers: &headers, body: body.as_bytes() };
        client.post(&call)
    }

    fn post(&mut self, client: &Client, endpoint: &Endpoint, part: &[Item], body: &[u8]) -> Whole {
        let again = |reason: String| Whole::Again { reason, after: None };
        if let Err(reason) = self.check_token(client, endpoint) {
            return again(reason);
        }
        let headers = [("x-splunk-request-channel", self.channel.as_str())];
        let url = endpoint.url();
        let call = Call { url: &url, content_type: "application/json", headers: &headers, body };
        let answer = match client.post(&call) {
            Ok(answer) => answer,
            Err(reason) => return again(reason),
        };
        let said = Said::read(&answer);
        let verdict = answer::verdict(&answer, said.as_ref());
        if verdict != Verdict::Accepted {
            return Whole::of(verdict, part);
        }
        let Some(said) = said else { return again(answer.reason("the answer is not Splunk's")) };
        match (self.ack, said.ack_id) {
            (Some(false), _) | (None, None) => Whole::of(Verdict::Accepted, part),
            (Some(true), None) => {
                self.token_acknowledges = false;
                again(
                    "Splunk gave no acknowledgement to wait for: turn on indexer acknowledgement for the token, or leave out `ack`"
                        .to_owned(),
                )
            }
            (_, Some(id)) => {
                self.wait(client, endpoint, id).map_or_else(again, |()| Whole::of(Verdict::Accepted, part))
            }
        }
    }

    /// Asks until the indexers have it.
    fn wait(&self, client: &Client, endpoint: &Endpoint, id: u64) -> Result<(), String> {
        let until = Instant::now() + self.within;
        let mut pause = ACK_PAUSE.0;
        let mut last = String::new();
        loop {
            match self.ask(client, endpoint, id) {
                Ok(answer) => match answer::acknowledged(&answer, id) {
                    Ok(true) => return Ok(()),
                    Ok(false) => last.clear(),
                    Err(reason) => last = reason,
                },
                Err(reason) => last = reason,
            }
            if Instant::now() + pause > until {
                let why = if last.is_empty() { String::new() } else { format!(" ({last})") };
                return Err(format!("the indexers did not acknowledge it within {:?}{why}", self.within));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(ACK_PAUSE.1);
        }
    }
}

impl Transport for Splunk {
    fn promise(&self) -> Promise {
        Promise::Acknowledged
    }

    fn limits(&self) -> Limits {
        self.receiver.limits(ITEMS, BYTES)
    }

    fn sent_bytes(&self, item: &Item) -> usize {
        self.receiver.sent_bytes(item, || self.envelope.request(std::slice::from_ref(item)).len())
    }

    fn target(&self) -> String {
        self.receiver.shown()
    }

    fn send(&mut self, batch: &[Item]) -> Vec<Outcome> {
        let (envelope, asks) = (&self.envelope, &mut self.asks);
        self.receiver
            .send(batch, |client, endpoint, part| asks.post(client, endpoint, part, &envelope.request(part)))
    }

    fn reopen(&mut self) -> Result<(), String> {
        self.receiver.reopen()
    }
}

fn log_in(client: &mut Client, config: &SinkConfig) -> Result<(), NetError> {
    let token = Secret::of(config)?
        .ok_or_else(|| NetError::key("key_file", "is missing: the token of the HTTP Event Collector"))?;
    client.log_in("authorization", Secret::new(format!("Splunk {}", token.expose())))
}

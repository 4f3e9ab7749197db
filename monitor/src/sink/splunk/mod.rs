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
use crate::sink::net::halves::{self, Whole};
use crate::sink::net::{Answer, Call, Client, Endpoint, Endpoints, NetError, Verdict};
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
    config: SinkConfig,
    client: Client,
    endpoints: Endpoints,
    envelope: Envelope,
    /// Whose acknowledgements we ask for: one for each run of the sink.
    channel: String,
    ack_within: Duration,
    /// With `ack: true`: the token was seen to have acknowledgement.
    token_acknowledges: bool,
}

impl Splunk {
    /// The sink as configured. Connects when there is something to send.
    ///
    /// # Errors
    /// There is no key, or the address, headers or certificates cannot be used.
    pub fn open(config: &SinkConfig) -> Result<Self, NetError> {
        let endpoints = Endpoints::of(config, "/services/collector/event")?;
        let mut client = Client::open(config)?;
        log_in(&mut client, config)?;
        Ok(Self {
            config: config.clone(),
            client,
            endpoints,
            envelope: Envelope::of(config),
            channel: uuid::Uuid::new_v4().to_string(),
            ack_within: config.timeout.0 * ACK_TIMEOUTS,
            token_acknowledges: false,
        })
    }

    /// Whether the token has acknowledgement, which `ack: true` insists on: asked before anything is sent, as events to a
    /// token without it would be stored again and again.
    fn check_token(&mut self, endpoint: &Endpoint) -> Result<(), String> {
        if self.config.ack != Some(true) || self.token_acknowledges {
            return Ok(());
        }
        let answer = self.ask(endpoint, 0)?;
        match answer::verdict(&answer, Said::read(&answer).as_ref()) {
            Verdict::Again { reason, .. } => return Err(reason),
            // An id that it does not know is no reason to wait.
            Verdict::Accepted | Verdict::Final(_) => {}
        }
        self.token_acknowledges = true;
        Ok(())
    }

    fn ask(&self, endpoint: &Endpoint, id: u64) -> Result<Answer, String> {
        let url = endpoint.beside("/event", "/ack").with_parameter("channel", &self.channel).url();
        let headers = [("x-splunk-request-channel", self.channel.as_str())];
        let body = format!("{{\"acks\":[{id}]}}");
        let call =
            Call { url: &url, content_type: "application/json", headers: &headers, body: body.as_bytes() };
        self.client.post(&call)
    }

    fn post(&mut self, endpoint: &Endpoint, body: &[u8]) -> Whole {
        if let Err(reason) = self.check_token(endpoint) {
            return Whole::Again { reason, after: None };
        }
        let headers = [("x-splunk-request-channel", self.channel.as_str())];
        let url = endpoint.url();
        let call = Call { url: &url, content_type: "application/json", headers: &headers, body };
        let answer = match self.client.post(&call) {
            Ok(answer) => answer,
            Err(reason) => return Whole::Again { reason, after: None },
        };
        let said = Said::read(&answer);
        match answer::verdict(&answer, said.as_ref()) {
            Verdict::Accepted => {}
            Verdict::Final(reason) => return Whole::Refused(reason),
            Verdict::Again { reason, after } => return Whole::Again { reason, after },
        }
        let again = |reason: String| Whole::Again { reason, after: None };
        let Some(said) = said else { return again(answer.reason("the answer is not Splunk's")) };
        match (self.config.ack, said.ack_id) {
            (Some(false), _) | (None, None) => Whole::Each(Vec::new()),
            (Some(true), None) => {
                self.token_acknowledges = false;
                again(
                    "Splunk gave no acknowledgement to wait for: turn on indexer acknowledgement for the token, or leave out `ack`"
                        .to_owned(),
                )
            }
            (_, Some(id)) => self.wait(endpoint, id).map_or_else(again, |()| Whole::Each(Vec::new())),
        }
    }

    /// Asks until the indexers have it.
    fn wait(&self, endpoint: &Endpoint, id: u64) -> Result<(), String> {
        let until = Instant::now() + self.ack_within;
        let mut pause = ACK_PAUSE.0;
        let mut last = String::new();
        loop {
            match self.ask(endpoint, id) {
                Ok(answer) => match answer::acknowledged(&answer, id) {
                    Ok(true) => return Ok(()),
                    Ok(false) => last.clear(),
                    Err(reason) => last = reason,
                },
                Err(reason) => last = reason,
            }
            if Instant::now() + pause > until {
                let why = if last.is_empty() { String::new() } else { format!(" ({last})") };
                return Err(format!("the indexers did not acknowledge it within {:?}{why}", self.ack_within));
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
        let max_bytes = self.config.max_bytes.map_or(crate::alert::MAX_ALERT as u64, |bytes| bytes.0);
        Limits { items: ITEMS, bytes: BYTES, max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX) }
    }

    fn target(&self) -> String {
        self.endpoints.shown()
    }

    fn send(&mut self, batch: &[Item]) -> Vec<Outcome> {
        halves::send(batch, |part| {
            let Some(endpoint) = self.endpoints.current().cloned() else { return Whole::Each(Vec::new()) };
            let body = self.envelope.request(part);
            match self.post(&endpoint, &body) {
                Whole::Each(_) => Whole::Each(vec![Outcome::Accepted; part.len()]),
                Whole::Again { reason, after } => {
                    self.endpoints.next();
                    Whole::Again { reason, after }
                }
                refused @ Whole::Refused(_) => refused,
            }
        })
    }

    fn reopen(&mut self) -> Result<(), String> {
        self.client.reload().map_err(|error| error.to_string())?;
        log_in(&mut self.client, &self.config).map_err(|error| error.to_string())
    }
}

fn log_in(client: &mut Client, config: &SinkConfig) -> Result<(), NetError> {
    let token = Secret::of(config)?
        .ok_or_else(|| NetError::key("key_file", "is missing: the token of the HTTP Event Collector"))?;
    client.log_in("authorization", Secret::new(format!("Splunk {}", token.expose())))
}

//! A webhook signed as Standard Webhooks 1.0 has it: every alert, for a receiver that verifies whose it is.
//!
//! It is a log, not a pager: each alert is sent once in order, and receivers keep the highest `incident.revision`. The body is
//! `{"type":"sandwatch.KIND","timestamp":…,"data":ALERT}`. `sign` has the signature.

mod sign;

use std::time::{Duration, Instant};

use jiff::Timestamp;

use self::sign::Keys;
use crate::config::SinkConfig;
use crate::delivery::{Item, Limits, Outcome, Promise, Transport};
use crate::sink::in_order::in_order;
use crate::sink::net::{Call, Client, Endpoint, NetError, Verdict};

/// Most bytes of a request's body, as the specification advises.
const BODY: usize = 20_000;
/// Room for what of it is not the alert.
const ENVELOPE: usize = 160;
/// After 410 nothing is sent for so long, unless secrets are read again before.
const GONE: Duration = Duration::from_secs(3600);

/// A webhook.
pub struct Webhook {
    config: SinkConfig,
    client: Client,
    endpoint: Endpoint,
    keys: Keys,
    gone: Option<Instant>,
}

impl Webhook {
    /// The webhook of the configuration.
    ///
    /// # Errors
    /// Its address or its keys cannot be used.
    pub fn open(config: &SinkConfig) -> Result<Self, NetError> {
        let url = config.url.as_ref().and_then(|url| url.0.first());
        let url = url.ok_or_else(|| NetError::key("url", "is missing: where is the receiver?"))?;
        let endpoint = Endpoint::parse(url)?;
        let keys = Keys::read(config)?;
        let mut client = Client::open(config)?;
        keys.secrets().for_each(|secret| client.hide(secret));
        Ok(Self { config: config.clone(), client, endpoint, keys, gone: None })
    }

    fn one(&mut self, item: &Item) -> Outcome {
        if let Some(left) = self.gone.and_then(|gone| GONE.checked_sub(gone.elapsed())) {
            let reason =
                "the receiver answered 410: it wants nothing more; reload the agent once it does".to_owned();
            return Outcome::Retry { reason, after: Some(left) };
        }
        self.gone = None;
        let body = body(item);
        let id = &*item.alert.id;
        // Fresh for each attempt; the id stays, so that the receiver knows an alert that it has.
        let time = Timestamp::now().as_second().to_string();
        let signature = self.keys.sign(id, &time, &body);
        let headers = [("webhook-id", id), ("webhook-timestamp", &*time), ("webhook-signature", &*signature)];
        let call = Call {
            url: &self.endpoint.url(),
            content_type: "application/json",
            headers: &headers,
            body: &body,
        };
        let verdict = match self.client.post(&call) {
            Ok(answer) if answer.status == 410 => {
                self.gone = Some(Instant::now());
                Verdict::Again { reason: answer.reason("the receiver wants nothing more"), after: Some(GONE) }
            }
            Ok(answer) => answer.verdict(),
            Err(reason) => Verdict::Again { reason, after: None },
        };
        verdict.outcome()
    }
}

/// The envelope around the alert as it was written.
fn body(item: &Item) -> Vec<u8> {
    let mut body = Vec::with_capacity(item.text.len() + ENVELOPE);
    body.extend_from_slice(
        format!(
            r#"{{"type":"sandwatch.{}","timestamp":{},"data":"#,
            item.alert.kind.name(),
            serde_json::Value::from(&*item.alert.time)
        )
        .as_bytes(),
    );
    if item.text.starts_with(b"{") {
        body.extend_from_slice(&item.text);
    } else {
        // A format that is no JSON goes as text.
        let text = String::from_utf8_lossy(&item.text);
        body.extend_from_slice(serde_json::Value::from(&*text).to_string().as_bytes());
    }
    body.push(b'}');
    body
}

impl Transport for Webhook {
    fn promise(&self) -> Promise {
        Promise::Acknowledged
    }

    fn limits(&self) -> Limits {
        let asked =
            self.config.max_bytes.map_or(BODY, |bytes| usize::try_from(bytes.0).unwrap_or(usize::MAX));
        Limits { items: 16, bytes: 16 * BODY, max_bytes: asked.min(BODY) }
    }

    fn sent_bytes(&self, item: &Item) -> usize {
        body(item).len()
    }

    fn target(&self) -> String {
        self.endpoint.shown()
    }

    fn send(&mut self, batch: &[Item]) -> Vec<Outcome> {
        in_order(batch, |item| self.one(item))
    }

    fn reopen(&mut self) -> Result<(), String> {
        let keys = Keys::read(&self.config).map_err(|error| error.to_string())?;
        self.client.reload().map_err(|error| error.to_string())?;
        keys.secrets().for_each(|secret| self.client.hide(secret));
        self.keys = keys;
        self.gone = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests;

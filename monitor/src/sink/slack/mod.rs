//! Slack, incoming webhook: a message when something opens, when it becomes worse, and when it is closed.
//!
//! A webhook cannot change what it said before, so little is said. The address is the secret. `message` has the blocks.

mod message;

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::config::SinkConfig;
use crate::delivery::{Outcome, Secret};
use crate::oncall::{Action, Cap, Keyer, Pager, Policy};
use crate::sink::in_order::in_order;
use crate::sink::net::{Answer, Call, Client, Endpoint, NetError, Verdict};
use crate::sink::pagers::{fingerprint, misconfigured};

/// Slack takes about one message a second and channel.
const PAUSE: Duration = Duration::from_millis(1100);

const POLICY: Policy = Policy {
    batch: 1,
    refresh: None,
    update: Duration::from_secs(30),
    cap: Some(Cap { burst: 10, every: Duration::from_secs(15), summary: Duration::from_secs(300) }),
};

/// One channel.
pub struct Slack {
    config: SinkConfig,
    client: Client,
    address: Secret,
    last: Option<Instant>,
}

impl Slack {
    /// The channel whose webhook the configuration names.
    ///
    /// # Errors
    /// The address is missing or cannot be used.
    pub fn open(config: &SinkConfig) -> Result<Self, NetError> {
        let address = read_address(config)?;
        let mut client = Client::open(config)?;
        hide(&mut client, &address)?;
        Ok(Self { config: config.clone(), client, address, last: None })
    }

    fn one(&mut self, action: &Action) -> Outcome {
        if let Some(left) = self.last.and_then(|last| PAUSE.checked_sub(last.elapsed())) {
            std::thread::sleep(left);
        }
        let runbook = self.config.runbook_url.as_deref();
        let Ok(body) = serde_json::to_vec(&message::of(action, runbook, &self.config.static_fields)) else {
            return Outcome::Rejected { reason: "the message cannot be written as JSON".to_owned() };
        };
        let call =
            Call { url: self.address.expose(), content_type: "application/json", headers: &[], body: &body };
        let verdict = match self.client.post(&call) {
            Ok(answer) => verdict(&answer),
            Err(reason) => Verdict::Again { reason, after: None },
        };
        self.last = Some(Instant::now());
        verdict.outcome()
    }
}

/// 400 is about the message; a webhook that is gone, forbidden or of an archived channel is about the configuration.
fn verdict(answer: &Answer) -> Verdict {
    match answer.status {
        401..=407 | 410 => {
            misconfigured(answer, "the webhook does not take messages any more: make a new one")
        }
        _ => answer.verdict(),
    }
}

fn read_address(config: &SinkConfig) -> Result<Secret, NetError> {
    let address = Secret::of(config)?.ok_or_else(|| {
        NetError::key("key_file", "is missing: name the file with the address of the incoming webhook")
    })?;
    // Its own error would name `url`, where the address must not stand.
    Endpoint::parse(address.expose()).map_err(|_| {
        NetError::content("key_file", "holds no address of a webhook (https://hooks.slack.com/services/…)")
    })?;
    Ok(address)
}

/// The address, and the part of it that is secret, appear in no error.
fn hide(client: &mut Client, address: &Secret) -> Result<(), NetError> {
    client.hide(address.clone());
    let path = address.expose().splitn(4, '/').nth(3).unwrap_or_default();
    if !path.is_empty() {
        client.hide(Secret::new(path.to_owned()));
    }
    Ok(())
}

impl Pager for Slack {
    fn policy(&self) -> Policy {
        POLICY
    }

    fn keyer(&self) -> Keyer {
        Box::new(|id, _| id.to_owned())
    }

    /// The host alone: the path is the secret.
    fn target(&self) -> String {
        let host: Vec<&str> = self.address.expose().splitn(4, '/').take(3).collect();
        host.join("/")
    }

    fn receiver(&self) -> String {
        format!("{} {}", self.target(), fingerprint(&self.address))
    }

    fn send(&mut self, actions: &[Action], _: Timestamp) -> Vec<Outcome> {
        in_order(actions, |action| self.one(action))
    }

    fn take_bytes(&mut self) -> u64 {
        self.client.take_posted()
    }

    fn reopen(&mut self) -> Result<(), String> {
        let address = read_address(&self.config).map_err(|error| error.to_string())?;
        self.client
            .reload()
            .and_then(|()| hide(&mut self.client, &address))
            .map_err(|error| error.to_string())?;
        self.address = address;
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! Prometheus Alertmanager, API v2.
//!
//! An alert is known by its labels, so the key of a row is its labels; they change only when tier or severity do. What is open
//! ends four hours ahead and is sent again every minute: an Alertmanager that was restarted knows it again at once, and an
//! agent that is gone does not leave it firing for ever. Each replica has a desk of its own.

mod post;

use std::time::Duration;

use jiff::Timestamp;

use crate::config::SinkConfig;
use crate::delivery::Outcome;
use crate::oncall::{Action, Keyer, Pager, Policy};
use crate::sink::net::{Call, Client, Endpoint, NetError, Verdict};

/// No cap: grouping is Alertmanager's own.
const POLICY: Policy =
    Policy { batch: 128, refresh: Some(Duration::from_secs(60)), update: Duration::ZERO, cap: None };

/// One replica of an Alertmanager.
pub struct Alertmanager {
    config: SinkConfig,
    client: Client,
    endpoint: Endpoint,
}

impl Alertmanager {
    /// Every replica of the configuration.
    ///
    /// # Errors
    /// There is none, or an address or a key cannot be used.
    pub fn open(config: &SinkConfig) -> Result<Vec<Self>, NetError> {
        let urls = config.url.as_ref().map_or(&[][..], |url| &url.0);
        if urls.is_empty() {
            return Err(NetError::key("url", "is missing: name every replica of the Alertmanager"));
        }
        let replica = |url: &String| {
            let endpoint = Endpoint::parse(url)?.below("/api/v2/alerts");
            let mut client = Client::open(config)?;
            client.log_in_as(config, "Bearer")?;
            Ok(Self { config: config.clone(), client, endpoint })
        };
        urls.iter().map(replica).collect()
    }

    fn post(&self, actions: &[Action], now: Timestamp) -> Verdict {
        let runbook = self.config.runbook_url.as_deref();
        let alerts: Vec<_> = actions.iter().map(|action| post::of(action, runbook, now)).collect();
        let Ok(body) = serde_json::to_vec(&alerts) else {
            return Verdict::Final("the alert cannot be written as JSON".to_owned());
        };
        let call =
            Call { url: &self.endpoint.url(), content_type: "application/json", headers: &[], body: &body };
        match self.client.post(&call) {
            Ok(answer) if matches!(answer.status, 403..=405 | 410) => {
                answer.again("it does not take our alerts: is the address right?")
            }
            Ok(answer) => answer.verdict(),
            Err(reason) => Verdict::Again { reason, after: None },
        }
    }
}

impl Pager for Alertmanager {
    fn policy(&self) -> Policy {
        POLICY
    }

    fn keyer(&self) -> Keyer {
        let fields = self.config.static_fields.clone();
        Box::new(move |_, brief| post::key(brief, &fields))
    }

    fn target(&self) -> String {
        self.endpoint.shown()
    }

    fn send(&mut self, actions: &[Action], now: Timestamp) -> Vec<Outcome> {
        match self.post(actions, now) {
            // It stored the good ones all the same; which one is bad shows when each is sent alone.
            Verdict::Final(_) if actions.len() > 1 => {
                actions.iter().map(|action| self.post(std::slice::from_ref(action), now).outcome()).collect()
            }
            verdict => vec![verdict.outcome(); actions.len()],
        }
    }

    fn take_bytes(&mut self) -> u64 {
        self.client.take_posted()
    }

    fn reopen(&mut self) -> Result<(), String> {
        let read = self.client.reload().and_then(|()| self.client.log_in_as(&self.config, "Bearer"));
        read.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests;

//! PagerDuty, Events API v2.
//!
//! The key of an incident is its id with `/ticket` or `/page`: crossing into what wakes people opens a new PagerDuty alert,
//! since a trigger with a key that is open already notifies nobody. `event` has what is sent.

mod event;

use std::time::Duration;

use jiff::Timestamp;

use crate::config::SinkConfig;
use crate::delivery::{Outcome, Secret};
use crate::oncall::{Action, Cap, Keyer, Pager, Policy};
use crate::sink::in_order::in_order;
use crate::sink::net::{Answer, Call, Client, Endpoint, NetError, Verdict};
use crate::sink::pagers::{fingerprint, misconfigured};

/// Where events go unless a region is configured.
const DEFAULT: &str = "https://events.pagerduty.com";
/// An integration key has this many characters.
const KEY_LENGTH: usize = 32;

/// Throttling is theirs and dynamic; this keeps a flood off the person, not off them.
const POLICY: Policy = Policy {
    batch: 1,
    refresh: None,
    update: Duration::from_secs(30),
    cap: Some(Cap { burst: 20, every: Duration::from_secs(15), summary: Duration::from_secs(300) }),
};

/// One PagerDuty service.
pub struct PagerDuty {
    config: SinkConfig,
    client: Client,
    endpoint: Endpoint,
    key: Secret,
}

impl PagerDuty {
    /// The service whose integration key the configuration names.
    ///
    /// # Errors
    /// The key or the address cannot be used.
    pub fn open(config: &SinkConfig) -> Result<Self, NetError> {
        let url = config.url.as_ref().and_then(|url| url.0.first()).map_or(DEFAULT, |url| url);
        let endpoint = Endpoint::parse(url)?.below("/v2/enqueue");
        let mut client = Client::open(config)?;
        let key = read_key(config)?;
        client.hide(key.clone());
        Ok(Self { config: config.clone(), client, endpoint, key })
    }

    fn one(&self, action: &Action) -> Outcome {
        let runbook = self.config.runbook_url.as_deref();
        let mut event = event::of(action, runbook, &self.config.static_fields);
        match self.post(&event) {
            // Better a page that says little than none.
            Verdict::Final(reason) if event.reduce() => match self.post(&event) {
                Verdict::Accepted => {
                    tracing::warn!(
                        sink = self.config.name,
                        reason,
                        "the page was refused; a shorter one was taken"
                    );
                    Outcome::Accepted
                }
                verdict => verdict.outcome(),
            },
            verdict => verdict.outcome(),
        }
    }

    fn post(&self, event: &event::Event) -> Verdict {
        let body = event.body(self.key.expose());
        let call =
            Call { url: &self.endpoint.url(), content_type: "application/json", headers: &[], body: &body };
        match self.client.post(&call) {
            Ok(answer) => verdict(&answer),
            Err(reason) => Verdict::Again { reason, after: None },
        }
    }
}

/// 202 is taken, 400 is final, and the rest is tried again.
fn verdict(answer: &Answer) -> Verdict {
    match answer.status {
        // A key that is no key makes every page invalid: none of them is at fault.
        400 if String::from_utf8_lossy(&answer.body)
            .to_lowercase()
            .replace('_', " ")
            .contains("routing key") =>
        {
            misconfigured(answer, "it does not know the integration key")
        }
        400 | 413 => Verdict::Final(answer.reason("")),
        401..=407 | 410 => misconfigured(answer, "it does not take our events: is the address right?"),
        _ => answer.verdict(),
    }
}

fn read_key(config: &SinkConfig) -> Result<Secret, NetError> {
    let key = Secret::of(config)?.ok_or_else(|| {
        NetError::key("key_file", "is missing: name the file with the integration key (Events API v2)")
    })?;
    let fits =
        key.expose().len() == KEY_LENGTH && key.expose().bytes().all(|byte| byte.is_ascii_alphanumeric());
    if fits {
        Ok(key)
    } else {
        Err(NetError::content("key_file", "holds no integration key: it has 32 letters and digits"))
    }
}

impl Pager for PagerDuty {
    fn policy(&self) -> Policy {
        POLICY
    }

    fn keyer(&self) -> Keyer {
        Box::new(|id, brief| format!("{}/{}", event::fitting(id), brief.urgency().name()))
    }

    fn target(&self) -> String {
        self.endpoint.shown()
    }

    fn receiver(&self) -> String {
        format!("{} {}", self.endpoint.shown(), fingerprint(&self.key))
    }

    fn send(&mut self, actions: &[Action], _: Timestamp) -> Vec<Outcome> {
        in_order(actions, |action| self.one(action))
    }

    fn take_bytes(&mut self) -> u64 {
        self.client.take_posted()
    }

    fn reopen(&mut self) -> Result<(), String> {
        self.client.reload().map_err(|error| error.to_string())?;
        self.key = read_key(&self.config).map_err(|error| error.to_string())?;
        self.client.hide(self.key.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! A test alert through one sink, straight away: without the spool, without the agent, and with the receiver's own answer.
//!
//! `alert` makes the test alert. [`Trial::begin`] opens it at the receiver, [`Trial::end`] closes it there, so that nobody
//! has to clean up after a test.

mod alert;

use std::sync::Arc;

use super::{Place, Plug, SinkError, pagers, plug, terminal_width};
use crate::alert::SafeAlert;
use crate::config::SinkConfig;
use crate::delivery::{Clock, Form, Item, Outcome, Promise, Transport};
use crate::oncall::{Action, Brief, Change, Pager, Why};

pub use alert::TestAlert;

/// A sink that is tried.
pub struct Trial {
    config: SinkConfig,
    receivers: Vec<Receiver>,
    clock: Arc<dyn Clock>,
}

enum Receiver {
    Log(Box<dyn Transport>),
    Person(Box<dyn Pager>),
}

/// What a receiver said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Which receiver, without secrets.
    pub target: String,
    /// Its answer.
    pub outcome: Outcome,
    /// Whether receivers of this type answer at all; if not, it was only handed to the system.
    pub answers: bool,
}

impl Trial {
    /// Opens the sink of a configuration as the agent would.
    ///
    /// # Errors
    /// It can never work as it is configured.
    pub fn open(config: &SinkConfig, clock: &Arc<dyn Clock>) -> Result<Self, SinkError> {
        let people = pagers(config).map_err(|error| SinkError::of(&config.name, &error))?;
        let mut receivers: Vec<Receiver> = people.into_iter().map(Receiver::Person).collect();
        if !config.kind.is_on_call()
            && let Plug::Log(transport) = plug(config, &Place { state_dir: None, clock, goes_on: false })?
        {
            receivers.push(Receiver::Log(transport));
        }
        Ok(Self { config: config.clone(), receivers, clock: Arc::clone(clock) })
    }

    /// Opens the test alert at every receiver of the sink.
    pub fn begin(&mut self, test: &TestAlert) -> Vec<Said> {
        self.each(&test.opened, |key, id, brief| Action::Open {
            id,
            key,
            revision: 1,
            brief,
            change: Change::New,
        })
    }

    /// Whether it must be left open for a moment, so that somebody is told.
    pub fn is_for_people(&self) -> bool {
        self.receivers.iter().any(|receiver| matches!(receiver, Receiver::Person(_)))
    }

    /// Closes it again. Where it ends by itself, nothing is sent: closed at once, it might be told to nobody.
    pub fn end(&mut self, test: &TestAlert) -> Vec<Said> {
        self.each(&test.closed, |key, id, brief| Action::Resolve { id, key, brief, why: Why::Closed })
    }

    fn each(
        &mut self,
        alert: &SafeAlert,
        action: impl Fn(String, String, Box<Brief>) -> Action,
    ) -> Vec<Said> {
        let (config, now) = (&self.config, self.clock.wall());
        let mut said = Vec::new();
        for receiver in &mut self.receivers {
            match receiver {
                Receiver::Log(transport) => said.push(logged(&mut **transport, config, alert)),
                Receiver::Person(pager) => {
                    let id = alert.incident.as_ref().map_or_else(String::new, |incident| incident.id.clone());
                    let brief = Box::new(Brief::of(alert, &id));
                    let action = action(pager.keyer()(&id, &brief), id, brief);
                    // What is sent again and again until it is closed ends when it is not.
                    if matches!(action, Action::Resolve { .. }) && pager.policy().refresh.is_some() {
                        continue;
                    }
                    let outcome = first(pager.send(&[action], now));
                    said.push(Said { target: pager.target(), outcome, answers: true });
                }
            }
        }
        said
    }
}

fn logged(transport: &mut dyn Transport, config: &SinkConfig, alert: &SafeAlert) -> Said {
    // As the agent writes it. It is in no stream: it has no number there.
    let item = Form::new(config, Vec::new(), terminal_width(config)).item(transport, alert, 0);
    let mut outcome = first(transport.send(&[Item { seq: 1, ..item }]));
    if outcome == Outcome::Accepted
        && let Err(reason) = transport.commit()
    {
        outcome = Outcome::Retry { reason, after: None };
    }
    Said { target: transport.target(), outcome, answers: transport.promise() == Promise::Acknowledged }
}

fn first(outcomes: Vec<Outcome>) -> Outcome {
    let none = || Outcome::Retry { reason: "it did not answer".to_owned(), after: None };
    outcomes.into_iter().next().unwrap_or_else(none)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{SinkFormat, SinkKind};
    use crate::delivery::Limits;

    /// Takes everything, and has it.
    struct Far(Vec<u8>);

    impl Transport for Far {
        fn promise(&self) -> Promise {
            Promise::Acknowledged
        }

        fn limits(&self) -> Limits {
            Limits { items: 1, bytes: 1 << 20, max_bytes: 64 << 10 }
        }

        fn target(&self) -> String {
            "the test".to_owned()
        }

        fn send(&mut self, batch: &[Item]) -> Vec<Outcome> {
            self.0.clone_from(&batch[0].text);
            vec![Outcome::Accepted]
        }
    }

    #[test]
    fn a_test_alert_is_in_the_format_in_which_the_sink_gets_every_other() {
        let config = crate::config::Config::default();
        let envelope = crate::run::envelope(&config, "sha256:0", Path::new("/sys/fs/cgroup"));
        let test = TestAlert::new(&envelope);
        let sent = |kind, format| {
            let mut far = Far(Vec::new());
            let said = logged(&mut far, &SinkConfig { kind, format, ..SinkConfig::stdout() }, &test.opened);
            assert_eq!(said.outcome, Outcome::Accepted);
            serde_json::from_slice::<serde_json::Value>(&far.0).unwrap()
        };
        let document = sent(SinkKind::Elasticsearch, SinkFormat::Auto);
        assert_eq!(document["ecs"]["version"], crate::alert::ecs::VERSION, "{document}");
        assert_eq!(sent(SinkKind::Elasticsearch, SinkFormat::Json)["schema"], "sandwatch/alert/v1");
        assert_eq!(sent(SinkKind::Http, SinkFormat::Auto)["schema"], "sandwatch/alert/v1");
    }
}

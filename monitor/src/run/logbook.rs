//! What the local log is told: start, rules, alerts, end. What is wrong with it is an alert, and the agent goes on without.

use std::path::Path;

use super::Agent;
use crate::alert::{Alert, ClosedBy, Severity, State};
use crate::detect::boot_now;
use crate::kernel::Probes;
use crate::ledger::{Head, Ledger, Limits, What};
use crate::state_dir::StateError;

/// The condition that alerts on the log are about.
const CONDITION: &str = "local-log";

/// The log, and whether writing it failed last.
pub(super) struct Logbook {
    pub(super) ledger: Ledger,
    failing: bool,
}

impl<P: Probes> Agent<P> {
    /// From now on what happens is logged below this directory. `config` is the digest of the configuration in force.
    pub fn keep_log(&mut self, state_dir: &Path, config: &str) {
        let time = self.wall_time();
        let (ledger, opened) = match Ledger::open(state_dir, &time, config, Limits::default()) {
            Ok(opened) => opened,
            Err(error) => return self.say_not_logged(&error),
        };
        self.logbook = Some(Logbook { ledger, failing: false });
        self.sinks.log_alerts();
        let envelope = &self.pipeline.detector.envelope;
        self.log(What::Start {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot: envelope.host.boot_id.clone(),
            rules: envelope.rules.clone(),
            config: config.to_owned(),
        });
        if let Some(from) = opened.config.filter(|before| before != config) {
            tracing::info!(from, to = config, "the configuration is another than at the last start");
            self.log(What::ConfigChanged { from, to: config.to_owned() });
        }
    }

    /// Adds an entry, if there is a log.
    pub(super) fn log(&mut self, what: What) {
        let time = self.wall_time();
        let Some(book) = &mut self.logbook else { return };
        let result = book.ledger.append(&time, what);
        let was_failing = std::mem::replace(&mut book.failing, result.is_err());
        match result {
            Err(error) if !was_failing => self.say_not_logged(&error),
            Ok(()) if was_failing => {
                let title = "The local log is written again; it says how much is missing";
                self.say_log(State::Closed, Severity::Info, title, String::new());
            }
            _ => {}
        }
    }

    /// Looks whether the log is still the one that is written, and has what was written put on the disk. `false` as long as that
    /// takes.
    pub(super) fn settle_log(&mut self) -> bool {
        let time = self.wall_time();
        let Some(book) = &mut self.logbook else { return true };
        if book.ledger.is_syncing() {
            return false;
        }
        match book.ledger.look(&time) {
            Ok(true) => {}
            Ok(false) => {
                tracing::error!("the file of the local log was removed or changed by somebody else");
                let title =
                    "The file of the agent's local log was removed or changed while the agent wrote it";
                let detail =
                    "`sandwatch log verify` names what is missing; the log goes on in a new file".to_owned();
                self.say_log(State::Open, Severity::High, title, detail);
                // Nothing ends it: it happened.
            }
            Err(error) => {
                if !std::mem::replace(&mut book.failing, true) {
                    self.say_not_logged(&error);
                }
            }
        }
        let Some(book) = &mut self.logbook else { return true };
        if book.ledger.synced() == book.ledger.head().as_ref() {
            return true;
        }
        book.ledger.sync();
        false
    }

    /// What a heartbeat says of the log.
    pub(super) fn log_head(&self) -> Option<Head> {
        self.logbook.as_ref().and_then(|book| book.ledger.synced().cloned())
    }

    /// The end.
    pub(super) fn finish_log(&mut self) {
        if self.logbook.is_some() && !self.all_spooled() {
            tracing::warn!("alerts that are not in the spool yet are not in the local log");
        }
        let time = self.wall_time();
        let alerts = self.pipeline.counts().alerts;
        if let Some(book) = self.logbook.take()
            && let Err(error) = book.ledger.finish(&time, alerts)
        {
            tracing::error!(%error, "the end is not in the local log");
        }
    }

    fn wall_time(&self) -> String {
        self.pipeline.detector.envelope.clock.format(boot_now())
    }

    fn say_not_logged(&mut self, error: &StateError) {
        tracing::error!(%error, "the local log is not written");
        let title = "The agent's local log is not written: what it does now cannot be shown later";
        self.say_log(State::Open, Severity::Medium, title, error.to_string());
    }

    fn say_log(&mut self, state: State, severity: Severity, title: &str, detail: String) {
        let now = boot_now();
        let envelope = &self.pipeline.detector.envelope;
        let mut alert: Alert = envelope.health(severity, state, now, CONDITION, title.to_owned(), detail);
        if state == State::Closed {
            alert.closed_by = Some(ClosedBy::Recovered);
        }
        self.pipeline.say(alert);
    }
}

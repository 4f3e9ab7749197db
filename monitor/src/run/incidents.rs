//! Incidents outlive the agent: their files, and the requests to close one.

use std::path::Path;
use std::time::Duration;

use super::Agent;
use crate::alert::{Alert, ClosedBy, Closure, Severity, State};
use crate::detect::{Store, StoreError, boot_now};
use crate::event::BootNs;
use crate::kernel::Probes;

/// What only repeats is written to its file this often, in seconds.
const WRITE_EVERY: u64 = 10;
/// Files of incidents closed long ago are looked for this often, in seconds.
const PRUNE_EVERY: u64 = 3600;

/// How long the spool may take with what was handed to it before a file that says so waits for another turn.
const SPOOLED_WITHIN: Duration = Duration::from_millis(100);

/// The condition that alerts on the state directory are about.
const CONDITION: &str = "incident-state";

/// The files of incidents, and whether writing them failed last.
pub(super) struct Keeper {
    store: Store,
    failing: bool,
}

impl<P: Probes> Agent<P> {
    /// From now on incidents are kept below this directory; goes on with those that are there. What is wrong with it is an
    /// alert, and the agent goes on without.
    pub fn keep_incidents(&mut self, state_dir: &Path) {
        let now = boot_now();
        match Store::open(state_dir) {
            Ok(store) => {
                let (incidents, problems) = store.load();
                if !incidents.is_empty() {
                    tracing::info!(count = incidents.len(), "going on with the incidents of an earlier run");
                }
                for saved in incidents {
                    self.pipeline.detector.resume(saved, now);
                }
                for problem in problems {
                    let title = "The file of an incident could not be read and was set aside";
                    self.say_state(State::Open, Severity::Medium, title, problem, now);
                }
                store.prune();
                self.keeper = Some(Keeper { store, failing: false });
            }
            Err(error) => self.say_not_kept(&error, now),
        }
        self.deliver();
    }

    /// An alert is in the spool: what is promised must not be forgotten.
    pub(super) fn sent(&mut self, id: &str, revision: u64) {
        self.write(id, Some(revision));
    }

    /// The duties of a second.
    pub(super) fn keep(&mut self, turn: u64) {
        if self.keeper.is_none() {
            return;
        }
        self.close_as_asked();
        // What a file says was sent has to be.
        if turn.is_multiple_of(WRITE_EVERY) && self.all_spooled() {
            for id in self.pipeline.detector.take_changed() {
                self.write(&id, None);
            }
        }
        if turn.is_multiple_of(PRUNE_EVERY)
            && let Some(keeper) = &self.keeper
        {
            keeper.store.prune();
        }
    }

    /// The end: no later revision was sent than the files say.
    pub(super) fn keep_last(&mut self) {
        for saved in self.pipeline.detector.last_saved() {
            let result = self.keeper.as_ref().map(|keeper| keeper.store.save(&saved));
            if let Some(Err(error)) = result {
                tracing::error!(%error, "incident not kept");
            }
        }
    }

    fn write(&mut self, id: &str, sent: Option<u64>) {
        let Some(keeper) = &mut self.keeper else { return };
        let Some(saved) = self.pipeline.detector.saved(id, sent) else { return };
        let result = keeper.store.save(&saved);
        let was_failing = std::mem::replace(&mut keeper.failing, result.is_err());
        let now = boot_now();
        match result {
            Err(error) if !was_failing => self.say_not_kept(&error, now),
            Ok(()) if was_failing => {
                let title = "Incidents are kept over a restart again";
                self.say_state(State::Closed, Severity::Info, title, String::new(), now);
            }
            _ => {}
        }
    }

    /// Whether every alert so far is in the spool; then the files say so too.
    pub(super) fn all_spooled(&mut self) -> bool {
        self.deliver();
        let all = self.sinks.wait_appended(SPOOLED_WITHIN);
        self.deliver();
        all
    }

    fn close_as_asked(&mut self) {
        let Some(keeper) = &self.keeper else { return };
        let (requests, problems) = keeper.store.requests();
        for problem in problems {
            tracing::warn!(problem, "request to close an incident refused");
        }
        let now = boot_now();
        for request in requests {
            let closure = Closure {
                by: request.by.clone(),
                reason: request.reason.clone(),
                time: self.pipeline.detector.envelope.clock.format(now),
            };
            if !self.pipeline.detector.knows(&request.id) {
                // One that only its file knows: too many waited to be closed.
                let all = self.keeper.as_ref().map(|keeper| keeper.store.load().0).unwrap_or_default();
                if let Some(saved) = all.into_iter().find(|saved| saved.id() == request.id) {
                    self.pipeline.detector.resume(saved, now);
                }
            }
            match self.pipeline.detector.close(&request.id, closure, now) {
                Ok(alert) => {
                    tracing::info!(incident = request.id, by = request.by, "incident closed");
                    self.pipeline.raise(alert);
                }
                Err(error) => tracing::warn!(incident = request.id, error, "incident not closed"),
            }
            // Sent before the request is gone: whoever waits for that finds it closed.
            self.all_spooled();
            if let Some(keeper) = &self.keeper {
                keeper.store.done(&request);
            }
        }
    }

    fn say_not_kept(&mut self, error: &StoreError, now: BootNs) {
        tracing::error!(%error, "incidents are not kept over a restart");
        let title = "Open incidents would be forgotten at a restart of the agent: they cannot be kept";
        self.say_state(State::Open, Severity::Medium, title, error.to_string(), now);
    }

    fn say_state(&mut self, state: State, severity: Severity, title: &str, detail: String, now: BootNs) {
        let envelope = &self.pipeline.detector.envelope;
        let mut alert: Alert = envelope.health(severity, state, now, CONDITION, title.to_owned(), detail);
        if state == State::Closed {
            alert.closed_by = Some(ClosedBy::Recovered);
        }
        self.pipeline.say(alert);
    }
}

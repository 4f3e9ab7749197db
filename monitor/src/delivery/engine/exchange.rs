//! Other sinks, or another size of the spool, while the agent runs.
//!
//! What comes from the agent waits in the `intake`, which stays. On a thread of its own: the sinks' threads end, each with its
//! cursor written and without sending what is left; alerts are still appended for as long as that takes. Then the spool is
//! closed, opened with the new names and sizes, and the new sinks begin where those of the same name were. It is the end and
//! the start of an agent, for delivery alone.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use super::intake::Intake;
use super::{APPENDED_WITHIN, Alive, Engine, Meter, Setup, named, sinks};
use crate::config::{SinkConfig, SpoolConfig};
use crate::delivery::spool::Shared;
use crate::delivery::{Clock, is_taken};
use crate::detect::Envelope;
use crate::sink::{Place, SinkError};

/// A sink that is in the middle of a request is waited for; every request has a time limit of its own that is shorter.
const SINKS_END_WITHIN: Duration = Duration::from_secs(300);
/// For what the disk does not take at the moment.
const DISK_MENDS_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked whether the spool is closed.
const SHORT: Duration = Duration::from_millis(2);
/// How often the disk is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What is to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where alerts go.
    pub sinks: Vec<SinkConfig>,
    /// How much the spool may take.
    pub spool: SpoolConfig,
    /// How long the end may take.
    pub drain: Duration,
    /// What alerts of delivery itself carry.
    pub envelope: Envelope,
}

/// An exchange that is under way.
pub(super) struct Exchange(Receiver<Done>);

/// The engine to go on with, and why it is not the one that was wanted.
type Done = Result<(Engine, Option<SinkError>), String>;

impl Engine {
    /// Whether these could be put in place of what there is.
    ///
    /// # Errors
    /// In words: a sink can never work as it is configured, or alerts would be lost.
    pub fn check(&self, wanted: &Wanted) -> Result<(), String> {
        if self.state_dir.is_none() || self.shared.folder.is_none() {
            return Err("alerts that wait are in memory only, where an exchange of sinks would lose them: restart the agent".to_owned());
        }
        if unstored(&self.shared) {
            return Err("the disk of `state_dir` takes nothing, and alerts that wait in memory would be lost: make room, then reload".to_owned());
        }
        // Without a folder: what a sink keeps there is still another's.
        let place = Place { state_dir: None, clock: &self.clock };
        sinks(&named(&wanted.sinks), &place).map(drop).map_err(|error| error.to_string())
    }

    /// Begins to put these in place of what there is, which [`check`](Self::check) found possible. What is accepted
    /// meanwhile is kept. [`exchanged`](Self::exchanged) says when it is done.
    ///
    /// # Errors
    /// The system gives no thread; everything is as before.
    pub fn exchange(&mut self, wanted: Wanted) -> std::io::Result<()> {
        self.await_exchange(SINKS_END_WITHIN);
        self.start()?;
        let old = Old {
            configs: self.sinks.iter().map(|sink| sink.config.clone()).collect(),
            meters: self.sinks.iter().map(|s| (s.config.name.clone(), Arc::clone(&s.meter))).collect(),
            shared: Arc::clone(&self.shared),
            intake: Arc::clone(&self.intake),
            alive: Arc::clone(&self.alive),
            clock: Arc::clone(&self.clock),
            state_dir: self.state_dir.clone(),
        };
        let (done, receiver) = sync_channel(1);
        crate::observe::start_thread("exchange", move || {
            // Nobody listens any more if the agent has ended.
            let _ = done.send(old.into_new(&wanted));
        })?;
        self.exchange = Some(Exchange(receiver));
        Ok(())
    }

    /// Whether one is under way.
    pub fn is_exchanging(&self) -> bool {
        self.exchange.is_some()
    }

    /// How an exchange ended, once it has: in words why there is not what was wanted.
    pub fn exchanged(&mut self) -> Option<Result<(), String>> {
        self.adopt(Duration::ZERO)
    }

    /// Waits for an exchange that is under way.
    pub(super) fn await_exchange(&mut self, most: Duration) {
        if let Some(Err(why)) = self.adopt(most) {
            tracing::error!(why, "the sinks could not be exchanged");
        }
    }

    fn adopt(&mut self, most: Duration) -> Option<Result<(), String>> {
        let done = match self.exchange.as_ref()?.0.recv_timeout(most) {
            Ok(done) => done,
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => Err("the thread that exchanged them has ended".to_owned()),
        };
        self.exchange = None;
        Some(match done {
            Ok((new, problem)) => {
                let Self { shared, sinks, notes, dead, alive, drain, limits, .. } = new;
                (self.shared, self.sinks, self.notes) = (shared, sinks, notes);
                (self.dead, self.alive, self.drain, self.limits) = (dead, alive, drain, limits);
                problem.map_or(Ok(()), |problem| Err(problem.to_string()))
            }
            Err(why) => Err(why),
        })
    }
}

/// What is left of an engine whose sinks end.
struct Old {
    configs: Vec<SinkConfig>,
    meters: Vec<(String, Arc<Meter>)>,
    shared: Arc<Shared>,
    intake: Arc<Intake>,
    alive: Arc<Alive>,
    clock: Arc<dyn Clock>,
    state_dir: Option<PathBuf>,
}

impl Old {
    fn into_new(self, wanted: &Wanted) -> Done {
        {
            let mut index = self.shared.lock();
            index.ending = Some(self.clock.monotonic());
            self.shared.ring_all(&mut index);
        }
        // The one that is left appends.
        self.alive.wait_for(1, Instant::now() + SINKS_END_WITHIN);
        let mends = Instant::now() + DISK_MENDS_WITHIN;
        while unstored(&self.shared) && Instant::now() < mends {
            std::thread::sleep(LOOK);
        }
        // What the sinks had to say of themselves names them by their places, which will be others.
        self.intake.wait_empty(APPENDED_WITHIN);
        self.intake.hand_over(true);
        // A sink's thread that hangs for ever holds nobody up: it cannot write its cursor any more.
        let until = Instant::now() + SINKS_END_WITHIN;
        let taken = || self.state_dir.as_deref().is_some_and(is_taken);
        while taken() && Instant::now() < until {
            std::thread::sleep(SHORT);
        }
        self.shared.replace();
        self.intake.hand_over(false);
        let (new, problem) = match self.open(&named(&wanted.sinks), wanted) {
            Ok(new) => (new, None),
            // It was looked at before; something has changed since. Alerts go where they went.
            Err(problem) => match self.open(&self.configs, wanted) {
                Ok(new) => (new, Some(problem)),
                Err(error) => return Err(format!("{problem}; and nothing goes where it went: {error}")),
            },
        };
        let mut new = new;
        match new.start() {
            Ok(()) => Ok((new, problem)),
            Err(error) => Err(format!("no threads to deliver with: {error}")),
        }
    }

    fn open(&self, configs: &[SinkConfig], wanted: &Wanted) -> Result<Engine, SinkError> {
        let setup = Setup {
            sinks: configs,
            state_dir: self.state_dir.as_deref(),
            spool: &wanted.spool,
            drain: wanted.drain,
            envelope: wanted.envelope.clone(),
        };
        let mut sinks = sinks(configs, &Place { state_dir: setup.state_dir, clock: &self.clock })?;
        for sink in &mut sinks {
            // Its counters go on: who watches them would take it for a restart.
            if let Some((_, meter)) = self.meters.iter().find(|(name, _)| *name == sink.config.name) {
                sink.meter = Arc::clone(meter);
            }
        }
        Ok(Engine::assemble(sinks, setup, Arc::clone(&self.clock), Arc::clone(&self.intake)))
    }
}

/// Whether alerts are in memory only.
fn unstored(shared: &Shared) -> bool {
    shared.lock().classes.iter().any(|log| log.unstored() > 0)
}

#[cfg(test)]
mod tests;

//! Other sinks, or another size of the spool, while the agent runs.
//!
//! What comes from the agent waits in the `intake`, which stays. On a thread of its own: the sinks' threads end, each with its
//! cursor written and without sending what is left; alerts are still appended for as long as that takes. Then the spool is
//! closed, opened with the new names and sizes, and the sinks begin: one that is configured as before with what it worked with
//! (its connection, what it keeps for a connection that breaks, the state of a pager), one that has its name where that was.

mod look;
mod patience;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

pub use look::Look;
pub(crate) use patience::Patience;

use patience::Standstill;

use super::intake::Intake;
use super::notes::Notes;
use super::outfit::Outfit;
use super::threads::{self, Leftovers};
use super::{APPENDED_WITHIN, Alive, Engine, SPOOL_THREAD, Setup, named, sinks, thread_of};
use crate::config::{SinkConfig, SpoolConfig};
use crate::delivery::spool::Shared;
use crate::delivery::{Clock, caught, is_taken};
use crate::detect::Envelope;
use crate::sink::{Place, SinkError};

/// Why there is no exchange while alerts are in memory only for want of a disk.
const NO_ROOM: &str = "the disk of `state_dir` takes nothing, and alerts that wait in memory would be lost: make room, then reload";
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

/// An exchange that is under way, and why it stands.
pub(super) struct Exchange(Receiver<Done>, Arc<Standstill>);

/// How it ended.
enum Done {
    /// With this engine, and why it is not the one that was wanted.
    New(Box<Engine>, Option<String>),
    /// With the old one; why.
    Stays(String),
}

impl Engine {
    /// Begins to put these in place of what there is, which [`look_at`](Self::look_at) found possible. What is accepted
    /// meanwhile is kept. [`exchanged`](Self::exchanged) says when it is done.
    ///
    /// # Errors
    /// The system gives no thread; everything is as before.
    pub fn exchange(&mut self, wanted: Wanted) -> std::io::Result<()> {
        self.await_exchange(self.patience.all);
        self.start()?;
        let stands = Arc::<Standstill>::default();
        let old = Old {
            names: self.sinks.iter().map(|sink| sink.config.name.clone()).collect(),
            outfits: (0..self.sinks.len()).map(|at| self.outfit(at)).collect(),
            has_state: self
                .sinks
                .iter()
                .filter(|sink| !sink.is_log)
                .map(|sink| thread_of(&sink.config))
                .collect(),
            shared: Arc::clone(&self.shared),
            intake: Arc::clone(&self.intake),
            alive: Arc::clone(&self.alive),
            notes: Arc::clone(&self.notes),
            leftovers: Arc::clone(&self.leftovers),
            clock: Arc::clone(&self.clock),
            state_dir: self.state_dir.clone(),
            spool: self.spool_config.clone(),
            patience: self.patience,
            stands: Arc::clone(&stands),
        };
        let (done, receiver) = sync_channel(1);
        crate::observe::start_thread("exchange", move || {
            // Nobody listens any more if the agent has ended.
            let _ = done.send(old.into_new(&wanted));
        })?;
        self.exchange = Some(Exchange(receiver, stands));
        Ok(())
    }

    /// Whether one is under way.
    pub fn is_exchanging(&self) -> bool {
        self.exchange.is_some()
    }

    /// Why nothing is delivered while an exchange is under way: something that it needs does not come, and is tried again.
    pub fn stands_still(&self) -> Option<String> {
        self.exchange.as_ref()?.1.why()
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

    pub(super) fn adopt(&mut self, most: Duration) -> Option<Result<(), String>> {
        let done = match self.exchange.as_ref()?.0.recv_timeout(most) {
            Ok(done) => done,
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => {
                Done::Stays("the thread that exchanged them has ended".to_owned())
            }
        };
        self.exchange = None;
        let result = match done {
            Done::Stays(why) => Err(why),
            Done::New(new, problem) => {
                let Self {
                    shared, sinks, notes, dead, alive, drain, limits, spool_config, leftovers, ..
                } = *new;
                (self.shared, self.sinks, self.notes, self.leftovers) = (shared, sinks, notes, leftovers);
                (self.dead, self.alive, self.drain) = (dead, alive, drain);
                (self.limits, self.spool_config) = (limits, spool_config);
                problem.map_or(Ok(()), Err)
            }
        };
        self.make_up();
        Some(result)
    }
}

/// What is left of an engine whose sinks end.
struct Old {
    outfits: Vec<Outfit>,
    /// By the places that what is for one sink alone knows at the moment: their names.
    names: Vec<String>,
    /// Names of the threads of sinks with a state of their own.
    has_state: Vec<String>,
    shared: Arc<Shared>,
    intake: Arc<Intake>,
    alive: Arc<Alive>,
    notes: Arc<Notes>,
    leftovers: Arc<Leftovers>,
    clock: Arc<dyn Clock>,
    state_dir: Option<PathBuf>,
    spool: SpoolConfig,
    patience: Patience,
    stands: Arc<Standstill>,
}

impl Old {
    fn into_new(mut self, wanted: &Wanted) -> Done {
        self.end_sinks();
        let mends = Instant::now() + self.patience.disk;
        while unkept(&self.shared) && Instant::now() < mends {
            std::thread::sleep(LOOK);
        }
        if unkept(&self.shared) {
            return self.go_on();
        }
        self.end_spool();
        loop {
            match caught(|| self.begin(wanted)) {
                Ok(Ok(done)) => return done,
                Ok(Err(reason)) | Err(reason) => {
                    // Alerts wait in the intake, whose bounds say what is left out.
                    tracing::error!(reason, "nothing is delivered; it is tried again");
                    self.stands.begins(Instant::now(), reason);
                    std::thread::sleep(self.patience.again);
                }
            }
        }
    }

    fn end_sinks(&self) {
        {
            let mut index = self.shared.lock();
            index.ending = Some(self.clock.monotonic());
            self.shared.ring_all(&mut index);
        }
        // The one that appends goes on.
        let now = Instant::now();
        let is_spool = |name: &str| name == SPOOL_THREAD;
        if !self.alive.wait_for(is_spool, now + self.patience.logs) {
            let may = |name: &str| is_spool(name) || !self.has_state.iter().any(|state| state == name);
            if !self.alive.wait_for(may, now + self.patience.all) {
                tracing::error!("an on-call sink does not end; what it was told may be told again");
            }
        }
    }

    /// The disk takes nothing: a new spool would not have what is in memory. The sinks begin again, on the spool that there is.
    fn go_on(self) -> Done {
        self.shared.lock().ending = None;
        let mut why = NO_ROOM.to_owned();
        for outfit in self.outfits {
            let name = thread_of(&outfit.config);
            if self.alive.runs(&name) {
                // It was in the middle of a request, and never came to see that it was to end.
                continue;
            }
            let (config, meter) = (outfit.config.clone(), Arc::clone(&outfit.meter));
            let plug = self.leftovers.take(&config.name).map_or_else(|| outfit.plug(), Ok);
            let begun = plug.and_then(|plug| {
                threads::sink(&self.alive, &name, outfit, plug, &self.leftovers)
                    .map_err(|error| error.to_string())
            });
            if let Err(reason) = begun {
                tracing::error!(sink = name, reason, "the sink does not go on");
                meter.failing(true);
                why.push_str(&format!("; sink {} does not go on before that: {reason}", config.name));
            }
        }
        Done::Stays(why)
    }

    fn end_spool(&self) {
        self.intake.wait_empty(APPENDED_WITHIN);
        self.intake.hand_over(true);
        // A sink's thread that hangs holds nobody up: it cannot write its cursor any more.
        let until = Instant::now() + self.patience.all;
        let taken = || self.state_dir.as_deref().is_some_and(is_taken);
        while taken() && Instant::now() < until {
            std::thread::sleep(SHORT);
        }
        self.shared.replace();
    }

    /// The new engine at work; in words why there is none.
    fn begin(&mut self, wanted: &Wanted) -> Result<Done, String> {
        let old: Vec<SinkConfig> = self.outfits.iter().map(|outfit| outfit.config.clone()).collect();
        let hangs = "the sinks are being opened, and a file of theirs does not answer";
        self.stands.begins(Instant::now() + self.patience.open, hangs.to_owned());
        let (mut new, problem) = match self.open(&named(&wanted.sinks), &wanted.spool, wanted) {
            Ok(new) => (new, None),
            // It was looked at before; something has changed since. Alerts go where they went.
            Err(problem) => match self.open(&old, &self.spool, wanted) {
                Ok(new) => (new, Some(problem.to_string())),
                Err(error) => return Err(format!("{problem}; and what there was: {error}")),
            },
        };
        // What sinks had to say of themselves names them by their places, which it is told of once, however often this is tried.
        let names: Vec<String> = new.sinks.iter().map(|sink| sink.config.name.clone()).collect();
        let places = self.names.iter().map(|old| names.iter().position(|new| new == old));
        self.intake.name_anew(&places.collect::<Vec<_>>(), new.filters());
        self.names = names;
        self.intake.hand_over(false);
        if let Err(error) = new.start() {
            // What has begun of it must not work beside the next one.
            new.shared.replace();
            let mut index = new.shared.lock();
            index.ending = Some(self.clock.monotonic());
            new.shared.ring_all(&mut index);
            return Err(format!("no threads to deliver with: {error}"));
        }
        self.stands.ends();
        for outfit in &self.outfits {
            let goes = !new.sinks.iter().any(|sink| sink.config.name == outfit.config.name);
            if goes && outfit.meter.said().swap(false, std::sync::atomic::Ordering::Relaxed) {
                self.notes.sink_goes(&outfit.config.name);
            }
        }
        Ok(Done::New(Box::new(new), problem))
    }

    fn open(
        &self,
        configs: &[SinkConfig],
        spool: &SpoolConfig,
        wanted: &Wanted,
    ) -> Result<Engine, SinkError> {
        let setup = Setup {
            sinks: configs,
            state_dir: self.state_dir.as_deref(),
            spool,
            drain: wanted.drain,
            envelope: wanted.envelope.clone(),
        };
        let place = Place { state_dir: setup.state_dir, clock: &self.clock, goes_on: true };
        let same = |config: &SinkConfig| self.outfits.iter().any(|outfit| outfit.config == *config);
        let mut all = Vec::new();
        for config in configs {
            let mut sink = match self.leftovers.take(&config.name) {
                Some(plug) if same(config) => super::Sink::new(config, plug)?,
                // What is held of the one before (a lock, a connection) goes first.
                left => {
                    drop(left);
                    sinks(std::slice::from_ref(config), &place)?.remove(0)
                }
            };
            // Its counters go on: who watches them would take it for a restart.
            let known = self.outfits.iter().find(|outfit| outfit.config.name == config.name);
            if let Some(outfit) = known {
                sink.meter = Arc::clone(&outfit.meter);
            }
            all.push(sink);
        }
        Ok(Engine::assemble(all, setup, Arc::clone(&self.clock), Arc::clone(&self.intake)))
    }
}

/// Whether alerts are in memory only, or would be.
fn unkept(shared: &Shared) -> bool {
    let index = shared.lock();
    index.broken || index.classes.iter().any(|log| log.unstored() > 0)
}

#[cfg(test)]
mod tests;

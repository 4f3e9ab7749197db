//! From the agent's thread to every sink: the threads of delivery and what they share.
//!
//! [`Engine::accept`] never blocks: the `intake` takes an alert, the `spooler`'s thread appends it to the spool, and each
//! sink's thread is woken with it. A sink that is a log is driven by a `worker` (order from `source`, retries and their
//! `pace`, `dead` letters); one that is a state reads through a `feed`. `meter` counts, `notes` says what delivery itself
//! has to say. Threads are started by [`Engine::start`], after everything that must happen on a process of one thread.
//! `exchange` puts other sinks in place of these while the agent runs.

mod dead;
mod exchange;
mod feed;
mod filter;
mod form;
mod full;
mod intake;
mod meter;
mod notes;
mod outfit;
mod pace;
mod setup;
mod source;
mod spooler;
mod threads;
mod watch;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use dead::{ask_replay, count as count_dead, replay_waits};
pub use exchange::{Look, Wanted};
pub use filter::Filter;
pub(crate) use form::Form;
pub use full::SpoolStats;
pub use meter::{Dropped, Meter, SinkStats};
#[cfg(test)]
pub(crate) use no_thread::NoThread;
pub use setup::Setup;

use self::dead::DeadLetters;
use self::intake::Intake;
use self::notes::Notes;
use self::outfit::Outfit;
use self::spooler::Spooler;
use self::threads::{Alive, Leftovers};
use super::spool::{Limits, Shared, Writer, nanoseconds};
use super::{Class, Clock, Record, SystemClock};
use crate::alert::{Alert, SafeAlert};
use crate::config::{SinkConfig, SpoolConfig};
use crate::detect::Envelope;
use crate::ledger::What;
use crate::sink::{self, Place, Plug, SinkError};

/// Delivery, as the agent sees it.
pub struct Engine {
    intake: Arc<Intake>,
    shared: Arc<Shared>,
    sinks: Vec<Sink>,
    spooler: Option<Spooler>,
    notes: Arc<Notes>,
    dead: Arc<DeadLetters>,
    clock: Arc<dyn Clock>,
    drain: Duration,
    state_dir: Option<PathBuf>,
    limits: Limits,
    /// How large the spool was to be.
    spool_config: SpoolConfig,
    alive: Arc<Alive>,
    started: bool,
    /// Alerts that were accepted and not told of since.
    unconfirmed: AtomicU64,
    /// Others are being put in place of its sinks.
    exchange: Option<exchange::Exchange>,
    leftovers: Arc<Leftovers>,
    /// Of this there are two while somebody looks at other sinks.
    looking: Arc<()>,
    patience: exchange::Patience,
    /// What came for the sinks while they were exchanged.
    missed: Mutex<Missed>,
}

#[derive(Default)]
struct Missed {
    reopen: bool,
    heartbeat: Option<Alert>,
}

struct Sink {
    config: SinkConfig,
    filter: Filter,
    meter: Arc<Meter>,
    /// `None` once its thread has it.
    plug: Option<Plug>,
    /// It has no state of its own, and takes heartbeats.
    is_log: bool,
}

impl Engine {
    /// Opens the spool and every sink of the configuration, standard output if it names none. No thread is started, and
    /// what is accepted waits until they are. A spool that cannot be used is an alert, and delivery goes on in memory.
    ///
    /// # Errors
    /// A sink that never can work as it is configured. One whose file or key is not there yet is none: its alerts wait.
    pub fn open(setup: Setup<'_>) -> Result<Self, SinkError> {
        Self::with(&named(setup.sinks), setup, Arc::new(SystemClock::default()))
    }

    /// No sink: alerts go nowhere.
    pub fn none(envelope: Envelope) -> Self {
        let spool = SpoolConfig::default();
        let setup = Setup { sinks: &[], state_dir: None, spool: &spool, drain: Duration::ZERO, envelope };
        let parts = Self::assemble(Vec::new(), setup, Arc::new(SystemClock::default()), Arc::default());
        Self { started: true, spooler: None, ..parts }
    }

    fn with(configs: &[SinkConfig], setup: Setup<'_>, clock: Arc<dyn Clock>) -> Result<Self, SinkError> {
        let sinks = sinks(configs, &Place { state_dir: setup.state_dir, clock: &clock, goes_on: false })?;
        let engine = Self::assemble(sinks, setup, clock, Arc::default());
        engine.tell_filters();
        Ok(engine)
    }

    fn assemble(sinks: Vec<Sink>, setup: Setup<'_>, clock: Arc<dyn Clock>, intake: Arc<Intake>) -> Self {
        let names: Vec<String> = sinks.iter().map(|sink| sink.config.name.clone()).collect();
        let limits = setup.limits(sinks.iter().map(|sink| sink.config.buffer as u64).max().unwrap_or(0));
        let notes = Arc::new(Notes::new(setup.envelope, Arc::clone(&clock), Arc::clone(&intake)));
        let say = || -> super::spool::Say {
            let notes = Arc::clone(&notes);
            let meters: Vec<Arc<Meter>> = sinks.iter().map(|sink| Arc::clone(&sink.meter)).collect();
            Box::new(move |eviction| {
                if let Some(meter) = meters.get(eviction.sink) {
                    let why = match eviction.why {
                        super::spool::Why::Unreadable | super::spool::Why::Unclean => Dropped::Unreadable,
                        super::spool::Why::LeftOut => Dropped::Refused,
                        _ => Dropped::Evicted,
                    };
                    meter.dropped(why, eviction.fresh);
                    meter.queued();
                }
                notes.eviction(eviction)
            })
        };
        let mut state_dir = setup.state_dir;
        let mut problem = None;
        let on_disk = state_dir.and_then(|dir| {
            Writer::open(dir, &names, limits.clone(), Arc::clone(&clock), say())
                .inspect_err(|error| problem = Some(error.clone()))
                .ok()
        });
        if on_disk.is_none() {
            state_dir = None;
        }
        let writer =
            on_disk.unwrap_or_else(|| Writer::in_memory(&names, limits.clone(), Arc::clone(&clock), say()));
        if let Some(problem) = problem {
            notes.no_spool(problem);
        }
        let dead = Arc::new(DeadLetters::new(state_dir));
        let shared = writer.shared();
        let spooler = Spooler {
            writer,
            intake: Arc::clone(&intake),
            sinks: sinks
                .iter()
                .map(|sink| (sink.config.name.clone(), sink.filter.clone(), Arc::clone(&sink.meter)))
                .collect(),
            notes: Arc::clone(&notes),
            dead: Arc::clone(&dead),
            clock: Arc::clone(&clock),
            looked: None,
            state_dir: state_dir.map(Path::to_owned),
        };
        Self {
            intake,
            shared,
            sinks,
            spooler: Some(spooler),
            notes,
            dead,
            clock,
            drain: setup.drain,
            state_dir: setup.state_dir.map(Path::to_owned),
            limits,
            spool_config: setup.spool.clone(),
            alive: Arc::default(),
            started: false,
            unconfirmed: AtomicU64::new(0),
            exchange: None,
            leftovers: Arc::default(),
            looking: Arc::default(),
            patience: exchange::Patience::default(),
            missed: Mutex::default(),
        }
    }

    /// What is left out before it is spooled is named to those that would have taken it.
    fn tell_filters(&self) {
        self.intake.set_filters(self.filters());
    }

    fn filters(&self) -> Vec<Filter> {
        self.sinks.iter().map(|sink| sink.filter.clone()).collect()
    }

    /// Starts the threads, if they are not.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(&mut self) -> std::io::Result<()> {
        if std::mem::replace(&mut self.started, true) {
            return Ok(());
        }
        for at in 0..self.sinks.len() {
            let Some(plug) = self.sinks[at].plug.take() else { continue };
            let name = thread_of(&self.sinks[at].config);
            threads::sink(&self.alive, &name, self.outfit(at), plug, &self.leftovers)?;
        }
        if let Some(spooler) = self.spooler.take() {
            threads::spawn(&self.alive, SPOOL_THREAD, move || spooler.run())?;
        }
        Ok(())
    }

    /// Takes an alert on its way: redacted, bounded and in the spool soon after. Never blocks.
    pub fn accept(&self, alert: Alert) {
        let of_incident = alert.incident.as_ref().map(|incident| (incident.id.clone(), incident.revision));
        // Also one that belongs to no incident: a kill takes what is not in the spool, and the next start has to know.
        let ticket = of_incident.unwrap_or_else(|| (alert.id.clone(), 0));
        self.unconfirmed.fetch_add(1, Relaxed);
        if self.sinks.is_empty() {
            self.intake.appended([ticket]);
            return;
        }
        self.intake.put(alert, nanoseconds(&*self.clock), None, Some(ticket));
    }

    /// Waits until everything that was accepted is in the spool. `false`: not within that time.
    pub fn wait_appended(&self, most: Duration) -> bool {
        self.sinks.is_empty() || (self.started && self.intake.wait_empty(most))
    }

    /// Alerts that are in the spool since the last call, by incident and revision, one of no incident by its own id: what is promised
    /// must not be forgotten.
    pub fn take_appended(&self) -> Vec<(String, u64)> {
        let appended = self.intake.take_appended();
        self.unconfirmed.fetch_sub(appended.len() as u64, Relaxed);
        appended
    }

    /// Whether [`take_appended`](Self::take_appended) has not told yet of everything that was accepted.
    pub fn is_unconfirmed(&self) -> bool {
        self.unconfirmed.load(Relaxed) > 0
    }

    /// From now on each alert that is appended, also those of delivery itself, is remembered for the local log.
    pub fn log_alerts(&self) {
        self.intake.log_alerts();
    }

    /// What the local log has to say of the alerts that were appended since the last call.
    pub fn take_logged(&self) -> Vec<What> {
        self.intake.take_logged()
    }

    /// A sign of life for every log whose filter takes it and which works at the moment. Not spooled, not repeated.
    pub fn heartbeat(&self, alert: Alert) {
        if self.is_exchanging() {
            self.missed().heartbeat = Some(alert);
            return;
        }
        let record = Arc::new(Record {
            class: Class::Low,
            accepted: nanoseconds(&*self.clock),
            alert: SafeAlert::new(alert),
        });
        let mut index = self.shared.lock();
        for (at, sink) in self.sinks.iter().enumerate() {
            if sink.is_log
                && sink.filter.takes(&record.alert)
                && let Some(state) = index.sinks.get_mut(at)
            {
                state.heartbeat = Some(Arc::clone(&record));
                self.shared.ring(&mut index, at);
            }
        }
    }

    /// Every sink opens its files and reads its secrets again.
    pub fn reopen(&self) {
        if self.is_exchanging() {
            self.missed().reopen = true;
        }
        let mut index = self.shared.lock();
        index.sinks.iter_mut().for_each(|state| state.reopen += 1);
        self.shared.ring_all(&mut index);
    }

    /// What the sinks missed while they were exchanged.
    fn make_up(&self) {
        let Missed { reopen, heartbeat } = std::mem::take(&mut *self.missed());
        if reopen {
            self.reopen();
        }
        if let Some(heartbeat) = heartbeat {
            self.heartbeat(heartbeat);
        }
    }

    fn missed(&self) -> MutexGuard<'_, Missed> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the end may take from now on, and what alerts of delivery itself carry.
    pub fn follow(&mut self, drain: Duration, envelope: Envelope) {
        self.drain = drain;
        self.notes.follow(envelope);
    }

    /// How each sink is doing.
    pub fn stats(&self) -> Vec<(String, SinkStats)> {
        let stats = |(at, sink): (usize, &Sink)| {
            (sink.config.name.clone(), sink.meter.stats(self.shared.waiting(at)))
        };
        self.sinks.iter().enumerate().map(stats).collect()
    }

    /// Waits until everything that was accepted so far was dealt with by every sink. `false`: not within that time.
    pub fn settle(&self, most: Duration) -> bool {
        let until = Instant::now() + most;
        if !self.started || !self.intake.wait_empty(most) {
            return false;
        }
        loop {
            let waits = {
                let mut index = self.shared.lock();
                let waits = index
                    .sinks
                    .iter()
                    .any(|state| state.waiting.iter().sum::<u64>() > 0 || state.reopened != state.reopen);
                if waits {
                    index.sinks.iter_mut().for_each(|state| state.settle = true);
                    self.shared.ring_all(&mut index);
                }
                waits
            };
            if !waits {
                return true;
            }
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The end: sends what it can within the time for that. The rest is in the spool, and goes out at the next start.
    pub fn finish(mut self) -> Vec<(String, SinkStats)> {
        self.await_exchange(self.drain.max(APPENDED_WITHIN));
        if let Err(error) = self.start() {
            tracing::error!(%error, "alerts are not delivered");
        }
        let until = Instant::now() + self.drain;
        self.intake.close();
        // The spooler's thread ends by itself, and first: what is not appended by then is lost, however short the drain.
        self.alive.wait_for(|name| name != SPOOL_THREAD, until.max(Instant::now() + APPENDED_WITHIN));
        {
            let mut index = self.shared.lock();
            index.ending = Some(self.clock.monotonic() + until.saturating_duration_since(Instant::now()));
            self.shared.ring_all(&mut index);
        }
        // A moment more for the last commit; a thread that hangs in its receiver is left behind.
        self.alive.wait_for(|_| false, until + Duration::from_millis(500));
        self.stats()
    }

    fn outfit(&self, at: usize) -> Outfit {
        Outfit {
            sink: at,
            config: self.sinks[at].config.clone(),
            state_dir: self.state_dir.clone(),
            shared: Arc::clone(&self.shared),
            meter: Arc::clone(&self.sinks[at].meter),
            dead: Arc::clone(&self.dead),
            notes: Arc::clone(&self.notes),
            clock: Arc::clone(&self.clock),
        }
    }
}

/// Where alerts go: standard output, if the configuration names nothing.
fn named(sinks: &[SinkConfig]) -> Vec<SinkConfig> {
    if sinks.is_empty() { vec![SinkConfig::stdout()] } else { sinks.to_vec() }
}

/// The sinks of a configuration, each ready for its thread.
fn sinks(configs: &[SinkConfig], place: &Place<'_>) -> Result<Vec<Sink>, SinkError> {
    configs.iter().map(|config| Sink::new(config, sink::plug(config, place)?)).collect()
}

impl Sink {
    fn new(config: &SinkConfig, plug: Plug) -> Result<Self, SinkError> {
        let filter = Filter::new(config)
            .map_err(|error| SinkError::wrong(&config.name, format!("a pattern of its filter: {error}")))?;
        let is_log = matches!(plug, Plug::Log(_));
        Ok(Self { config: config.clone(), filter, meter: Arc::default(), plug: Some(plug), is_log })
    }
}

/// The name of a sink's thread.
fn thread_of(config: &SinkConfig) -> String {
    format!("sink-{}", config.name)
}

/// That of the one that appends.
const SPOOL_THREAD: &str = "spool";

/// How long the end waits at least until what was accepted is in the spool.
const APPENDED_WITHIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod faults;
#[cfg(test)]
mod kill_tests;
#[cfg(test)]
mod no_thread;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

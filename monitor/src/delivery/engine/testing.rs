//! An engine without threads: a receiver that does as it is told, and time that passes when a test says so.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::pace::Dice;
use super::worker::{Next, Worker};
use super::*;
use crate::alert::AlertKind;
use crate::config::Config;
use crate::delivery::spool::testing::{TestClock, alert};
use crate::delivery::{Item, Outcome, Promise, Transport};

/// What a receiver got: its number in the stream, the alert's id, and the numbers that it names as gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) seq: u64,
    pub(crate) id: String,
    pub(crate) gone: Vec<[u64; 2]>,
}

pub(crate) type Answer = Box<dyn FnMut(&Item) -> Option<Outcome> + Send>;

/// What a failure means for the rest of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Nothing.
    ItemByItem,
    /// What is behind it is not looked at.
    Stops,
    /// Nothing of the batch is taken.
    Whole,
}

/// The far end of a test transport.
pub(crate) struct Far {
    pub(crate) got: Vec<Got>,
    /// Of what it got.
    pub(crate) bytes: u64,
    /// When each batch came, and how large it was.
    pub(crate) batches: Vec<(Duration, usize)>,
    /// What it says to an item; `None`: it breaks off.
    pub(crate) answer: Answer,
    pub(crate) manner: Manner,
    pub(crate) commit: Result<(), String>,
    pub(crate) reopened: usize,
}

impl Default for Far {
    fn default() -> Self {
        Self {
            got: Vec::new(),
            bytes: 0,
            batches: Vec::new(),
            answer: Box::new(|_| Some(Outcome::Accepted)),
            manner: Manner::ItemByItem,
            commit: Ok(()),
            reopened: 0,
        }
    }
}

impl Far {
    pub(crate) fn ids(&self) -> Vec<u64> {
        self.got.iter().filter_map(|got| got.id.parse().ok()).collect()
    }

    /// Numbers that came or are named.
    pub(crate) fn accounted(&self) -> BTreeSet<u64> {
        let named = self.got.iter().flat_map(|got| &got.gone).flat_map(|[a, b]| *a..=*b);
        self.got.iter().map(|got| got.seq).chain(named).collect()
    }

    pub(crate) fn fail(&mut self, reason: &'static str) {
        self.answer = Box::new(move |_| Some(retry(reason)));
    }

    pub(crate) fn work(&mut self) {
        self.answer = Box::new(|_| Some(Outcome::Accepted));
    }
}

pub(crate) fn retry(reason: &str) -> Outcome {
    Outcome::Retry { reason: reason.to_owned(), after: None }
}

fn is_retry(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Retry { .. })
}

/// A transport to a [`Far`] end.
pub(crate) struct Near {
    pub(crate) far: Arc<Mutex<Far>>,
    pub(crate) promise: Promise,
    pub(crate) shared: bool,
    pub(crate) clock: Arc<TestClock>,
}

impl Transport for Near {
    fn promise(&self) -> Promise {
        self.promise
    }

    fn limits(&self) -> crate::delivery::Limits {
        crate::delivery::Limits { items: 100, bytes: 1 << 20, max_bytes: 64 << 10 }
    }

    fn target(&self) -> String {
        "the test".to_owned()
    }

    fn send(&mut self, batch: &[Item]) -> Vec<Outcome> {
        let mut far = self.far.lock().unwrap_or_else(PoisonError::into_inner);
        far.batches.push((self.clock.monotonic(), batch.len()));
        let mut outcomes = Vec::new();
        let whole = far.manner == Manner::Whole;
        if whole && let Some(bad) = batch.iter().filter_map(|item| (far.answer)(item)).find(is_retry) {
            return vec![bad; batch.len()];
        }
        for item in batch {
            let Some(outcome) = (far.answer)(item) else { break };
            if far.manner == Manner::Stops && is_retry(&outcome) {
                outcomes.push(outcome);
                break;
            }
            if outcome == Outcome::Accepted {
                let gap = item.alert.gap.as_ref();
                far.bytes += item.text.len() as u64;
                far.got.push(Got {
                    seq: item.seq,
                    id: item.alert.id.clone(),
                    gone: gap.map(|gap| gap.sequences.clone()).unwrap_or_default(),
                });
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    fn commit(&mut self) -> Result<(), String> {
        self.far.lock().unwrap().commit.clone()
    }

    fn reopen(&mut self) -> Result<(), String> {
        self.far.lock().unwrap().reopened += 1;
        Ok(())
    }

    fn shared(&self) -> bool {
        self.shared
    }
}

/// Jitter that is the same each time; another one with another seed.
fn dice() -> Dice {
    let seed = std::env::var("SANDWATCH_TEST_SEED").map_or(7, |seed| seed.parse().unwrap());
    let mut rng = fastrand::Rng::with_seed(seed);
    Box::new(move || rng.f64())
}

impl Engine {
    /// As on a disk that takes nothing: an exchange leaves the sinks as they are, after a short while.
    pub(crate) fn disk_takes_nothing(&mut self, nothing: bool) {
        self.patience.disk = Duration::from_millis(50);
        self.shared.lock().broken = nothing;
    }

    /// What hangs is waited for a short while only.
    pub(crate) fn be_short(&mut self) {
        self.patience.logs = Duration::from_millis(200);
        self.patience.look = Duration::from_millis(200);
        self.patience.open = Duration::from_millis(200);
        self.patience.again = Duration::from_millis(20);
    }
}

/// An engine whose threads are steps.
pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) far: Vec<Arc<Mutex<Far>>>,
    spooler: Spooler,
}

impl Rig {
    /// Sinks of these names, with a spool below `state_dir` or in memory.
    pub(crate) fn new(state_dir: Option<&Path>, sinks: &[&str]) -> Self {
        Self::with(state_dir, sinks, Promise::Acknowledged, true, TestClock::new(), &SpoolConfig::default())
    }

    pub(crate) fn with(
        state_dir: Option<&Path>,
        sinks: &[&str],
        promise: Promise,
        shared: bool,
        clock: Arc<TestClock>,
        spool: &SpoolConfig,
    ) -> Self {
        let configs: Vec<SinkConfig> = sinks
            .iter()
            .map(|name| {
                let mut config = SinkConfig::file("/dev/null".into());
                config.name = (*name).to_owned();
                config.kinds.push(AlertKind::Heartbeat);
                config
            })
            .collect();
        let config = Config::default();
        let envelope = crate::run::envelope(&config, "sha256:0", Path::new("/sys/fs/cgroup"));
        let setup = Setup { sinks: &configs, state_dir, spool, drain: Duration::ZERO, envelope };
        let mut engine = Engine::with(&configs, setup, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        let far: Vec<Arc<Mutex<Far>>> = sinks.iter().map(|_| Arc::default()).collect();
        let workers = far
            .iter()
            .enumerate()
            .map(|(at, far)| {
                let near = Near { far: Arc::clone(far), promise, shared, clock: Arc::clone(&clock) };
                engine.outfit(at).worker(Box::new(near), dice())
            })
            .collect();
        let mut spooler = engine.spooler.take().unwrap();
        spooler.writer.set_room(Box::new(|_| None));
        Self { engine, clock, workers, far, spooler }
    }

    /// A sink's thread begins only now.
    pub(crate) fn begin(&mut self, sink: usize) {
        let far = Arc::clone(&self.far[sink]);
        let near = Near { far, promise: Promise::Acknowledged, shared: true, clock: Arc::clone(&self.clock) };
        self.workers[sink] = self.engine.outfit(sink).worker(Box::new(near), dice());
    }

    /// Has a sink take other alerts.
    pub(crate) fn filter(&mut self, sink: usize, change: impl FnOnce(&mut SinkConfig)) {
        let of = &mut self.engine.sinks[sink];
        change(&mut of.config);
        of.filter = Filter::new(&of.config).unwrap();
        self.spooler.sinks[sink].1 = of.filter.clone();
        self.engine.tell_filters();
    }

    /// Accepts alerts of these numbers.
    pub(crate) fn accept(&mut self, class: Class, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.engine.accept(alert(class, number));
        }
        self.spool();
    }

    pub(crate) fn spool(&mut self) {
        // Twice: what it has to say itself comes after.
        for _ in 0..2 {
            if let Some(arrivals) = self.engine.intake.take(Duration::ZERO) {
                self.spooler.take(arrivals);
            }
        }
    }

    /// Lets a sink do what it can without time passing; until when it has nothing to do.
    pub(crate) fn settle(&mut self, sink: usize) -> Option<Duration> {
        for _ in 0..100_000 {
            if let Next::At(until) = self.workers[sink].step() {
                return until;
            }
        }
        panic!("it never comes to rest");
    }

    /// Lets time pass, with every sink and the spooler doing what they do.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.clock.monotonic() + time;
        loop {
            self.spool();
            let next = (0..self.workers.len()).filter_map(|sink| self.settle(sink)).min();
            let now = self.clock.monotonic();
            let tick = now + Duration::from_secs(1);
            let next = next.unwrap_or(tick).min(tick).max(now + Duration::from_millis(1));
            if next >= end {
                self.clock.set(end);
                self.spool();
                (0..self.workers.len()).for_each(|sink| {
                    self.settle(sink);
                });
                return;
            }
            self.clock.set(next);
        }
    }

    pub(crate) fn far(&self, sink: usize) -> MutexGuard<'_, Far> {
        self.far[sink].lock().unwrap()
    }

    /// The spool's disk takes no new segment: its folder is away.
    pub(crate) fn break_disk(&self, state_dir: &Path) {
        std::fs::rename(state_dir.join("spool"), state_dir.join("away")).unwrap();
    }

    /// Whether nothing is in memory alone.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.spooler.is_on_disk()
    }

    /// It does again.
    pub(crate) fn mend_disk(&self, state_dir: &Path) {
        std::fs::rename(state_dir.join("away"), state_dir.join("spool")).unwrap();
    }

    pub(crate) fn stats(&self, sink: usize) -> SinkStats {
        self.engine.stats()[sink].1
    }
}

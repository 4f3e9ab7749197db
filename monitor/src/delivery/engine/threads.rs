//! The threads of delivery: one for each sink, one that appends.
//!
//! A sink's thread does not end before the agent does: what it works with is thrown away after a panic and made anew
//! (`outfit`), with a wait that doubles. Its place in the spool is where it last said that it was, so that what was in flight goes
//! again.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::outfit::Outfit;
use super::pace::Pace;
use super::worker::{Next, Worker};
use crate::delivery::spool::Shared;
use crate::delivery::{Clock, caught};
use crate::sink::Plug;

/// A thread that nothing wakes looks again after this.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// Waits after panics: the first, and the longest.
const WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A sink that ran so long since its last panic waits as after a first one.
const CALM: Duration = Duration::from_secs(600);

/// How many threads run.
#[derive(Debug, Default)]
pub(super) struct Alive {
    count: Mutex<usize>,
    fewer: Condvar,
}

struct Living(Arc<Alive>);

/// Starts a thread.
pub(super) fn spawn(
    alive: &Arc<Alive>,
    name: &str,
    run: impl FnOnce() + Send + 'static,
) -> std::io::Result<()> {
    let living = Living::new(alive);
    crate::observe::start_thread(name, move || {
        let _living = living;
        run();
    })
    .map(drop)
}

/// A sink's thread.
pub(super) fn keep(outfit: &Outfit, plug: Plug) {
    let mut plug = Some(plug);
    let mut fall: Option<String> = None;
    let mut wait = Duration::ZERO;
    loop {
        let began = outfit.clock.monotonic();
        let made = plug.take().map_or_else(|| outfit.plug(), Ok);
        let ran = made.and_then(|plug| caught(|| run(outfit, plug, fall.as_deref())));
        let Err(reason) = ran else { return };
        tracing::error!(sink = outfit.config.name, reason, "the sink's thread failed; it begins anew");
        outfit.meter.failing(true);
        if fall.is_none() {
            outfit.notes.sink_fails(&outfit.config.name, outfit.config.kind.name(), &reason);
        }
        fall = Some(reason);
        let calm = outfit.clock.monotonic().saturating_sub(began) >= CALM;
        wait = if calm { WAIT.0 } else { (wait * 2).clamp(WAIT.0, WAIT.1) };
        if !outfit.rest(wait) {
            return;
        }
    }
}

fn run(outfit: &Outfit, plug: Plug, fall: Option<&str>) {
    match plug {
        Plug::Log(transport) => {
            let mut worker = outfit.worker(transport, Pace::dice());
            if let Some(reason) = fall {
                worker.fell(reason);
            }
            drive(worker, &outfit.shared, outfit.sink, &*outfit.clock);
        }
        Plug::State(mut driver) => {
            let mut feed = outfit.feed(driver.target());
            if fall.is_some() {
                feed.fell();
            }
            outfit.meter.failing(false);
            driver.run(&mut feed, &outfit.meter);
        }
    }
}

/// A log's life.
fn drive(mut worker: Worker, shared: &Shared, sink: usize, clock: &dyn Clock) {
    loop {
        let next = worker.step();
        let now = clock.monotonic();
        let ending = shared.lock().ending;
        if let Some(deadline) = ending
            && (now >= deadline || (next != Next::Now && (worker.is_done() || worker.is_held())))
        {
            break;
        }
        if let Next::At(until) = next {
            let until = until.into_iter().chain(ending).min();
            shared.wait(sink, until.map_or(LONGEST_WAIT, |until| until.saturating_sub(now)));
        }
    }
    worker.commit();
}

impl Alive {
    pub(super) fn wait_for(&self, most: usize, until: Instant) {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let left = until.saturating_duration_since(Instant::now());
        // The guard has told what is wanted; how many are left does not matter any more.
        drop(self.fewer.wait_timeout_while(count, left, |count| *count > most));
    }
}

impl Living {
    fn new(alive: &Arc<Alive>) -> Self {
        *alive.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Self(Arc::clone(alive))
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        *self.0.count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.fewer.notify_all();
    }
}

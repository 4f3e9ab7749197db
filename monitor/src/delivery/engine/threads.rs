//! The threads of delivery: one for each sink, one that appends.
//!
//! A sink's thread does not end before the agent does: what it works with is thrown away after a panic and made anew
//! (`outfit`), with a wait that doubles. Its place in the spool is where it last said that it was, so that what was in flight goes
//! again.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::outfit::Outfit;
use super::pace::Pace;
use super::worker::{Next, Worker};
use crate::delivery::spool::Shared;
use crate::delivery::{Clock, Transport, caught};
use crate::sink::Plug;

/// A thread that nothing wakes looks again after this.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// Waits after panics: the first, and the longest.
const WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A sink that ran so long since its last panic waits as after a first one.
const CALM: Duration = Duration::from_secs(600);

/// Which threads run.
#[derive(Debug, Default)]
pub(super) struct Alive {
    names: Mutex<Vec<String>>,
    fewer: Condvar,
}

struct Living(Arc<Alive>, String);

/// Starts a thread.
pub(super) fn spawn(
    alive: &Arc<Alive>,
    name: &str,
    run: impl FnOnce() + Send + 'static,
) -> std::io::Result<()> {
    #[cfg(test)]
    super::no_thread::ask(name)?;
    let living = Living::new(alive, name);
    crate::observe::start_thread(name, move || {
        let _living = living;
        run();
    })
    .map(drop)
}

/// What sinks worked with whose threads have ended, by name: for the next that is configured like it.
#[derive(Default)]
pub(super) struct Leftovers(Mutex<BTreeMap<String, Plug>>);

impl Leftovers {
    pub(super) fn take(&self, sink: &str) -> Option<Plug> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(sink)
    }

    fn put(&self, sink: &str, plug: Plug) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(sink.to_owned(), plug);
    }
}

/// Starts a sink's thread.
pub(super) fn sink(
    alive: &Arc<Alive>,
    name: &str,
    outfit: Outfit,
    plug: Plug,
    leftovers: &Arc<Leftovers>,
) -> std::io::Result<()> {
    let leftovers = Arc::clone(leftovers);
    spawn(alive, name, move || {
        if let Some(left) = keep(&outfit, plug) {
            leftovers.put(&outfit.config.name, left);
        }
    })
}

/// A sink's thread. What it worked with, if it ended as it should.
fn keep(outfit: &Outfit, plug: Plug) -> Option<Plug> {
    let mut plug = Some(plug);
    let mut fall: Option<String> = None;
    let mut wait = Duration::ZERO;
    loop {
        let began = outfit.clock.monotonic();
        let made = plug.take().map_or_else(|| outfit.plug(), Ok);
        let ran = made.and_then(|plug| caught(|| run(outfit, plug, fall.as_deref())));
        let reason = match ran {
            Ok(plug) => return Some(plug),
            Err(reason) => reason,
        };
        tracing::error!(sink = outfit.config.name, reason, "the sink's thread failed; it begins anew");
        outfit.meter.failing(true);
        if fall.is_none() {
            outfit.notes.sink_fails(&outfit.config.name, outfit.config.kind.name(), &reason);
        }
        fall = Some(reason);
        let calm = outfit.clock.monotonic().saturating_sub(began) >= CALM;
        wait = if calm { WAIT.0 } else { (wait * 2).clamp(WAIT.0, WAIT.1) };
        if !outfit.rest(wait) {
            return None;
        }
    }
}

fn run(outfit: &Outfit, plug: Plug, fall: Option<&str>) -> Plug {
    match plug {
        Plug::Log(transport) => {
            let mut worker = outfit.worker(transport, Pace::dice());
            if let Some(reason) = fall {
                worker.fell(reason);
            }
            Plug::Log(drive(worker, &outfit.shared, outfit.sink, &*outfit.clock))
        }
        Plug::State(mut driver) => {
            let mut feed = outfit.feed(driver.target());
            if fall.is_some() {
                feed.fell();
            }
            outfit.meter.failing(false);
            driver.run(&mut feed, &outfit.meter);
            Plug::State(driver)
        }
    }
}

/// A log's life.
fn drive(mut worker: Worker, shared: &Shared, sink: usize, clock: &dyn Clock) -> Box<dyn Transport> {
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
    worker.into_transport()
}

impl Alive {
    /// Whether a thread of this name runs.
    pub(super) fn runs(&self, name: &str) -> bool {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|running| running == name)
    }

    /// Waits until no thread is left but such as `may` run on. `false`: not by then.
    pub(super) fn wait_for(&self, may: impl Fn(&str) -> bool, until: Instant) -> bool {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let left = until.saturating_duration_since(Instant::now());
        let others = |names: &mut Vec<String>| names.iter().any(|name| !may(name));
        let (mut names, _) =
            self.fewer.wait_timeout_while(names, left, others).unwrap_or_else(PoisonError::into_inner);
        !others(&mut names)
    }
}

impl Living {
    fn new(alive: &Arc<Alive>, name: &str) -> Self {
        alive.names.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
        Self(Arc::clone(alive), name.to_owned())
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        let mut names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = names.iter().position(|name| *name == self.1) {
            names.swap_remove(at);
        }
        drop(names);
        self.0.fewer.notify_all();
    }
}

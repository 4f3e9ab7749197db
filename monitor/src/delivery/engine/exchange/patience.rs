//! How long an exchange waits for what, and what it says while it stands.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an exchange waits for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// A log that is in the middle of a request is left behind after this: it cannot write its cursor any more, and what it
    /// sends is sent once more.
    pub(crate) logs: Duration,
    /// One with a state of its own is waited for: a second one would not know what the first has told people.
    pub(crate) all: Duration,
    /// For what the disk does not take at the moment.
    pub(crate) disk: Duration,
    /// A look at new sinks that takes longer has met a file system that does not answer.
    pub(crate) look: Duration,
    /// Sinks that are opened in the end stand as long as that takes; after this people are told.
    pub(crate) open: Duration,
    /// Between two tries to go on at all.
    pub(crate) again: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            logs: Duration::from_secs(20),
            all: Duration::from_secs(300),
            disk: Duration::from_secs(10),
            look: Duration::from_secs(10),
            open: Duration::from_secs(10),
            again: Duration::from_secs(1),
        }
    }
}

/// Why nothing is delivered while an exchange is under way, and since when that is worth a word.
#[derive(Debug, Default)]
pub(super) struct Standstill(Mutex<Option<(Instant, String)>>);

impl Standstill {
    /// It stands, which is to be told at this time if nothing has changed by then.
    pub(super) fn begins(&self, told_at: Instant, why: String) {
        *self.lock() = Some((told_at, why));
    }

    pub(super) fn ends(&self) {
        *self.lock() = None;
    }

    /// Why it stands, if people are to know.
    pub(super) fn why(&self) -> Option<String> {
        self.lock().as_ref().filter(|(told_at, _)| Instant::now() >= *told_at).map(|(_, why)| why.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Instant, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

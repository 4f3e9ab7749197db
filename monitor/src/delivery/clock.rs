//! Time, so that tests can have their own.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// The two clocks that delivery asks.
pub trait Clock: Send + Sync {
    /// Time since some fixed moment; never goes back. For waiting and retrying.
    fn monotonic(&self) -> Duration;

    /// Wall-clock time; may jump. For time stamps and ages that outlive the process.
    fn wall(&self) -> Timestamp;
}

/// The host's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }
}

//! What was sent last over a connection that answers nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::worker::Flight;
use crate::delivery::spool::Entry;

/// How long something is kept, and how much.
const KEPT: Duration = Duration::from_secs(5);
const MOST: usize = 1 << 20;

/// What was sent last.
#[derive(Default)]
pub(crate) struct Recent {
    sent: VecDeque<(Duration, usize, Arc<Entry>, u64)>,
    bytes: usize,
}

impl Recent {
    pub(crate) fn push(&mut self, entry: Arc<Entry>, seq: u64, bytes: usize, now: Duration) {
        self.bytes += bytes;
        self.sent.push_back((now, bytes, entry, seq));
        while self.bytes > MOST || self.sent.front().is_some_and(|first| now.saturating_sub(first.0) > KEPT) {
            let Some((_, bytes, ..)) = self.sent.pop_front() else { break };
            self.bytes -= bytes;
        }
    }

    /// All of it, to be sent again.
    pub(crate) fn take(&mut self, now: Duration) -> Vec<Flight> {
        self.bytes = 0;
        self.sent
            .drain(..)
            .filter(|(at, ..)| now.saturating_sub(*at) <= KEPT)
            .map(|(_, _, entry, seq)| Flight::new(entry, seq, true))
            .collect()
    }
}

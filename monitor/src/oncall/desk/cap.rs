//! How many openings a receiver takes, and which are the first of their kind.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::brief::Brief;
use super::super::pager::Cap;

/// A kind that did not come for this long is new again, ms.
const FORGOTTEN: i64 = 24 * 3_600_000;
/// Most kinds remembered.
const KINDS: usize = 1024;

/// A token bucket.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    /// Tokens taken that were not given back by time yet.
    taken: u32,
    /// When the time of the first of them began.
    since: Duration,
}

impl Bucket {
    /// Takes a token; `Err`: there is none for so long.
    pub(super) fn take(&mut self, cap: &Cap, now: Duration) -> Result<(), Duration> {
        self.give_back(cap, now);
        if self.taken >= cap.burst {
            return Err(cap.every.saturating_sub(now.saturating_sub(self.since)));
        }
        self.count(now);
        Ok(())
    }

    /// Takes a token if there is one; goes on in any case.
    pub(super) fn take_what_is_there(&mut self, cap: &Cap, now: Duration) {
        let _ = self.take(cap, now);
    }

    fn count(&mut self, now: Duration) {
        if self.taken == 0 {
            self.since = now;
        }
        self.taken += 1;
    }

    fn give_back(&mut self, cap: &Cap, now: Duration) {
        while self.taken > 0 && !cap.every.is_zero() && now.saturating_sub(self.since) >= cap.every {
            self.taken -= 1;
            self.since += cap.every;
        }
    }
}

/// Findings by worker that came lately.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Kinds(BTreeMap<String, i64>);

impl Kinds {
    /// The kind of a brief: its finding or condition, and the worker.
    pub(super) fn of(brief: &Brief) -> String {
        format!("{} {}", brief.name, brief.worker.as_deref().unwrap_or_default())
    }

    /// Notes what a brief is of; whether it is the first of its kind.
    pub(super) fn note(&mut self, brief: &Brief, now: i64) -> bool {
        let known = self.0.insert(Self::of(brief), now);
        if self.0.len() > KINDS
            && let Some(oldest) = self.0.iter().min_by_key(|(_, at)| **at).map(|(kind, _)| kind.clone())
        {
            self.0.remove(&oldest);
        }
        known.is_none_or(|at| now.saturating_sub(at) > FORGOTTEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_gives_its_burst_at_once_and_then_one_each_time() {
        let cap = Cap { burst: 2, every: Duration::from_secs(10), summary: Duration::ZERO };
        let mut bucket = Bucket::default();
        let at = Duration::from_secs;
        assert_eq!(bucket.take(&cap, at(0)), Ok(()));
        assert_eq!(bucket.take(&cap, at(1)), Ok(()));
        assert_eq!(bucket.take(&cap, at(4)), Err(at(6)));
        assert_eq!(bucket.take(&cap, at(10)), Ok(()));
        assert_eq!(bucket.take(&cap, at(11)), Err(at(9)));
        assert_eq!(bucket.take(&cap, at(100)), Ok(()));
        assert_eq!(bucket.take(&cap, at(100)), Ok(()));
        assert!(bucket.take(&cap, at(100)).is_err());
    }
}

//! Deviations: unlisted, but plausible. Each distinct one is said once per hour and worker.

use std::collections::HashMap;

use crate::event::BootNs;

/// How long the same deviation is not said again, ns.
const HOUR: BootNs = 3_600_000_000_000;

/// Most distinct deviations remembered; beyond it the oldest may be said again.
const SEEN_MAX: usize = 16_384;

/// Which deviations were said when.
#[derive(Default)]
pub(super) struct Deviations {
    seen: HashMap<(u64, String), Said>,
}

struct Said {
    since: BootNs,
    repeats: u64,
}

impl Deviations {
    /// Whether this deviation of a worker's cgroup is to be said now; then how often it was seen and not said before.
    pub(super) fn is_new(&mut self, cgroup: u64, what: String, now: BootNs) -> Option<u64> {
        if self.seen.len() >= SEEN_MAX {
            self.forget(now);
        }
        match self.seen.get_mut(&(cgroup, what.clone())) {
            Some(said) if now.saturating_sub(said.since) < HOUR => {
                said.repeats += 1;
                None
            }
            Some(said) => {
                let repeats = said.repeats;
                *said = Said { since: now, repeats: 0 };
                Some(repeats)
            }
            None => {
                self.seen.insert((cgroup, what), Said { since: now, repeats: 0 });
                Some(0)
            }
        }
    }

    fn forget(&mut self, now: BootNs) {
        self.seen.retain(|_, said| now.saturating_sub(said.since) < HOUR);
        if self.seen.len() >= SEEN_MAX {
            let mut times: Vec<BootNs> = self.seen.values().map(|said| said.since).collect();
            times.sort_unstable();
            let middle = times.get(times.len() / 2).copied().unwrap_or(now);
            self.seen.retain(|_, said| said.since > middle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_deviation_is_said_once_an_hour_with_its_count() {
        let mut deviations = Deviations::default();
        assert_eq!(deviations.is_new(1, "a".into(), 0), Some(0));
        assert_eq!(deviations.is_new(1, "a".into(), HOUR - 1), None);
        assert_eq!(deviations.is_new(2, "a".into(), 1), Some(0), "another worker");
        assert_eq!(deviations.is_new(1, "b".into(), 1), Some(0), "another object");
        assert_eq!(deviations.is_new(1, "a".into(), HOUR), Some(1));
    }

    #[test]
    fn memory_stays_bounded() {
        let mut deviations = Deviations::default();
        for number in 0..3 * SEEN_MAX as u64 {
            deviations.is_new(1, number.to_string(), number);
        }
        assert!(deviations.seen.len() <= SEEN_MAX);
    }
}

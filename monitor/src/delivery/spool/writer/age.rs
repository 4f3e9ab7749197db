//! How old records are, by a clock that may jump.
//!
//! A host that starts with a wrong clock is put right while the agent runs: what was accepted before would be a month old at
//! once. What the wall clock went ahead of the other one is not age.

use std::time::Duration;

/// Less than this is no jump.
const JUMP: i64 = 60_000_000_000;
/// At the start nothing is too old: the clock may have been put right before, and the host may have been off. Sinks get so long.
const SETTLES: Duration = Duration::from_secs(600);

/// What is known of the clocks.
#[derive(Debug)]
pub(super) struct Age {
    started: Duration,
    /// The clocks when they were last looked at: the monotonic one, and ns since the epoch.
    looked: (Duration, i64),
    /// How far the wall clock jumped ahead, ns, and until when records from before may be there.
    ahead: i64,
    until: Duration,
}

impl Age {
    pub(super) fn new(now: Duration, wall: i64) -> Self {
        Self { started: now, looked: (now, wall), ahead: 0, until: now }
    }

    /// Records accepted before this (ns since the epoch) are older than `most`. `None`: nobody can say yet.
    pub(super) fn oldest(&mut self, now: Duration, wall: i64, most: Duration) -> Option<i64> {
        let ns = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        let (then, wall_then) = std::mem::replace(&mut self.looked, (now, wall));
        let ahead = wall.saturating_sub(wall_then).saturating_sub(ns(now.saturating_sub(then)));
        if ahead > JUMP {
            self.ahead = self.ahead.saturating_add(ahead);
            self.until = now.saturating_add(most);
        }
        if now >= self.until {
            self.ahead = 0;
        }
        let settled = now.saturating_sub(self.started) >= SETTLES;
        settled.then(|| wall.saturating_sub(ns(most)).saturating_sub(self.ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const NS: i64 = 86_400_000_000_000;

    #[test]
    fn what_the_clock_jumped_ahead_is_no_age_until_what_was_before_is_gone() {
        let mut age = Age::new(Duration::ZERO, 100 * NS);
        assert_eq!(age.oldest(Duration::ZERO, 100 * NS, 7 * DAY), None, "it has only begun");
        assert_eq!(age.oldest(DAY, 101 * NS, 7 * DAY), Some(94 * NS));
        // Thirty days in a moment.
        assert_eq!(age.oldest(DAY, 131 * NS, 7 * DAY), Some(94 * NS));
        assert_eq!(age.oldest(2 * DAY, 132 * NS, 7 * DAY), Some(95 * NS));
        assert_eq!(age.oldest(8 * DAY, 138 * NS, 7 * DAY), Some(131 * NS), "what is left came after it");
    }

    #[test]
    fn clock_that_goes_back_or_a_little_ahead_changes_nothing() {
        let mut age = Age::new(Duration::ZERO, 100 * NS);
        age.oldest(DAY, 101 * NS, 7 * DAY);
        assert_eq!(age.oldest(DAY, 101 * NS + JUMP, 7 * DAY), Some(94 * NS + JUMP));
        assert_eq!(age.oldest(DAY, 50 * NS, 7 * DAY), Some(43 * NS));
    }
}

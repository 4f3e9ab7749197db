//! How long a receiver that did not take something is left alone.

use std::time::Duration;

/// Longest wait of our own choice.
const LONGEST: Duration = Duration::from_secs(60);
/// Longest wait that a receiver may ask for.
const ASKED: Duration = Duration::from_secs(3600);

/// Waits that double, each drawn between nothing and all of it (full jitter), so that a fleet does not come back at the same
/// moment.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    failures: u32,
}

impl Backoff {
    /// `first`: the first wait at most.
    pub fn new(first: Duration) -> Self {
        Self { first: first.clamp(Duration::from_millis(10), LONGEST), failures: 0 }
    }

    /// It works again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Whether the last try failed.
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// How long to wait after one more failure. `asked`: what the receiver said. `random`: any number.
    pub fn after_failure(&mut self, asked: Option<Duration>, random: u64) -> Duration {
        let most = self.first.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
        let own = most.mul_f64(share);
        asked.map_or(own, |asked| asked.min(ASKED) + own.min(Duration::from_secs(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_start_again_after_success() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        let waits: Vec<u64> =
            (0..8).map(|_| backoff.after_failure(None, u64::MAX).as_secs_f64().round() as u64).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        backoff.reset();
        assert!(!backoff.is_failing());
        assert!(backoff.after_failure(None, u64::MAX) <= Duration::from_secs(1));
    }

    #[test]
    fn wait_is_never_shorter_than_the_receiver_asked_for() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        for random in [0, u64::MAX / 2, u64::MAX] {
            let wait = backoff.after_failure(Some(Duration::from_secs(30)), random);
            assert!(wait >= Duration::from_secs(30) && wait <= Duration::from_secs(31));
        }
        assert!(backoff.after_failure(Some(Duration::MAX), 0) <= Duration::from_secs(3601));
    }
}

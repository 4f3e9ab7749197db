//! When a sink is tried, and with how much: retries, the circuit breaker, catching up.

use std::collections::VecDeque;
use std::time::Duration;

/// The longest wait between two attempts that the receiver did not ask for.
const LONGEST: Duration = Duration::from_secs(60);
/// The longest that a receiver may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);
/// After so many failures in a row only one alert at a time is tried.
const OPENS_AFTER: u32 = 3;
/// From an outage of this length on, what piled up is sent slowly.
const OUTAGE: Duration = Duration::from_secs(10);
/// What piled up is sent at most so fast: in no second more than so many.
const CATCH_UP: usize = 50;
/// How many of these may go at once.
const BURST: f64 = 25.0;
/// The second.
const WINDOW: Duration = Duration::from_secs(1);
/// A fleet that lost the same receiver does not come back at once: each agent waits up to this long.
const START_WITHIN: Duration = Duration::from_secs(5);

/// A number from 0 to below 1, for jitter.
pub(crate) type Dice = Box<dyn FnMut() -> f64 + Send>;

/// When a sink is tried.
pub(crate) struct Pace {
    base: Duration,
    dice: Dice,
    failures: u32,
    /// Since when it fails.
    since: Option<Duration>,
    not_before: Duration,
    /// How many alerts the next attempt may have, while it finds out.
    batch: usize,
    catch_up: Option<CatchUp>,
}

#[derive(Clone, Debug)]
struct CatchUp {
    start: Duration,
    tokens: f64,
    counted: Duration,
    /// When the last of them got leave.
    given: VecDeque<Duration>,
}

impl Pace {
    pub(crate) fn new(base: Duration, dice: Dice) -> Self {
        Self {
            base,
            dice,
            failures: 0,
            since: None,
            not_before: Duration::ZERO,
            batch: usize::MAX,
            catch_up: None,
        }
    }

    /// The system's dice.
    pub(crate) fn dice() -> Dice {
        Box::new(fastrand::f64)
    }

    /// Before this moment there is no attempt.
    pub(crate) fn not_before(&self) -> Duration {
        self.not_before
    }

    /// Most alerts of the next attempt.
    pub(crate) fn batch(&self, most: usize) -> usize {
        self.batch.min(most).max(1)
    }

    /// Whether it fails at the moment.
    pub(crate) fn failing(&self) -> bool {
        self.failures > 0
    }

    /// Failures in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// How long it has been failing.
    pub(crate) fn failing_for(&self, now: Duration) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }

    /// A wait before attempt `number` (from 1): full jitter below a doubling bound.
    fn backoff(&mut self, number: u32) -> Duration {
        let doubled = self.base.saturating_mul(1 << number.saturating_sub(1).min(16));
        let bound = doubled.min(LONGEST.max(self.base));
        bound.mul_f64((self.dice)())
    }

    /// The same, and not less than was asked for.
    pub(crate) fn wait(&mut self, number: u32, asked: Option<Duration>) -> Duration {
        self.backoff(number).max(asked.unwrap_or_default().min(LONGEST_ASKED))
    }

    /// The receiver took nothing of an attempt with so many alerts.
    pub(crate) fn failed(&mut self, now: Duration, tried: usize, asked: Option<Duration>) {
        self.failures = self.failures.saturating_add(1);
        self.since.get_or_insert(now);
        // One of them may be what it cannot take.
        self.batch = if self.failures >= OPENS_AFTER { 1 } else { (tried / 2).max(1) };
        self.not_before = now + self.wait(self.failures, asked);
    }

    /// The receiver took something. Whether it had been away so long that there is something to catch up with.
    pub(crate) fn succeeded(&mut self, now: Duration) -> bool {
        let outage = self.failing_for(now) >= OUTAGE;
        self.failures = 0;
        self.since = None;
        self.not_before = Duration::ZERO;
        self.batch = self.batch.saturating_mul(2);
        outage
    }

    /// The next attempt is made at once: something about the sink was changed.
    pub(crate) fn try_now(&mut self) {
        self.not_before = Duration::ZERO;
    }

    /// From now on what piled up is sent slowly.
    pub(crate) fn begin_catch_up(&mut self, now: Duration) {
        let start = now + START_WITHIN.mul_f64((self.dice)());
        self.catch_up = Some(CatchUp { start, tokens: 1.0, counted: start, given: VecDeque::new() });
    }

    /// What had piled up is sent.
    pub(crate) fn end_catch_up(&mut self) {
        self.catch_up = None;
    }

    /// Takes leave to send one of those that piled up; otherwise when to ask again.
    pub(crate) fn take_leave(&mut self, now: Duration) -> Result<(), Duration> {
        let Some(catch_up) = &mut self.catch_up else { return Ok(()) };
        if now < catch_up.start {
            return Err(catch_up.start);
        }
        let passed = now.saturating_sub(catch_up.counted).as_secs_f64();
        catch_up.counted = now;
        let rate = CATCH_UP as f64;
        catch_up.tokens = (catch_up.tokens + passed * rate).min(BURST);
        if catch_up.tokens < 1.0 {
            let wait = Duration::from_secs_f64((1.0 - catch_up.tokens) / rate);
            return Err(now + wait.max(Duration::from_millis(1)));
        }
        // What was saved goes on top of what comes, but not beyond the bound.
        while catch_up.given.front().is_some_and(|at| *at + WINDOW <= now) {
            catch_up.given.pop_front();
        }
        if let Some(first) = catch_up.given.front().filter(|_| catch_up.given.len() >= CATCH_UP) {
            return Err(*first + WINDOW);
        }
        catch_up.given.push_back(now);
        catch_up.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace(roll: f64) -> Pace {
        Pace::new(SECOND, Box::new(move || roll))
    }

    #[test]
    fn waits_double_up_to_a_minute() {
        let mut pace = pace(0.999_999_9);
        let mut waits = Vec::new();
        for _ in 0..9 {
            pace.failed(Duration::ZERO, 10, None);
            waits.push(pace.not_before().as_secs_f64().round());
        }
        assert_eq!(waits, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]);
    }

    #[test]
    fn a_wait_that_was_asked_for_is_kept_within_reason() {
        let mut pace = pace(0.0);
        pace.failed(Duration::ZERO, 10, Some(30 * SECOND));
        assert_eq!(pace.not_before(), 30 * SECOND);
        pace.failed(Duration::ZERO, 10, Some(Duration::MAX));
        assert_eq!(pace.not_before(), LONGEST_ASKED);
    }

    #[test]
    fn attempts_become_smaller_while_it_fails_and_larger_when_it_succeeds() {
        let mut pace = pace(0.0);
        assert_eq!(pace.batch(100), 100);
        pace.failed(Duration::ZERO, 100, None);
        assert_eq!(pace.batch(100), 50);
        pace.failed(Duration::ZERO, 50, None);
        pace.failed(Duration::ZERO, 25, None);
        assert_eq!(pace.batch(100), 1);
        pace.succeeded(Duration::ZERO);
        assert_eq!(pace.batch(100), 2);
    }

    #[test]
    fn what_piled_up_goes_at_fifty_a_second_after_a_random_wait() {
        let mut pace = pace(0.5);
        pace.begin_catch_up(Duration::ZERO);
        let mut now = Duration::ZERO;
        let mut sent = 0;
        while now < Duration::from_secs(12) {
            match pace.take_leave(now) {
                Ok(()) => sent += 1,
                Err(until) => now = until,
            }
        }
        // 2.5 s of waiting, then 9.5 s.
        assert!((470..=480).contains(&sent), "{sent}");
    }

    #[test]
    fn what_piled_up_goes_at_no_more_than_fifty_in_any_second_also_after_a_pause() {
        let mut pace = pace(0.0);
        pace.begin_catch_up(Duration::ZERO);
        let mut now = 3 * SECOND;
        let mut sent: Vec<Duration> = Vec::new();
        while now < 8 * SECOND {
            match pace.take_leave(now) {
                Ok(()) => sent.push(now),
                Err(until) => now = until,
            }
            if sent.len() == 150 {
                // The receiver takes its time with one.
                now = now.max(6 * SECOND);
            }
        }
        let most =
            sent.iter().map(|from| sent.iter().filter(|at| (*from..*from + SECOND).contains(*at)).count());
        assert_eq!(most.max(), Some(50), "{sent:?}");
    }

    #[test]
    fn only_a_long_outage_is_one_to_catch_up_with() {
        let mut pace = pace(0.0);
        pace.failed(Duration::ZERO, 1, None);
        assert!(!pace.succeeded(9 * SECOND));
        pace.failed(20 * SECOND, 1, None);
        pace.failed(25 * SECOND, 1, None);
        assert!(pace.succeeded(31 * SECOND));
    }
}

//! A sink, watched for what people have to know: it fails for minutes, it refuses whatever it is sent, it has no key. That is an
//! alert to every sink (`condition: sink-NAME`), said once, and so is its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::meter::Meter;
use super::notes::Notes;

/// A sink that fails so long is an alert of its own.
const SAY_AFTER: Duration = Duration::from_secs(300);
/// One that refused so many in a row and took none in between as well.
pub(super) const REFUSED: u64 = 5;

/// What is known of one sink.
pub(crate) struct Watch {
    sink: String,
    since: Option<Duration>,
    said: Arc<AtomicBool>,
    /// A fault is over when there was none for a while.
    not_over_before: Duration,
}

impl Watch {
    /// `said`: whether people were told before that it does not work.
    pub(crate) fn new(sink: String, said: Arc<AtomicBool>) -> Self {
        Self { sink, since: None, said, not_over_before: Duration::ZERO }
    }

    /// It was said before that it does not work.
    pub(crate) fn fell(&mut self, now: Duration) {
        self.said.store(true, Relaxed);
        self.not_over_before = now.saturating_add(SAY_AFTER);
    }

    /// It failed, and for so long.
    pub(crate) fn failed(&mut self, notes: &Notes, span: Duration, target: &str, reason: &str) {
        if span >= SAY_AFTER {
            self.say(notes, target, reason);
        }
    }

    /// It refused so many in a row.
    pub(crate) fn refused(&mut self, notes: &Notes, in_row: u64, target: &str, reason: &str) {
        if in_row >= REFUSED {
            self.say(notes, target, &format!("it refuses whatever it is sent, for good: {reason}"));
        }
    }

    /// People have to know at once.
    pub(crate) fn say(&mut self, notes: &Notes, target: &str, reason: &str) {
        if !self.said.swap(true, Relaxed) {
            notes.sink_fails(&self.sink, target, reason);
        }
    }

    /// It took something.
    pub(crate) fn works(&mut self, notes: &Notes, target: &str) {
        if self.said.swap(false, Relaxed) {
            notes.sink_works(&self.sink, target);
        }
    }

    /// Looks at what a sink with a state of its own tells. To be called every now and then.
    pub(crate) fn look(&mut self, meter: &Meter, now: Duration, notes: &Notes, target: &str) {
        if let Some(fault) = meter.take_fault() {
            self.say(notes, target, &fault);
        }
        if meter.refused_in_row() >= REFUSED {
            return self.refused(notes, meter.refused_in_row(), target, "the log has its answers");
        }
        if meter.is_failing() {
            let since = *self.since.get_or_insert(now);
            let reason = "its receiver does not take what is due; the log says why";
            return self.failed(notes, now.saturating_sub(since), target, reason);
        }
        self.since = None;
        if now >= self.not_over_before {
            self.works(notes, target);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::intake::Intake;
    use super::*;
    use crate::alert::State;
    use crate::config::Config;
    use crate::delivery::spool::testing::TestClock;

    struct Seen {
        watch: Watch,
        notes: Notes,
        intake: Arc<Intake>,
        meter: Meter,
    }

    impl Seen {
        fn new() -> Self {
            let envelope = crate::run::envelope(&Config::default(), "sha256:0", Path::new("/sys/fs/cgroup"));
            let intake = Arc::new(Intake::default());
            let notes = Notes::new(envelope, TestClock::new(), Arc::clone(&intake));
            let meter = Meter::default();
            Self { watch: Watch::new("pager".to_owned(), meter.said()), notes, intake, meter }
        }

        fn at(&mut self, seconds: u64) -> Vec<State> {
            self.watch.look(&self.meter, Duration::from_secs(seconds), &self.notes, "https://pager.example");
            let arrivals = self.intake.take(Duration::ZERO).unwrap();
            arrivals.into_iter().map(|arrival| arrival.alert.state).collect()
        }
    }

    #[test]
    fn failing_for_minutes_is_said_once_and_so_is_its_end() {
        let mut seen = Seen::new();
        let mut said = |failing, seconds| {
            seen.meter.failing(failing);
            seen.at(seconds)
        };
        assert_eq!(said(true, 0), []);
        assert_eq!(said(false, 100), []);
        assert_eq!(said(true, 200), []);
        assert_eq!(said(true, 400), [], "it worked in between");
        assert_eq!(said(true, 500), [State::Open]);
        assert_eq!(said(true, 900), []);
        assert_eq!(said(false, 901), [State::Closed]);
        assert_eq!(said(false, 902), []);
    }

    #[test]
    fn refusing_everything_is_said_and_ends_with_the_first_that_is_taken() {
        let mut seen = Seen::new();
        (1..REFUSED).for_each(|_| seen.meter.rejected());
        assert_eq!(seen.at(1), []);
        seen.meter.rejected();
        assert_eq!(seen.at(2), [State::Open]);
        seen.meter.rejected();
        assert_eq!(seen.at(3), []);
        seen.meter.sent(1, 1, 1);
        assert_eq!(seen.at(4), [State::Closed]);
    }

    #[test]
    fn missing_key_is_said_at_once_and_ends_when_it_is_there() {
        let mut seen = Seen::new();
        seen.meter.fault("no key");
        assert_eq!(seen.at(0), [State::Open]);
        seen.meter.fault("no key");
        assert_eq!(seen.at(1), []);
        seen.meter.failing(false);
        assert_eq!(seen.at(2), [State::Closed]);
    }

    #[test]
    fn fault_is_over_after_a_while_without_another() {
        let mut seen = Seen::new();
        seen.watch.fell(Duration::from_secs(10));
        assert_eq!(seen.at(20), []);
        assert_eq!(seen.at(310), [State::Closed]);
    }
}

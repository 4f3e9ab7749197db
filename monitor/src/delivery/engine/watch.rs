//! A sink with a state of its own, watched from outside: that it fails for a while is an alert to every sink, as it is for one
//! that a worker drives.

use std::time::Duration;

use super::notes::Notes;
use super::worker::SAY_AFTER;

/// What is known of one sink.
pub(crate) struct Watch {
    sink: String,
    target: String,
    since: Option<Duration>,
    said: bool,
}

impl Watch {
    pub(crate) fn new(sink: String, target: String) -> Self {
        Self { sink, target, since: None, said: false }
    }

    /// To be called every now and then.
    pub(crate) fn look(&mut self, failing: bool, now: Duration, notes: &Notes) {
        if !failing {
            self.since = None;
            if std::mem::take(&mut self.said) {
                notes.sink_works(&self.sink, &self.target);
            }
            return;
        }
        let since = *self.since.get_or_insert(now);
        if !self.said && now.saturating_sub(since) >= SAY_AFTER {
            self.said = true;
            notes.sink_fails(
                &self.sink,
                &self.target,
                "its receiver does not take what is due; the log says why",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::super::intake::Intake;
    use super::*;
    use crate::alert::State;
    use crate::config::Config;
    use crate::delivery::spool::testing::TestClock;

    #[test]
    fn failing_for_minutes_is_said_once_and_so_is_its_end() {
        let envelope = crate::run::envelope(&Config::default(), "sha256:0", Path::new("/sys/fs/cgroup"));
        let intake = Arc::new(Intake::default());
        let notes = Notes::new(envelope, TestClock::new(), Arc::clone(&intake));
        let mut watch = Watch::new("pager".to_owned(), "https://pager.example".to_owned());
        let at = Duration::from_secs;
        let mut said = |failing, seconds| {
            watch.look(failing, at(seconds), &notes);
            let arrivals = intake.take(Duration::ZERO).unwrap();
            arrivals.into_iter().map(|arrival| arrival.alert.state).collect::<Vec<_>>()
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
}

//! The thread that appends.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::dead::{DeadLetters, Letter};
use super::filter::Filter;
use super::intake::{Arrival, Intake};
use super::meter::{Dropped, Meter};
use super::notes::Notes;
use crate::alert::SafeAlert;
use crate::delivery::spool::{Event, Writer, nanoseconds};
use crate::delivery::{Class, Clock, Record, caught};
use crate::ledger::What;

/// How often people's wish to send dead letters again is looked for.
const REPLAY_EVERY: Duration = Duration::from_secs(1);
/// After so many, sinks are woken and what was appended is told of.
const TOGETHER: usize = 32;
/// After a fault of its own it rests, lest it does nothing else.
const AFTER_FAULT: Duration = Duration::from_secs(1);

/// What it works with.
pub(crate) struct Spooler {
    pub(crate) writer: Writer,
    pub(crate) intake: Arc<Intake>,
    pub(crate) sinks: Vec<(String, Filter, Arc<Meter>)>,
    pub(crate) notes: Arc<Notes>,
    pub(crate) dead: Arc<DeadLetters>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) looked: Option<Duration>,
    /// Where sinks' sockets or files are not: only the state directory is looked into.
    pub(crate) state_dir: Option<PathBuf>,
}

impl Spooler {
    /// Appends what comes until nothing more will.
    pub(crate) fn run(mut self) {
        loop {
            match caught(|| self.turn()) {
                Ok(true) => {}
                Ok(false) => break,
                Err(reason) => {
                    // Without this thread nothing would be delivered any more.
                    tracing::error!(reason, "appending to the spool failed; it goes on");
                    std::thread::sleep(AFTER_FAULT);
                }
            }
        }
        self.writer.finish();
        self.log_noted();
    }

    /// Appends what came. `false`: nothing more will.
    fn turn(&mut self) -> bool {
        let arrivals = self.intake.take(self.writer.due());
        arrivals.is_some_and(|arrivals| {
            self.take(arrivals);
            true
        })
    }

    /// Appends these, and does what is due.
    pub(crate) fn take(&mut self, arrivals: Vec<Arrival>) {
        let (mut faults, logs) = (0, self.intake.is_logged());
        let mut arrivals = arrivals.into_iter();
        while arrivals.len() > 0 {
            // What is told of each would cost more than the little that it comes later.
            let (mut tickets, mut entries) = (Vec::new(), Vec::new());
            for mut arrival in arrivals.by_ref().take(TOGETHER) {
                tickets.extend(arrival.ticket.take());
                match caught(|| self.take_one(arrival, logs)) {
                    Ok(entry) => entries.extend(entry),
                    Err(reason) => {
                        tracing::error!(reason, "an alert could not be spooled");
                        faults += 1;
                    }
                }
            }
            self.writer.ring();
            self.intake.appended(tickets);
            self.intake.logged(entries);
        }
        self.writer.tick();
        self.tell_events();
        let (left_out, tickets) = self.intake.take_left_out();
        for left in left_out {
            self.writer.leave_out(&left);
        }
        self.intake.appended(tickets);
        self.log_noted();
        self.refuse(faults, "a fault of the agent itself: its log has the place; please report it");
        self.replay();
        self.writer.ring();
    }

    /// What the local log has to say of it, if it `logs`.
    fn take_one(&mut self, arrival: Arrival, logs: bool) -> Option<What> {
        let Arrival { class, accepted, alert, only, .. } = arrival;
        let sinks: Vec<usize> = match only {
            Some(sink) => vec![sink],
            // By the alert as it was raised: what has to be cut from a large one must not decide who hears of it.
            None => (0..self.sinks.len()).filter(|sink| self.sinks[*sink].1.takes(&alert)).collect(),
        };
        let record = Record { class, accepted, alert: SafeAlert::new(*alert) };
        // The digest is of what is sent, so it is made where that is made.
        let entry = logs.then(|| What::alert(&record.alert));
        self.append(record, &sinks);
        entry
    }

    /// What sinks were told of as gone is in the local log like everything else that they were told.
    fn log_noted(&mut self) {
        let noted = self.writer.take_noted();
        if self.intake.is_logged() {
            self.intake.logged(noted.iter().map(What::alert).collect::<Vec<_>>());
        }
    }

    /// Some are in no stream.
    fn refuse(&self, count: u64, why: &str) {
        if count > 0 {
            self.sinks.iter().for_each(|(_, _, meter)| meter.dropped(Dropped::Refused, count));
            self.notes.refused(count, why);
        }
    }

    /// What became of the disk; whether it broke.
    fn tell_events(&mut self) -> bool {
        let mut broke = false;
        for event in self.writer.take_events() {
            broke |= matches!(event, Event::Broken(_));
            self.notes.spool(event);
        }
        broke
    }

    fn append(&mut self, record: Record, sinks: &[usize]) {
        for sink in sinks {
            if let Some((_, _, meter)) = self.sinks.get(*sink) {
                meter.queued();
            }
        }
        self.writer.append(record, sinks);
    }

    /// Dead letters that people want sent again. Their file goes once they are in the spool, and that on the disk.
    fn replay(&mut self) {
        let now = self.clock.monotonic();
        let looked = self.looked.is_some_and(|looked| now.saturating_sub(looked) < REPLAY_EVERY);
        if self.state_dir.is_none() || looked || !self.is_on_disk() {
            return;
        }
        self.looked = Some(now);
        let dead = Arc::clone(&self.dead);
        for file in dead.replayed() {
            let name = file.shown();
            let known = |sink: &str| self.sinks.iter().any(|(name, ..)| name == sink);
            if let Some(sink) = file.sink.as_deref().filter(|sink| !known(sink)) {
                match dead.put_back(&file) {
                    Ok(()) => tracing::warn!(sink, "the dead letters of a sink that is not configured stay"),
                    Err(error) => tracing::warn!(sink, name, %error, "dead letters cannot be put back"),
                }
                continue;
            }
            let mut problems = Vec::new();
            let read = file.read(|letter| self.again(letter), &mut problems);
            for problem in problems {
                tracing::warn!(problem, "dead letters");
            }
            self.writer.sync(true);
            let kept = !self.tell_events() && self.is_on_disk();
            let gone = match read {
                Err(error) => Err(error),
                Ok(()) if !kept => {
                    Err(std::io::Error::other("the spool's disk takes nothing; they come again"))
                }
                Ok(()) => file.remove(),
            };
            if let Err(error) = gone {
                tracing::warn!(name, %error, "dead letters stay, and may be sent twice");
            }
        }
    }

    fn again(&mut self, letter: Letter) {
        let Letter { time, sink, seq, reason, alert } = letter;
        let Some(at) = self.sinks.iter().position(|(name, ..)| *name == sink) else {
            tracing::warn!(sink, "a dead letter of a sink that is not configured stays");
            let alert = SafeAlert::new(alert);
            let letter = Letter { time, sink: sink.clone(), seq, reason, alert: &alert };
            let kept = self.dead.keep(&sink, &[letter]);
            if let Err(error) = kept.result {
                tracing::error!(sink, %error, "the dead letter could not be kept");
            }
            return;
        };
        let accepted = nanoseconds(&*self.clock);
        let record = Record { class: Class::of(&alert), accepted, alert: SafeAlert::new(alert) };
        self.append(record, &[at]);
    }

    /// Whether nothing is in memory alone.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.writer.shared().lock().classes.iter().all(|log| log.unstored() == 0)
    }
}

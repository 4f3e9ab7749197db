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
use crate::delivery::spool::{Writer, nanoseconds};
use crate::delivery::{Class, Clock, Record};
use crate::ledger::What;

/// How often people's wish to send dead letters again is looked for.
const REPLAY_EVERY: Duration = Duration::from_secs(1);

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
        while let Some(arrivals) = self.intake.take(self.writer.due()) {
            self.take(arrivals);
        }
        self.writer.finish();
    }

    /// Appends these, and does what is due.
    pub(crate) fn take(&mut self, arrivals: Vec<Arrival>) {
        for Arrival { class, accepted, alert, only, ticket, .. } in arrivals {
            let record = Record { class, accepted, alert: SafeAlert::new(*alert) };
            let sinks: Vec<usize> = match only {
                Some(sink) => vec![sink],
                None => {
                    (0..self.sinks.len()).filter(|sink| self.sinks[*sink].1.takes(&record.alert)).collect()
                }
            };
            // The digest is of what is sent, so it is made where that is made.
            let entry = self.intake.is_logged().then(|| What::alert(&record.alert));
            self.append(record, &sinks);
            if let Some(entry) = entry {
                self.intake.logged(entry);
            }
            if let Some(ticket) = ticket {
                self.intake.appended(ticket);
            }
        }
        self.writer.tick();
        for event in self.writer.take_events() {
            self.notes.spool(event);
        }
        let refused = self.intake.take_refused().iter().sum::<u64>();
        if refused > 0 {
            self.sinks.iter().for_each(|(_, _, meter)| meter.dropped(Dropped::Refused, refused));
            self.notes.refused(refused);
        }
        self.replay();
    }

    fn append(&mut self, record: Record, sinks: &[usize]) {
        for sink in sinks {
            if let Some((_, _, meter)) = self.sinks.get(*sink) {
                meter.queued();
            }
        }
        self.writer.append(record, sinks);
    }

    /// Dead letters that people want sent again.
    fn replay(&mut self) {
        if self.state_dir.is_none() {
            return;
        }
        let now = self.clock.monotonic();
        if self.looked.is_some_and(|looked| now.saturating_sub(looked) < REPLAY_EVERY) {
            return;
        }
        self.looked = Some(now);
        let dead = Arc::clone(&self.dead);
        let mut strangers = Vec::new();
        let problems = dead.take_replayed(|letter| {
            match self.sinks.iter().position(|(name, ..)| *name == letter.sink) {
                Some(sink) => {
                    let accepted = nanoseconds(&*self.clock);
                    let class = Class::of(&letter.alert);
                    self.append(Record { class, accepted, alert: SafeAlert::new(letter.alert) }, &[sink]);
                }
                None => strangers.push(letter),
            }
        });
        for problem in problems {
            tracing::warn!(problem, "dead letters");
        }
        for Letter { time, sink, seq, reason, alert } in strangers {
            tracing::warn!(sink, "a dead letter of a sink that is not configured stays");
            let alert = SafeAlert::new(alert);
            let letter = Letter { time, sink, seq, reason, alert: &alert };
            if let Err(error) = dead.keep(&letter) {
                tracing::error!(sink = letter.sink, %error, "the dead letter could not be kept");
            }
        }
    }
}

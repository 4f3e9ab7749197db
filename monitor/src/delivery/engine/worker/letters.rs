//! What a receiver refuses for good becomes a dead letter; one that cannot be written waits, and its place in the spool with it.

use std::time::Duration;

use super::{Flight, Worker};
use crate::delivery::engine::dead::{DEAD_LETTERS, Kept, Letter, Lost, Waiting};
use crate::delivery::engine::meter::Dropped;
use crate::delivery::spool::{Done, Entry};

impl Worker {
    pub(super) fn dealt_with(&mut self, entry: &Entry, seq: u64) {
        self.done.push(Done { class: entry.record.class, number: entry.number, seq });
    }

    /// A dead letter.
    pub(super) fn bury(&mut self, flight: Flight, reason: String) {
        self.parts.meter.rejected();
        let id = &flight.entry.record.alert.id;
        tracing::error!(sink = self.parts.name, id, reason, "the receiver refuses an alert for good");
        let time = self.parts.clock.wall().to_string();
        let letter = Waiting { time, seq: flight.seq, reason, entry: flight.entry };
        if let Err(letter) = self.keep(letter) {
            self.unkept.failed(self.parts.clock.monotonic());
            if let Some(lost) = self.unkept.add(letter) {
                self.lose(&lost);
            }
        }
    }

    /// Writes a dead letter; gives it back if it cannot be written.
    fn keep(&mut self, letter: Waiting) -> Result<(), Waiting> {
        let Kept { result, lost } = self.parts.dead.keep(&Letter {
            time: letter.time.clone(),
            sink: self.parts.name.clone(),
            seq: letter.seq,
            reason: letter.reason.clone(),
            alert: &letter.entry.record.alert,
        });
        self.parts.meter.dropped(Dropped::Letter, lost.count);
        self.unkept.lose(&lost, false);
        match result {
            Ok(()) => {
                self.refused += 1;
                self.dealt_with(&letter.entry, letter.seq);
                Ok(())
            }
            Err(error) => {
                tracing::error!(sink = self.parts.name, %error, "a dead letter cannot be written; it waits");
                Err(letter)
            }
        }
    }

    /// There is no more room for this one.
    fn lose(&mut self, letter: &Waiting) {
        let alert = &letter.entry.record.alert;
        let about_letters = alert.gap.as_ref().is_some_and(|gap| gap.reason == DEAD_LETTERS);
        let mut lost = Lost::default();
        lost.add(letter.seq, alert);
        self.parts.meter.dropped(Dropped::Letter, 1);
        self.unkept.lose(&lost, about_letters);
        self.refused += 1;
        self.dealt_with(&letter.entry, letter.seq);
    }

    /// Tries again to write what could not be written, and says what is lost.
    pub(super) fn keep_letters(&mut self, now: Duration) {
        while let Some(letter) = self.unkept.due(now) {
            match self.keep(letter) {
                Ok(()) => self.unkept.wrote(),
                Err(letter) => self.unkept.back(letter, now),
            }
        }
        let takes = self.refused_in_row == 0 && !self.parts.pace.failing();
        if let Some(lost) = self.unkept.say(now, takes) {
            self.parts.notes.letters_lost(self.parts.sink, &self.parts.name, &lost);
        }
    }
}

//! What a receiver refuses for good becomes a dead letter; one that cannot be written waits, and its place in the spool with it.

use std::time::Duration;

use super::{Flight, Worker};
use crate::alert::SafeAlert;
use crate::delivery::engine::dead::{DEAD_LETTERS, Kept, Letter, Lost, Waiting};
use crate::delivery::engine::meter::Dropped;
use crate::delivery::spool::{Done, Entry};

impl Worker {
    pub(super) fn dealt_with(&mut self, entry: &Entry, seq: u64) {
        self.done.push(Done { class: entry.record.class, number: entry.number, seq });
    }

    /// These are dead letters.
    pub(super) fn bury(&mut self, refused: Vec<(Flight, String)>) {
        let time = self.parts.clock.wall().to_string();
        let mut letters = Vec::with_capacity(refused.len());
        for (flight, reason) in refused {
            self.parts.meter.rejected();
            let id = &flight.entry.record.alert.id;
            tracing::error!(sink = self.parts.name, id, reason, "the receiver refuses an alert for good");
            letters.push(Waiting { time: time.clone(), seq: flight.seq, reason, entry: flight.entry });
        }
        let left = self.keep(letters);
        if !left.is_empty() {
            self.unkept.failed(self.parts.clock.monotonic());
        }
        for letter in left {
            if let Some(lost) = self.unkept.add(letter) {
                self.lose(&lost);
            }
        }
    }

    /// Writes dead letters, and lets them go once they are on the disk for good. Gives back those that cannot be written.
    fn keep(&mut self, mut letters: Vec<Waiting>) -> Vec<Waiting> {
        if letters.is_empty() {
            return letters;
        }
        let lines: Vec<Letter<&SafeAlert>> = letters
            .iter()
            .map(|letter| Letter {
                time: letter.time.clone(),
                sink: self.parts.name.clone(),
                seq: letter.seq,
                reason: letter.reason.clone(),
                alert: &letter.entry.record.alert,
            })
            .collect();
        let Kept { count, result, lost } = self.parts.dead.keep(&self.parts.name, &lines);
        self.parts.meter.dropped(Dropped::Letter, lost.count);
        self.unkept.lose(&lost, false);
        let left = letters.split_off(count.min(letters.len()));
        for letter in letters {
            self.refused += 1;
            self.dealt_with(&letter.entry, letter.seq);
        }
        if let Err(error) = result {
            let waiting = left.len();
            tracing::error!(sink = self.parts.name, waiting, %error, "dead letters cannot be written; they wait");
        }
        left
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
        let due = self.unkept.due(now);
        if !due.is_empty() {
            match self.keep(due) {
                left if left.is_empty() => self.unkept.wrote(),
                left => self.unkept.back(left, now),
            }
        }
        let takes = self.refused_in_row == 0 && !self.parts.pace.failing();
        if let Some(lost) = self.unkept.say(now, takes) {
            self.parts.notes.letters_lost(self.parts.sink, &self.parts.name, &lost);
        }
    }
}

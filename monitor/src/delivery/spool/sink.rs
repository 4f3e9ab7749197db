//! What the spool knows of one sink: how far it is, what waits for it, and whose numbers it gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cursor::Cursor;
use super::format::SinkKey;
use crate::alert::Alert;
use crate::delivery::Record;

/// How far a sink is, and what it is to do.
#[derive(Debug)]
pub(crate) struct SinkState {
    pub(crate) key: SinkKey,
    pub(crate) cursor: Cursor,
    /// `at` of the cursor that is in its file.
    pub(crate) saved: [u64; 3],
    /// Numbers are given without a promise on disk: there is no disk, or it takes none, and then the stream is in memory
    /// only and cannot be gone on with by anybody else.
    pub(crate) unbound: bool,
    /// By class: records that wait for it or are being sent.
    pub(crate) waiting: [u64; 3],
    /// By class: the number after the newest record that is for it.
    pub(crate) last: [u64; 3],
    /// By class: what it has dealt with beyond its cursor, with the numbers in its stream.
    pub(crate) ahead: [BTreeMap<u64, u64>; 3],
    /// By class: the lowest number that a waiting record tells of as gone.
    pub(crate) told: [Option<u64>; 3],
    /// By class: how far it was, and the number that belongs to that, before an eviction that is not told on disk yet. No cursor
    /// is written beyond: a kill now would leave numbers that are neither there nor named.
    untold: [Option<(u64, u64)>; 3],
    /// Something came since it last looked.
    pub(crate) rung: bool,
    /// How often its files were to be opened again, and for how many of these they were.
    pub(crate) reopen: u64,
    pub(crate) reopened: u64,
    /// Somebody waits until everything is dealt with.
    pub(crate) settle: bool,
    /// The newest heartbeat that it has not sent.
    pub(crate) heartbeat: Option<Arc<Record>>,
}

impl SinkState {
    pub(crate) fn new(cursor: Cursor) -> Self {
        Self {
            key: super::key(&cursor.sink),
            saved: cursor.at,
            cursor,
            unbound: false,
            waiting: [0; 3],
            last: [0; 3],
            ahead: Default::default(),
            told: [None; 3],
            untold: [None; 3],
            rung: false,
            reopen: 0,
            reopened: 0,
            settle: false,
            heartbeat: None,
        }
    }

    /// Whether it has dealt with this record of a class.
    pub(crate) fn has(&self, order: usize, number: u64) -> bool {
        number < self.cursor.at[order] || self.ahead[order].contains_key(&number)
    }

    /// A record of a class, whose number is this, came; so many numbers of its stream are given with it, none if it is not for it.
    pub(crate) fn came(&mut self, order: usize, number: u64, given: u64) {
        if given > 0 {
            self.waiting[order] += 1;
            self.last[order] = number + 1;
            self.cursor.next += given;
        } else if self.cursor.at[order] >= self.last[order] {
            // Nothing of this class waits for it, and neither does this one.
            self.cursor.at[order] = number + 1;
        }
    }

    /// It has dealt with a record.
    pub(crate) fn dealt(&mut self, order: usize, number: u64, seq: u64) {
        // What was evicted meanwhile is counted already.
        if number >= self.cursor.at[order] && self.ahead[order].insert(number, seq).is_none() {
            self.waiting[order] = self.waiting[order].saturating_sub(1);
        }
    }

    /// Everything of a class below `at` is dealt with, or gone and named; `next` is the number of the next record.
    pub(crate) fn move_to(&mut self, order: usize, at: u64, next: u64) {
        let at = at.max(self.cursor.at[order]);
        let beyond = self.ahead[order].split_off(&at);
        let behind = std::mem::replace(&mut self.ahead[order], beyond);
        if let Some(seq) = behind.into_values().max() {
            self.cursor.seq[order] = self.cursor.seq[order].max(seq);
        }
        self.cursor.at[order] = at;
        if at >= self.last[order] {
            self.cursor.at[order] = at.max(next);
            self.waiting[order] = 0;
            self.told[order] = None;
        }
    }

    /// Records of a class go that wait for it; what tells of them is about to be written.
    pub(crate) fn loses(&mut self, order: usize) {
        self.untold[order].get_or_insert((self.cursor.at[order], self.cursor.seq[order]));
    }

    /// Everything that went is told on disk.
    pub(crate) fn is_told(&mut self) {
        self.untold = [None; 3];
    }

    /// A record of a class that waits for it tells of others that went.
    pub(crate) fn tells(&mut self, order: usize, alert: &Alert) {
        let runs = alert.gap.iter().flat_map(|gap| &gap.sequences).map(|run| run[0]);
        self.told[order] = runs.chain(self.told[order]).min();
    }

    /// The cursor as it is to be written now; `ends`: by class, records below this number are in a file.
    pub(crate) fn to_save(&self, ends: [u64; 3]) -> Cursor {
        let mut cursor = self.cursor.clone();
        cursor.ends = ends;
        for (order, untold) in self.untold.into_iter().enumerate() {
            if let Some((at, seq)) = untold {
                (cursor.at[order], cursor.seq[order]) = (at, seq);
            }
        }
        let waits = |order: &usize| cursor.at[*order] < self.last[*order];
        let told = self.told.into_iter().flatten();
        let first = (0..3).filter(waits).map(|order| cursor.seq[order] + 1).chain(told).min();
        cursor.dealt = first.unwrap_or(cursor.next);
        cursor
    }

    /// From its next number on it has another stream. How the one before was called.
    pub(crate) fn begin_stream(&mut self) -> String {
        self.unbound = true;
        let kept = self.waiting.iter().sum::<u64>() > 0;
        self.cursor.begin_stream(kept)
    }
}

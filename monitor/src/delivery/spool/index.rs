//! What is in the spool and how far each sink is: shared by the one thread that appends and those that read.
//!
//! Records have numbers that rise within a class. The newest of a class are also in memory (`tail`), so that a sink that
//! keeps up never reads a file; what could not be written to disk is only there. Nothing here touches a disk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::format::{SinkKey, Sort};
use super::segment::Segment;
use super::sink::SinkState;
use crate::delivery::{Class, Record};

/// A record of the spool.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its number in its class.
    pub(crate) number: u64,
    pub(crate) sort: Sort,
    /// The sinks that it is for, with its number in the stream of each.
    pub(crate) seqs: Vec<(SinkKey, u64)>,
    /// Bytes of its JSON.
    pub(crate) size: usize,
    pub(crate) record: Record,
}

impl Entry {
    /// Its number in a sink's stream, if it is for that sink.
    pub(crate) fn seq(&self, key: SinkKey) -> Option<u64> {
        seq_of(&self.seqs, key)
    }
}

pub(crate) fn seq_of(seqs: &[(SinkKey, u64)], key: SinkKey) -> Option<u64> {
    seqs.iter().find(|(sink, _)| *sink == key).map(|(_, seq)| *seq)
}

/// One class.
#[derive(Debug, Default)]
pub(crate) struct ClassLog {
    /// The number that the next record gets.
    pub(crate) next: u64,
    pub(crate) segments: VecDeque<Segment>,
    /// The newest records, without holes between their numbers.
    pub(crate) tail: VecDeque<Arc<Entry>>,
    pub(crate) tail_bytes: usize,
    /// Records below this number are on disk, or gone; those from it on are only in memory.
    pub(crate) stored: u64,
    /// Bytes of the latter.
    pub(crate) unstored_bytes: usize,
}

impl ClassLog {
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// How many records are only in memory.
    pub(crate) fn unstored(&self) -> u64 {
        self.next - self.stored
    }

    /// Adds the next record, which is on disk or is not.
    pub(crate) fn push(&mut self, entry: Arc<Entry>, on_disk: bool) {
        self.next = entry.number + 1;
        if on_disk {
            self.stored = self.next;
        } else {
            self.unstored_bytes += entry.size;
        }
        self.tail_bytes += entry.size;
        self.tail.push_back(entry);
    }

    /// The oldest that is only in memory was written.
    pub(crate) fn wrote(&mut self, entry: &Entry) {
        self.stored = entry.number + 1;
        self.unstored_bytes = self.unstored_bytes.saturating_sub(entry.size);
    }

    /// Takes the oldest out of memory; whether it was only there.
    pub(crate) fn pop(&mut self) -> Option<(Arc<Entry>, bool)> {
        let entry = self.tail.pop_front()?;
        self.tail_bytes -= entry.size;
        let only_here = entry.number >= self.stored;
        if only_here {
            self.wrote(&entry);
        }
        Some((entry, only_here))
    }

    /// Lets go of what every sink has (below `dealt_with`), and of what is on disk beyond `most` bytes.
    pub(crate) fn shorten(&mut self, dealt_with: u64, most: usize) {
        while let Some(front) = self.tail.front() {
            let spare = front.number < self.stored && self.tail_bytes > most && self.tail.len() > 1;
            if front.number >= dealt_with && !spare {
                break;
            }
            self.pop();
        }
    }

    /// The number of the oldest record that is still here at or after `number`.
    pub(crate) fn from(&self, number: u64) -> u64 {
        let on_disk = self.segments.iter().find(|segment| segment.end > number).map(|s| s.first.max(number));
        let in_memory = self
            .tail
            .back()
            .filter(|last| last.number >= number)
            .and(self.tail.front())
            .map(|e| e.number.max(number));
        on_disk.into_iter().chain(in_memory).min().unwrap_or(self.next)
    }
}

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) classes: [ClassLog; 3],
    pub(crate) sinks: Vec<SinkState>,
    /// By class: records below this number are of an earlier run.
    pub(crate) earlier: [u64; 3],
    /// The file system has too little room left: the spool does not grow.
    pub(crate) nearly_full: bool,
    /// The disk takes nothing.
    pub(crate) broken: bool,
    /// The agent is ending: until when, of the monotonic clock.
    pub(crate) ending: Option<Duration>,
}

impl Index {
    /// Bytes of what is only in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.classes.iter().map(|log| log.unstored_bytes).sum()
    }

    pub(crate) fn log(&mut self, class: Class) -> &mut ClassLog {
        &mut self.classes[class.order()]
    }

    /// Every record of a class below this number is dealt with by every sink.
    pub(crate) fn dealt_with(&self, class: Class) -> u64 {
        let at = self.sinks.iter().map(|sink| sink.cursor.at[class.order()]);
        at.min().unwrap_or(u64::MAX)
    }

    /// The same, and the file of every sink's cursor says so: a restart needs none of them.
    pub(crate) fn done_with(&self, class: Class) -> u64 {
        let at = self.sinks.iter().map(|sink| sink.saved[class.order()]);
        at.min().unwrap_or(u64::MAX)
    }

    /// Sinks whose cursor's file says less than that.
    pub(crate) fn unsaved(&self, class: Class, number: u64) -> Vec<usize> {
        let order = class.order();
        let sinks = self.sinks.iter().enumerate();
        sinks.filter(|(_, s)| s.saved[order] < number.min(s.cursor.at[order])).map(|(at, _)| at).collect()
    }
}

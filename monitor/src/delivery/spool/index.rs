//! What is in the spool and how far each sink is: shared by the one thread that appends and those that read.
//!
//! Records have numbers that rise within a class. The newest of a class are also in memory (`tail`), so that a sink that
//! keeps up never reads a file; what could not be written to disk is only there. Nothing here touches a disk.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::cursor::Cursor;
use super::format::{SinkKey, Sort};
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

/// A segment on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) id: u64,
    pub(crate) path: PathBuf,
    pub(crate) first: u64,
    /// The number after its last record.
    pub(crate) end: u64,
    /// Its good bytes.
    pub(crate) bytes: u64,
    /// When its newest record was accepted.
    pub(crate) newest: i64,
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
    fn from(&self, number: u64) -> u64 {
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

/// How far a sink is, and what it is to do.
#[derive(Debug)]
pub(crate) struct SinkState {
    pub(crate) key: SinkKey,
    pub(crate) cursor: Cursor,
    /// By class: records that wait for it or are being sent.
    pub(crate) waiting: [u64; 3],
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

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) classes: [ClassLog; 3],
    pub(crate) sinks: Vec<SinkState>,
    /// The agent is ending: until when, of the monotonic clock.
    pub(crate) ending: Option<Duration>,
}

impl Index {
    pub(crate) fn log(&mut self, class: Class) -> &mut ClassLog {
        &mut self.classes[class.order()]
    }

    /// Every record of a class below this number is dealt with by every sink.
    pub(crate) fn dealt_with(&self, class: Class) -> u64 {
        let at = self.sinks.iter().map(|sink| sink.cursor.at[class.order()]);
        at.min().unwrap_or(u64::MAX)
    }
}

/// The index, and a bell for each sink.
#[derive(Debug)]
pub(crate) struct Shared {
    index: Mutex<Index>,
    bells: Vec<Condvar>,
    /// Held while a cursor is written: two threads would write to the same half file.
    saving: Mutex<()>,
    /// Where cursors are kept; nowhere for a spool in memory.
    pub(crate) folder: Option<PathBuf>,
}

/// Where the next record of a class is.
#[derive(Debug)]
pub(crate) enum Place {
    /// Here.
    Memory(Arc<Entry>, u64),
    /// In this segment, in its bytes below `bytes`.
    Disk(Segment),
    /// Nothing there; go on at this number.
    Nothing(u64),
}

impl Shared {
    pub(crate) fn new(index: Index, folder: Option<PathBuf>) -> Self {
        let bells = index.sinks.iter().map(|_| Condvar::new()).collect();
        Self { index: Mutex::new(index), bells, saving: Mutex::new(()), folder }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Index> {
        // Nothing panics while it is held; if something did, what is there is still consistent enough to go on with.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes a sink.
    pub(crate) fn ring(&self, index: &mut Index, sink: usize) {
        if let Some(state) = index.sinks.get_mut(sink) {
            state.rung = true;
        }
        if let Some(bell) = self.bells.get(sink) {
            bell.notify_all();
        }
    }

    pub(crate) fn ring_all(&self, index: &mut Index) {
        (0..self.bells.len()).for_each(|sink| self.ring(index, sink));
    }

    /// Waits until the sink is rung for, at most so long.
    pub(crate) fn wait(&self, sink: usize, most: Duration) {
        let Some(bell) = self.bells.get(sink) else { return };
        let rung = |index: &Index| index.sinks.get(sink).is_none_or(|state| state.rung);
        let guard = self.lock();
        let (mut guard, _) = bell
            .wait_timeout_while(guard, most, |index| !rung(index))
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = guard.sinks.get_mut(sink) {
            state.rung = false;
        }
    }

    /// Where the first record at or after `number` is that is for this sink.
    pub(crate) fn find(&self, class: Class, number: u64, key: SinkKey) -> Place {
        let index = self.lock();
        let log = &index.classes[class.order()];
        let number = log.from(number);
        if log.tail.front().is_some_and(|first| first.number <= number) {
            let found = log
                .tail
                .iter()
                .skip(skip(&log.tail, number))
                .find_map(|entry| Some((entry, entry.seq(key)?)));
            return match found {
                Some((entry, seq)) => Place::Memory(Arc::clone(entry), seq),
                None => Place::Nothing(log.next),
            };
        }
        match log.segments.iter().find(|segment| segment.end > number) {
            Some(segment) => Place::Disk(segment.clone()),
            None => Place::Nothing(number),
        }
    }

    /// A sink has dealt with everything below `at`, and with these records beyond what it told before.
    pub(crate) fn advance(&self, sink: usize, at: [u64; 3], done: &[Done]) {
        let mut index = self.lock();
        let next = [0, 1, 2].map(|order| index.classes[order].next);
        let Some(state) = index.sinks.get_mut(sink) else { return };
        for Done { class, number, seq } in done {
            let order = class.order();
            // What was evicted meanwhile is counted already.
            if *number >= state.cursor.at[order] {
                state.waiting[order] = state.waiting[order].saturating_sub(1);
            }
            state.cursor.seq[order] = state.cursor.seq[order].max(*seq);
        }
        for order in 0..3 {
            state.cursor.at[order] = state.cursor.at[order].max(at[order]);
            if state.cursor.at[order] >= next[order] {
                state.waiting[order] = 0;
            }
        }
    }

    /// Writes a sink's cursor.
    pub(crate) fn save(&self, sink: usize) -> std::io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let _saving = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let cursor = self.lock().sinks.get(sink).map(|state| state.cursor.clone());
        cursor.map_or(Ok(()), |cursor| cursor.save(folder))
    }

    /// How many records wait for a sink or are being sent.
    pub(crate) fn waiting(&self, sink: usize) -> u64 {
        self.lock().sinks.get(sink).map_or(0, |state| state.waiting.iter().sum())
    }
}

/// A record that a sink has dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) class: Class,
    pub(crate) number: u64,
    pub(crate) seq: u64,
}

/// How many of a tail come before this number.
fn skip(tail: &VecDeque<Arc<Entry>>, number: u64) -> usize {
    let first = tail.front().map_or(number, |entry| entry.number);
    usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX)
}

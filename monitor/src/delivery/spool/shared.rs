//! The index as its readers and its writer share it: with a bell for each sink, and the files of the cursors.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::cursor::sync_folder;
use super::format::SinkKey;
use super::given::Given;
use super::index::{Entry, Index};
use super::ranges::Ranges;
use super::segment::Seen;
use crate::delivery::Class;

/// The index, and a bell for each sink.
#[derive(Debug)]
pub(crate) struct Shared {
    index: Mutex<Index>,
    bells: Vec<Condvar>,
    /// Held while a cursor is written: two threads would write to the same half file.
    saving: Mutex<Given>,
    /// Where cursors are kept; nowhere for a spool in memory.
    pub(crate) folder: Option<PathBuf>,
    /// Another is in its place: the cursors are that one's.
    replaced: AtomicBool,
}

/// Where the next record of a class is.
#[derive(Debug)]
pub(crate) enum Place {
    /// Here.
    Memory(Arc<Entry>, u64),
    /// In this segment.
    Disk(Part),
    /// Nothing there; go on at this number.
    Nothing(u64),
}

/// A segment, as one sink sees it at a moment.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) id: u64,
    pub(crate) path: Arc<Path>,
    pub(crate) first: u64,
    /// The number after its last record, and where that ends.
    pub(crate) end: u64,
    pub(crate) bytes: u64,
    /// How many of its records are for the sink, and the last number of these in its stream.
    pub(crate) records: u64,
    pub(crate) last: u64,
}

/// A record that a sink has dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) class: Class,
    pub(crate) number: u64,
    pub(crate) seq: u64,
}

impl Shared {
    pub(crate) fn new(index: Index, folder: Option<PathBuf>, given: Given) -> Self {
        let bells = index.sinks.iter().map(|_| Condvar::new()).collect();
        Self {
            index: Mutex::new(index),
            bells,
            saving: Mutex::new(given),
            folder,
            replaced: AtomicBool::new(false),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Index> {
        // Nothing panics while it is held; if something did, what is there is still consistent enough to go on with.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes a sink.
    pub(crate) fn ring(&self, index: &mut Index, sink: usize) {
        if let Some(state) = index.sinks.get_mut(sink)
            && std::mem::replace(&mut state.rung, true)
        {
            // It was woken, or has not gone to sleep yet.
            return;
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
        let Some(segment) = log.segments.iter().find(|segment| segment.end > number) else {
            return Place::Nothing(number);
        };
        let held = segment.held(key);
        Place::Disk(Part {
            id: segment.id,
            path: Arc::clone(&segment.path),
            first: segment.first,
            end: segment.end,
            bytes: segment.bytes,
            records: held.map_or(0, |held| held.records),
            last: held.map_or(0, |held| held.last),
        })
    }

    /// What a sink that read a segment to its end has not seen of it, above the number `above`. `None`: the segment is gone,
    /// which has left a record, or nothing is missing that the sink had not dealt with.
    pub(crate) fn missing(
        &self,
        class: Class,
        part: &Part,
        key: SinkKey,
        seen: &Seen,
        above: u64,
    ) -> Option<Ranges> {
        let index = self.lock();
        let state = index.sinks.iter().find(|state| state.key == key)?;
        let segment = index.classes[class.order()].segments.iter().find(|segment| segment.id == part.id)?;
        let above = above.max(state.cursor.seq[class.order()]);
        Some(segment.held(key)?.missing(seen, above, part.last)).filter(|missing| !missing.runs().is_empty())
    }

    /// The streams of a sink, if the newest does not begin at `since`.
    pub(crate) fn streams(&self, sink: usize, since: u64) -> Option<Vec<(u64, String)>> {
        let index = self.lock();
        let cursor = &index.sinks.get(sink)?.cursor;
        (cursor.since != since).then(|| cursor.streams())
    }

    /// So many records of a class do not come that were waiting for a sink.
    pub(crate) fn lost(&self, sink: usize, class: Class, records: u64) {
        if let Some(state) = self.lock().sinks.get_mut(sink) {
            let waiting = &mut state.waiting[class.order()];
            *waiting = waiting.saturating_sub(records);
        }
    }

    /// A sink has dealt with everything below `at`, and with these records beyond what it told before.
    pub(crate) fn advance(&self, sink: usize, at: [u64; 3], done: &[Done]) {
        let mut index = self.lock();
        let next = [0, 1, 2].map(|order| index.classes[order].next);
        let Some(state) = index.sinks.get_mut(sink) else { return };
        for Done { class, number, seq } in done {
            state.dealt(class.order(), *number, *seq);
        }
        for order in 0..3 {
            state.move_to(order, at[order], next[order]);
        }
    }

    /// Writes a sink's cursor.
    pub(crate) fn save(&self, sink: usize) -> io::Result<()> {
        self.write(sink, 0)
    }

    /// Writes a sink's cursor, and with it that so many more numbers may be given.
    pub(crate) fn reserve(&self, sink: usize, more: u64) -> io::Result<()> {
        self.write(sink, more)
    }

    /// From now on no cursor is written: a thread that is left behind must not write over another's.
    pub(crate) fn replace(&self) {
        // Not in the middle of one.
        let _given = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        self.replaced.store(true, Relaxed);
    }

    fn write(&self, sink: usize, more: u64) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let mut given = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        if self.replaced.load(Relaxed) {
            return Ok(());
        }
        let state = {
            let index = self.lock();
            let ends = index.classes.each_ref().map(|log| log.stored);
            index.sinks.get(sink).map(|state| (state.to_save(ends), state.unbound))
        };
        let Some((mut cursor, unbound)) = state else { return Ok(()) };
        // A stream that was in memory only is on disk with this, and is bound from now on.
        let more = if unbound { more.max(super::LEAST_RESERVED) } else { more };
        if more > 0 {
            cursor.reserved = cursor.reserved.max(cursor.next + more);
        }
        cursor.save(folder)?;
        if more > 0 {
            given.note(&cursor);
            given.save(folder)?;
            // The promise comes before the numbers: an older file must not come back in its place.
            sync_folder(folder)?;
        }
        if let Some(state) = self.lock().sinks.get_mut(sink) {
            state.saved = cursor.at;
            if more > 0 {
                state.cursor.reserved = cursor.reserved;
                state.unbound &= state.cursor.stream != cursor.stream;
            }
        }
        Ok(())
    }

    /// Writes which numbers were given: segments are about to go that tell so.
    pub(crate) fn note_given(&self) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let mut given = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        for state in self.lock().sinks.iter().filter(|state| !state.unbound) {
            given.note(&state.cursor);
        }
        given.save(folder)?;
        sync_folder(folder)
    }

    /// How many records wait for a sink or are being sent.
    pub(crate) fn waiting(&self, sink: usize) -> u64 {
        self.lock().sinks.get(sink).map_or(0, |state| state.waiting.iter().sum())
    }
}

/// How many of a tail come before this number.
fn skip(tail: &VecDeque<Arc<Entry>>, number: u64) -> usize {
    let first = tail.front().map_or(number, |entry| entry.number);
    usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX)
}

//! Which numbers may be given: none that a later agent could give again.
//!
//! A cursor's file says below which number some may have been given (`reserved`), before they are. If a power cut takes the
//! records themselves, the next agent goes on there, and names what it does not find. A disk that does not even take
//! that has the sink begin another stream, which is in memory only: nobody can go on with it.

use std::time::Duration;

use super::{Event, Writer};
use crate::delivery::spool::evict::{Eviction, LeftOut, Why};
use crate::delivery::spool::{LEAST_RESERVED, boot};

/// Most numbers that are promised at once.
const MOST_RESERVED: u64 = 1 << 16;
/// A promise that is used up in less time is followed by a larger one.
const QUICK: Duration = Duration::from_secs(1);

/// About how many bytes a record has that names others as gone.
const NOTE: usize = 2048;

/// Why a stream ends.
const FULL: &str = "the disk takes nothing";

/// How fast a sink's numbers are used up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    last: Duration,
    size: u64,
}

impl Use {
    pub(super) fn new(now: Duration) -> Self {
        Self { last: now, size: LEAST_RESERVED }
    }

    /// How many numbers are promised next.
    fn next(&mut self, now: Duration) -> u64 {
        let quick = now.saturating_sub(self.last) < QUICK;
        self.size = if quick { self.size * 2 } else { self.size / 2 }.clamp(LEAST_RESERVED, MOST_RESERVED);
        self.last = now;
        self.size
    }
}

impl Writer {
    /// Makes sure that each of these sinks can give so many numbers.
    pub(super) fn reserve(&mut self, sinks: &[usize], many: u64) {
        let used_up: Vec<usize> = {
            let index = self.shared.lock();
            let used_up = |sink: &usize| {
                let state = index.sinks.get(*sink);
                state.is_some_and(|state| !state.unbound && state.cursor.next + many > state.cursor.reserved)
            };
            sinks.iter().copied().filter(used_up).collect()
        };
        for sink in used_up {
            if !self.promise(sink, many) {
                self.begin_stream(sink, FULL);
            }
        }
    }

    /// Promises more numbers to those that will need them soon, while nobody waits for one.
    pub(super) fn reserve_ahead(&mut self) {
        if self.disk.as_ref().is_none_or(|disk| disk.broken.is_some()) {
            return;
        }
        let mut low = Vec::new();
        for (sink, state) in self.shared.lock().sinks.iter().enumerate() {
            let left = state.cursor.reserved.saturating_sub(state.cursor.next);
            let size = self.used.get(sink).map_or(LEAST_RESERVED, |used| used.size);
            if left < size / 2 && !state.unbound {
                low.push(sink);
            }
        }
        for sink in low {
            self.promise(sink, 0);
        }
    }

    /// Whether the disk has taken a promise of more numbers, at least so many.
    pub(super) fn promise(&mut self, sink: usize, least: u64) -> bool {
        let now = self.clock.monotonic();
        let more = self.used.get_mut(sink).map_or(LEAST_RESERVED, |used| used.next(now));
        match self.shared.reserve(sink, more.max(least)) {
            Ok(()) => true,
            Err(error) => {
                self.broke(format!("a cursor cannot be written: {error}"));
                false
            }
        }
    }

    /// Alerts that were never appended have numbers all the same, and a record that names them as gone.
    pub(crate) fn leave_out(&mut self, left: &LeftOut) {
        let LeftOut { sink, class, count, span } = *left;
        // Before its numbers are known: what is evicted is named by one of them.
        self.make_room(class, NOTE);
        self.reserve(&[sink], count + 1);
        let Some(next) = self.shared.lock().sinks.get(sink).map(|state| state.cursor.next) else { return };
        let mut eviction = Eviction::none(sink, Why::LeftOut);
        (eviction.class, eviction.span) = (class, Some(span));
        (eviction.count, eviction.fresh) = (Some(count), count);
        eviction.seqs.add_run([next, next + count - 1]);
        self.note_behind(&eviction, count);
        self.bound_memory();
    }

    /// The sink goes on in another stream, which says where it begins.
    pub(super) fn begin_stream(&mut self, sink: usize, why: &str) {
        let (before, cursor) = {
            let mut index = self.shared.lock();
            let Some(state) = index.sinks.get_mut(sink) else { return };
            if state.unbound {
                return;
            }
            (state.begin_stream(), state.cursor.clone())
        };
        if cursor.next == 1 {
            return;
        }
        let mut eviction = Eviction::none(sink, Why::Anew);
        eviction.seqs.add_run([1, cursor.next - 1]);
        eviction.detail = format!("the stream {} goes on where {before} ends: {why}", cursor.stream);
        self.unsaid.push(eviction);
    }

    /// The disk takes nothing.
    pub(super) fn broke(&mut self, why: String) {
        let Some(disk) = &mut self.disk else { return };
        if disk.broken.replace(why.clone()).is_some() {
            return;
        }
        self.shared.lock().broken = true;
        if !std::mem::replace(&mut disk.said, true) {
            self.events.push(Event::Broken(why));
        }
        // From now on there are numbers that no file knows of. A file can be removed from a full disk.
        if let Err(error) = boot::unset(disk.folder.path()) {
            tracing::debug!(%error, "the spool's disk does not even let a file go");
            let sinks = self.shared.lock().sinks.len();
            (0..sinks).for_each(|sink| self.begin_stream(sink, FULL));
        }
    }

    /// The disk has everything: cursors that say so, and the file that says that they do. `false`: not yet.
    pub(super) fn mended(&mut self) -> bool {
        self.told();
        let sinks = self.shared.lock().sinks.len();
        for sink in 0..sinks {
            if let Err(error) = self.shared.save(sink) {
                self.broke(format!("a cursor cannot be written: {error}"));
                return false;
            }
        }
        let Some(disk) = &mut self.disk else { return false };
        if let Err(error) = boot::set(disk.folder.path()) {
            tracing::debug!(%error, "whether numbers are missing will not be known after a restart");
        }
        disk.said = false;
        self.drop_leftover();
        true
    }

    /// Everything that was appended so far is on disk for good.
    pub(super) fn kept(&self) {
        let mut index = self.shared.lock();
        if !self.synced_before || index.classes.iter().any(|log| log.unstored() > 0) {
            return;
        }
        for state in &mut index.sinks {
            state.cursor.kept = state.cursor.next;
        }
    }
}

//! Making room: what every sink has goes, and if that is not enough the oldest of the lowest class, named.
//!
//! What names it is of the same class: were it of the highest, alerts that matter little would push out those that do by the
//! records that tell of them.

use std::fs;

use super::{Writer, nanoseconds};
use crate::delivery::Class;
use crate::delivery::spool::evict::{self, Why};
use crate::delivery::spool::format;
use crate::delivery::spool::index::ClassLog;
use crate::delivery::spool::limits::{FLOOR, FREE_PERCENT, Limits, TAIL};
use crate::delivery::spool::sink::SinkState;

impl Writer {
    /// Evicts until a record of this class has room on disk.
    pub(super) fn make_room(&mut self, class: Class, json: usize) {
        let record = (json + format::HEAD + 256) as u64;
        while let Some(victim) = self.victim(class, record) {
            // One that every sink has costs nobody anything.
            if self.drop_dealt_with() {
                continue;
            }
            let before = self.used(victim);
            // Where what names the evicted is as large as they were, no eviction makes room.
            if !self.evict(victim, Why::Full) || self.used(victim) >= before {
                return;
            }
        }
    }

    /// The class that loses its oldest segment for a record of this class; `None`: there is room, or nothing may go for it.
    fn victim(&self, class: Class, record: u64) -> Option<Class> {
        let disk = self.disk.as_ref().filter(|disk| disk.broken.is_none())?;
        let index = self.shared.lock();
        let used = |class: Class| index.classes[class.order()].disk_bytes();
        if used(class) > 0 && used(class) + record > self.limits.class[class.order()] {
            return Some(class);
        }
        let ceiling = disk.ceiling?;
        let kept = Limits::kept(index.sinks.len());
        let beyond = |other: Class| {
            let wanted = used(other) + if other == class { record } else { 0 };
            if other == Class::High { wanted } else { wanted.saturating_sub(kept) }
        };
        if Class::ALL.into_iter().map(beyond).sum::<u64>() <= ceiling {
            return None;
        }
        let mut lowest_first = Class::ALL.into_iter().rev();
        // Nothing that matters more than this record goes for it.
        lowest_first.find(|other| *other <= class && used(*other) > 0 && beyond(*other) > 0)
    }

    /// Bytes of a class on disk.
    fn used(&self, class: Class) -> u64 {
        self.shared.lock().classes[class.order()].disk_bytes()
    }

    /// Where a segment of this class ends. A class that has only what it keeps on a file system that is nearly full has small
    /// ones: an eviction takes a whole one.
    pub(super) fn segment_end(&self, class: Class) -> u64 {
        let most = self.limits.segment(class);
        let nearly_full = self.disk.as_ref().is_some_and(|disk| disk.ceiling.is_some());
        if class == Class::High || !nearly_full {
            return most;
        }
        let kept = Limits::kept(self.shared.lock().sinks.len());
        if self.used(class) > kept { most } else { most.min(kept / 4) }
    }

    /// Removes the oldest segment of a class, after saying so to those that had not read it. `false`: there is none.
    fn evict(&mut self, class: Class, why: Why) -> bool {
        let order = class.order();
        let (segment, evictions) = {
            let index = self.shared.lock();
            let Some(segment) = index.classes[order].segments.front().cloned() else { return false };
            let evictions = evict::of_segment(&index, class, &segment, why);
            (segment, evictions)
        };
        if let Some(disk) = &mut self.disk
            && disk.active[order].as_ref().is_some_and(|active| active.id == segment.id)
        {
            disk.active[order] = None;
        }
        {
            let mut index = self.shared.lock();
            let log = index.log(class);
            log.segments.pop_front();
            while log.tail.front().is_some_and(|entry| entry.number < segment.end) {
                log.pop();
            }
            let next = log.next;
            for (at, sink) in index.sinks.iter_mut().enumerate() {
                if evictions.iter().any(|eviction| eviction.sink == at) {
                    sink.loses(order);
                }
                let gone = evictions.iter().find(|eviction| eviction.sink == at).map_or(0, |e| e.records);
                sink.waiting[order] = sink.waiting[order].saturating_sub(gone);
                if let Some(held) = segment.held(sink.key) {
                    // Each of these is dealt with, or named.
                    sink.cursor.seq[order] = sink.cursor.seq[order].max(held.last);
                }
                sink.move_to(order, segment.end, next);
            }
        }
        for eviction in &evictions {
            self.note(eviction);
        }
        self.note_given();
        // Said for good before the only copy goes, and no cursor before it.
        self.sync(!evictions.is_empty());
        let told = self.told();
        let behind = self.shared.lock().unsaved(class, segment.end);
        let saved = behind.into_iter().all(|sink| {
            self.shared
                .save(sink)
                .map_err(|error| self.broke(format!("a cursor cannot be written: {error}")))
                .is_ok()
        });
        match &mut self.disk {
            Some(disk) if disk.broken.is_some() || !told || !saved => {
                disk.leftover.push(segment.path.to_path_buf())
            }
            _ => remove(&segment.path),
        }
        true
    }

    /// Whether what tells of every eviction is on disk; then cursors may be written behind what was evicted.
    pub(super) fn told(&self) -> bool {
        let works = self.unsaid.is_empty() && self.disk.as_ref().is_none_or(|disk| disk.broken.is_none());
        let mut index = self.shared.lock();
        let told = works && index.classes.iter().all(|log| log.unstored() == 0);
        if told {
            index.sinks.iter_mut().for_each(SinkState::is_told);
        }
        told
    }

    /// What was evicted while the disk did not take what names it.
    pub(super) fn drop_leftover(&mut self) {
        if let Some(disk) = &mut self.disk {
            disk.leftover.drain(..).for_each(|path| remove(&path));
        }
    }

    /// Removes segments that every sink has dealt with, once their cursors' files say so. Whether there were any.
    pub(super) fn drop_dealt_with(&mut self) -> bool {
        let mut behind = Vec::new();
        {
            let mut index = self.shared.lock();
            for class in Class::ALL {
                let at = index.dealt_with(class);
                index.log(class).shorten(at, TAIL);
                let active = self.active(class);
                let log = index.log(class);
                let spare = log.segments.iter().take_while(|s| s.end <= at && Some(s.id) != active).last();
                if let Some(end) = spare.map(|segment| segment.end) {
                    behind.extend(index.unsaved(class, end));
                }
            }
        }
        behind.sort_unstable();
        behind.dedup();
        for sink in behind {
            if let Err(error) = self.shared.save(sink) {
                tracing::debug!(%error, "cursor not written; what the sink has stays in the spool");
            }
        }
        let mut gone = Vec::new();
        {
            let mut index = self.shared.lock();
            for class in Class::ALL {
                let at = index.done_with(class);
                let active = self.active(class);
                let log = index.log(class);
                while let Some(segment) =
                    log.segments.pop_front_if(|segment| segment.end <= at && Some(segment.id) != active)
                {
                    gone.push(segment);
                }
            }
        }
        if gone.is_empty() {
            return false;
        }
        self.note_given();
        gone.iter().for_each(|segment| remove(&segment.path));
        true
    }

    /// Before segments go. A second word is not worth a full disk: without it the cursors have the only one.
    fn note_given(&self) {
        if let Err(error) = self.shared.note_given() {
            tracing::debug!(%error, "which numbers were given stands in the cursors alone");
        }
    }

    /// The segment of a class that is being written.
    fn active(&self, class: Class) -> Option<u64> {
        self.disk.as_ref().and_then(|disk| disk.active[class.order()].as_ref()).map(|active| active.id)
    }

    pub(super) fn drop_old(&mut self) {
        let (now, wall) = (self.clock.monotonic(), nanoseconds(&*self.clock));
        let Some(before) = self.age.oldest(now, wall, self.limits.max_age) else { return };
        for class in Class::ALL {
            while self
                .shared
                .lock()
                .log(class)
                .segments
                .front()
                .is_some_and(|segment| segment.newest < before)
            {
                self.evict(class, Why::Old);
            }
        }
    }

    pub(super) fn ask_room(&mut self) {
        let Some(disk) = &mut self.disk else { return };
        let Some(room) = (disk.ask_room)(disk.folder.path()) else { return };
        let nearly_full = room.free.saturating_mul(100) < room.total.saturating_mul(FREE_PERCENT);
        self.shared.lock().nearly_full = nearly_full;
        if !nearly_full {
            disk.ceiling = None;
        } else if disk.ceiling.is_none() {
            let used = self.shared.lock().classes.iter().map(ClassLog::disk_bytes).sum::<u64>();
            disk.ceiling = Some(used.max(FLOOR));
        }
    }
}

fn remove(path: &std::path::Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "segment not removed");
    }
}

//! The one that appends.
//!
//! `numbers` sees to it that no number is given twice, `clearing` makes room, `memory` is for a disk that takes nothing, `disk`
//! has the files.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::boot::{self, Has};
use super::cursor::{self, Cursor, Known};
use super::evict::Eviction;
use super::format::{self, Raw, Sort};
use super::given::Given;
use super::index::{Entry, Index};
use super::limits::{Limits, TAIL};
use super::recover::{After, Found, Origin, recover};
#[cfg(test)]
use super::room::AskRoom;
use super::room::room;
use super::shared::Shared;
use super::sink::SinkState;
use crate::alert::{Alert, SafeAlert};
use crate::delivery::{Class, Clock, Record};
use crate::state_dir::Folder;

mod age;
mod clearing;
mod disk;
mod memory;
mod numbers;

use age::Age;
use disk::Disk;
use numbers::Use;

/// How often a disk that took nothing is tried again, the room on it asked for, and age looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Says that records were evicted.
pub(crate) type Say = Box<dyn Fn(&Eviction) -> Alert + Send>;

/// What became of the spool itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The disk takes nothing: records are in memory only.
    Broken(String),
    /// It does again, and has everything.
    Mended,
}

/// The one that appends. Lives on one thread.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    disk: Option<Disk>,
    limits: Limits,
    clock: Arc<dyn Clock>,
    say: Say,
    /// By sink: how fast its numbers are used up.
    used: Vec<Use>,
    /// What an earlier agent left is on the disk for good.
    synced_before: bool,
    /// What was evicted from memory and is not said yet.
    unsaid: Vec<Eviction>,
    events: Vec<Event>,
    age: Age,
    /// By sink: something came for it, and it was not woken.
    unrung: Vec<bool>,
    /// What was told of evictions.
    noted: Vec<SafeAlert>,
    looked: Duration,
}

impl Writer {
    /// The spool below this state directory, as an earlier agent left it, for the sinks of these names. What is wrong with
    /// the directory is said in words.
    pub(crate) fn open(
        state_dir: &Path,
        sinks: &[String],
        limits: Limits,
        clock: Arc<dyn Clock>,
        say: Say,
    ) -> Result<Self, String> {
        let folder = Folder::take(state_dir, super::FOLDER).map_err(|error| error.to_string())?;
        let path = folder.path().to_owned();
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        cursor::put_away(&path, sinks).map_err(failed)?;
        let given = Given::load(&path);
        let (mut states, origins): (Vec<SinkState>, Vec<Origin>) =
            sinks.iter().map(|name| state(&path, name, &given)).unzip();
        let has = boot::has(&path);
        let found = recover(&path, &mut states, &origins, has != Has::Some).map_err(failed)?;
        for remark in &found.remarks {
            tracing::warn!(remark, "the spool was not whole");
        }
        let now = clock.monotonic();
        let age = Age::new(now, nanoseconds(&*clock));
        let mut writer = Self {
            shared: Arc::new(Shared::new(index(&found, states), Some(path), given)),
            disk: Some(Disk::new(folder, found.next_segment, Box::new(room))),
            limits,
            looked: now,
            clock,
            say,
            used: vec![Use::new(now); sinks.len()],
            synced_before: found.synced,
            unsaid: Vec::new(),
            events: Vec::new(),
            age,
            unrung: vec![false; sinks.len()],
            noted: Vec::new(),
        };
        writer.take_over(found, has == Has::Copied);
        Ok(writer)
    }

    /// Names what an earlier agent left broken. Only then may anything on disk look as if nothing was: a kill in between has the
    /// next agent do the same once more.
    fn take_over(&mut self, found: Found, copied: bool) {
        if (copied || !found.lost.is_empty())
            && let Some(disk) = &self.disk
            && let Err(error) = boot::unset(disk.folder.path())
        {
            self.broke(format!("{}: {error}", boot::NAME));
        }
        // A full disk is none that cannot be used: what waits is delivered, and it may have room again.
        self.reserve_ahead();
        self.ask_room();
        self.drop_dealt_with();
        if copied {
            // What was given since the copy was made is in no file.
            let sinks = self.shared.lock().sinks.len();
            (0..sinks).for_each(|sink| self.begin_stream(sink, "the folder was put back from a copy"));
            for eviction in std::mem::take(&mut self.unsaid) {
                self.note(&eviction);
            }
        }
        for lost in found.lost {
            self.note(&Eviction {
                count: lost.count,
                fresh: lost.count.unwrap_or(0),
                seqs: lost.seqs,
                detail: lost.why.join("; "),
                ..Eviction::none(lost.sink, lost.kind)
            });
        }
        self.sync(true);
        let Some(disk) = self.disk.as_ref().filter(|disk| disk.broken.is_none()) else { return };
        found.after.into_iter().for_each(After::act);
        let folder = disk.folder.path().to_owned();
        if self.mended() {
            let index = self.shared.lock();
            index.sinks.iter().for_each(|state| cursor::is_back(&folder, &state.cursor.sink));
        }
    }

    /// A spool in memory only.
    pub(crate) fn in_memory(sinks: &[String], limits: Limits, clock: Arc<dyn Clock>, say: Say) -> Self {
        let mut states: Vec<SinkState> = sinks.iter().map(|name| SinkState::new(Cursor::new(name))).collect();
        states.iter_mut().for_each(|state| state.unbound = true);
        let now = clock.monotonic();
        let age = Age::new(now, nanoseconds(&*clock));
        Self {
            shared: Arc::new(Shared::new(index(&Found::default(), states), None, Given::default())),
            disk: None,
            limits,
            looked: now,
            clock,
            say,
            used: Vec::new(),
            synced_before: true,
            unsaid: Vec::new(),
            events: Vec::new(),
            age,
            unrung: vec![false; sinks.len()],
            noted: Vec::new(),
        }
    }

    /// Asks for room this way, for tests.
    #[cfg(test)]
    pub(crate) fn set_room(&mut self, ask: AskRoom) {
        if let Some(disk) = &mut self.disk {
            disk.ask_room = ask;
            disk.ceiling = None;
        }
        self.ask_room();
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// What became of the spool since the last call.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Appends an alert for these sinks (by their places in the configuration). When this returns it is on its way.
    pub(crate) fn append(&mut self, record: Record, sinks: &[usize]) {
        if sinks.is_empty() {
            return;
        }
        self.make_room(record.class, record.alert.line().len());
        self.put(record, Sort::Alert, sinks, 0);
        self.bound_memory();
    }

    /// Wakes the sinks that something came for since the last call.
    pub(crate) fn ring(&mut self) {
        if self.unrung.contains(&true) {
            let mut index = self.shared.lock();
            for (sink, unrung) in self.unrung.iter_mut().enumerate() {
                if std::mem::take(unrung) {
                    self.shared.ring(&mut index, sink);
                }
            }
        }
    }

    /// What is due: records to disk for good, old ones out, what is evicted said.
    pub(crate) fn tick(&mut self) {
        self.sync(false);
        self.reserve_ahead();
        let now = self.clock.monotonic();
        if now.saturating_sub(self.looked) < LOOK_EVERY {
            return;
        }
        self.looked = now;
        self.ask_room();
        self.write_unstored();
        self.drop_dealt_with();
        self.drop_old();
        self.tell_unsaid();
        self.ring();
    }

    /// When [`tick`](Self::tick) has something to do, at the latest.
    pub(crate) fn due(&self) -> Duration {
        LOOK_EVERY
    }

    /// Makes what was appended survive a power cut; all of it, or what cannot wait.
    pub(crate) fn sync(&mut self, all: bool) {
        let now = self.clock.monotonic();
        let Some(disk) = &mut self.disk else { return };
        match disk.sync(all, now) {
            Ok(true) => self.kept(),
            Ok(false) => {}
            Err((class, error)) => self.broke(format!("the {} log cannot be synced: {error}", class.name())),
        }
    }

    /// The end: everything is on disk, and every cursor.
    pub(crate) fn finish(&mut self) {
        self.write_unstored();
        self.tell_unsaid();
        self.ring();
        self.sync(true);
        let whole = self.disk.as_ref().is_some_and(|disk| disk.broken.is_none());
        let sinks = {
            let mut index = self.shared.lock();
            for state in index.sinks.iter_mut().filter(|state| whole && !state.unbound) {
                // No more are given.
                state.cursor.reserved = state.cursor.next;
            }
            index.sinks.len()
        };
        if whole && let Err(error) = self.shared.note_given() {
            tracing::debug!(%error, "a power cut now would have more numbers named than were given");
        }
        for sink in 0..sinks {
            if let Err(error) = self.shared.save(sink) {
                tracing::warn!(%error, "cursor not kept; alerts may be sent twice");
            }
        }
        self.drop_dealt_with();
    }

    /// `behind`: so many numbers of each sink's stream, which the record names as gone, come before its own.
    fn put(&mut self, record: Record, sort: Sort, sinks: &[usize], behind: u64) {
        let class = record.class;
        let order = class.order();
        self.reserve(sinks, behind + 1);
        let (number, seqs, in_order) = {
            let mut index = self.shared.lock();
            let log = index.log(class);
            // Never past what is only in memory: numbers rise within a file.
            let (number, in_order) = (log.next, log.unstored() == 0);
            let mut seqs = Vec::with_capacity(sinks.len());
            for sink in sinks {
                let Some(state) = index.sinks.get(*sink) else { continue };
                seqs.push((state.key, state.cursor.next + behind));
            }
            (number, seqs, in_order)
        };
        let json = record.alert.line().as_bytes();
        let raw = Raw { number, accepted: record.accepted, sort, seqs: seqs.clone(), alert: json };
        let on_disk = in_order && self.write(class, &raw, Some(&record.alert));
        let size = json.len();
        let entry = Arc::new(Entry { number, sort, seqs, size, record });
        let gone = (sort == Sort::Evicted).then_some(&*entry.record.alert);
        let mut index = self.shared.lock();
        index.log(class).push(Arc::clone(&entry), on_disk);
        for (at, state) in index.sinks.iter_mut().enumerate() {
            // Not before the record is where it is found again: a cursor written in between would leave a hole.
            state.came(order, number, if sinks.contains(&at) { behind + 1 } else { 0 });
            if let Some(gone) = gone.filter(|_| sinks.contains(&at)) {
                state.tells(order, gone);
            }
        }
        let dealt_with = index.dealt_with(class);
        index.log(class).shorten(dealt_with, TAIL);
        drop(index);
        for sink in sinks {
            if let Some(unrung) = self.unrung.get_mut(*sink) {
                *unrung = true;
            }
        }
    }

    /// Writes a record to the class's segment. `false`: the disk did not take it.
    fn write(&mut self, class: Class, raw: &Raw<'_>, alert: Option<&Alert>) -> bool {
        let most = self.segment_end(class);
        let now = self.clock.monotonic();
        let Some(disk) = &mut self.disk else { return false };
        if disk.broken.is_some() {
            return false;
        }
        let mut buffer = std::mem::take(&mut disk.buffer);
        buffer.clear();
        if !format::record(raw, &mut buffer) {
            // Alerts are bounded far below; it is sent from memory.
            tracing::error!(bytes = raw.alert.len(), "an alert is too large for the spool");
            return true;
        }
        let result = disk.append(class, raw.number, &buffer, most, now);
        disk.buffer = buffer;
        match result {
            Ok(segment) => {
                let told = alert.filter(|_| raw.sort == Sort::Evicted);
                let mut index = self.shared.lock();
                let segments = &mut index.log(class).segments;
                if segments.back().is_none_or(|last| last.id != segment.id) {
                    segments.push_back(segment.clone());
                }
                if let Some(last) = segments.back_mut() {
                    last.bytes = segment.bytes;
                    last.end = raw.number + 1;
                    last.newest = last.newest.max(raw.accepted);
                    last.hold(&raw.seqs, told);
                }
                true
            }
            Err(error) => {
                let folder = disk.folder.path().display().to_string();
                self.broke(format!("{folder}: {error}"));
                false
            }
        }
    }

    /// Tells what was evicted from memory.
    pub(super) fn tell_unsaid(&mut self) {
        for eviction in std::mem::take(&mut self.unsaid) {
            self.note(&eviction);
        }
    }

    /// Tells a sink what it misses, as a record of its own.
    fn note(&mut self, eviction: &Eviction) {
        self.note_behind(eviction, 0);
    }

    /// The same, of so many that have their numbers with it.
    fn note_behind(&mut self, eviction: &Eviction, numbers: u64) {
        let alert = (self.say)(eviction);
        let accepted = nanoseconds(&*self.clock);
        let alert = SafeAlert::new(alert);
        self.noted.push(alert.clone());
        let record = Record { class: eviction.class, accepted, alert };
        self.put(record, Sort::Evicted, &[eviction.sink], numbers);
    }

    /// What was told to sinks as gone since the last call.
    pub(crate) fn take_noted(&mut self) -> Vec<SafeAlert> {
        std::mem::take(&mut self.noted)
    }

    /// What a power cut would cut.
    #[cfg(test)]
    pub(crate) fn unsynced(&self) -> Vec<(std::path::PathBuf, u64)> {
        self.disk.as_ref().map(Disk::unsynced).unwrap_or_default()
    }
}

/// A sink as its cursor has it, and how it came to that.
fn state(folder: &Path, name: &str, given: &Given) -> (SinkState, Origin) {
    let (mut cursor, origin) = match Cursor::find(folder, name) {
        Known::Here(cursor) => (cursor, Origin::Kept),
        Known::Away(cursor) => (cursor, Origin::Back),
        Known::Nothing => (Cursor::new(name), Origin::New(None)),
        Known::Broken(problem) => {
            tracing::error!(problem, "the sink begins a new stream; it may get alerts twice");
            // Behind nothing: whatever is in the spool for it is sent (again).
            (Cursor::new(name), Origin::New(Some(problem)))
        }
    };
    given.correct(&mut cursor);
    (SinkState::new(cursor), origin)
}

/// The index of what was found. A sink that is new begins at the end of what there is.
fn index(found: &Found, mut sinks: Vec<SinkState>) -> Index {
    let mut index = Index::default();
    for class in Class::ALL {
        let order = class.order();
        let log = &mut index.classes[order];
        log.next = found.next[order].max(1);
        log.stored = log.next;
        index.earlier[order] = log.next;
        log.segments = found.segments[order].iter().cloned().collect();
        for sink in &mut sinks {
            // What was dealt with in a file that is not there any more is no matter.
            sink.move_to(order, sink.cursor.at[order], log.next);
        }
    }
    index.sinks = sinks;
    index
}

pub(crate) fn nanoseconds(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.wall().as_nanosecond()).unwrap_or(i64::MAX)
}

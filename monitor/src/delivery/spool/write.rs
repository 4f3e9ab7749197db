//! The one that appends.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::cursor::{Cursor, sync_folder};
use super::evict::{self, Eviction, Why};
use super::format::{self, HEADER, Header, Raw, Sort};
use super::index::{ClassLog, Entry, Index, Segment, Shared, SinkState};
use super::limits::{FLOOR, FREE_PERCENT, Limits, TAIL};
use super::recover::{Found, recover};
use super::room::{AskRoom, room};
use crate::alert::Alert;
use crate::delivery::{Class, Clock, Record};
use crate::state_dir::Folder;

/// Records of every class but the highest are on disk for good at the latest after this.
const SYNC_WITHIN: Duration = Duration::from_secs(1);
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
    /// What was evicted from memory and is not said yet.
    unsaid: Vec<Eviction>,
    events: Vec<Event>,
    looked: Duration,
}

struct Disk {
    folder: Folder,
    active: [Option<Active>; 3],
    next_segment: [u64; 3],
    ask_room: AskRoom,
    /// The file system is nearly full: the spool may be as large as it is now, or this.
    ceiling: Option<u64>,
    /// Why it takes nothing.
    broken: Option<String>,
    buffer: Vec<u8>,
}

struct Active {
    file: File,
    id: u64,
    bytes: u64,
    /// Since when something in it may be lost in a power cut.
    dirty: Option<Duration>,
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
        let failed = |error: io::Error| format!("{}: {error}", folder.path().display());
        let mut states: Vec<SinkState> = Vec::new();
        let mut fresh = Vec::new();
        for name in sinks {
            let cursor = Cursor::load(folder.path(), name).unwrap_or_else(|problem| {
                tracing::error!(problem, "the sink begins a new stream; it may get alerts twice");
                // Behind nothing: whatever is in the spool for it is sent (again).
                Some(Cursor::new(name))
            });
            fresh.push(cursor.is_none());
            states.push(state(cursor.unwrap_or_else(|| Cursor::new(name))));
        }
        let found = recover(folder.path(), &mut states).map_err(failed)?;
        for remark in &found.remarks {
            tracing::warn!(remark, "the spool was not whole");
        }
        let shared = Shared::new(index(&found, states), Some(folder.path().to_owned()));
        for (sink, _) in fresh.iter().enumerate().filter(|(_, fresh)| **fresh) {
            shared.save(sink).map_err(failed)?;
        }
        let mut writer = Self {
            shared: Arc::new(shared),
            disk: Some(Disk {
                folder,
                active: [const { None }; 3],
                next_segment: found.next_segment,
                ask_room: Box::new(room),
                ceiling: None,
                broken: None,
                buffer: Vec::new(),
            }),
            limits,
            looked: clock.monotonic(),
            clock,
            say,
            unsaid: Vec::new(),
            events: Vec::new(),
        };
        writer.ask_room();
        writer.drop_dealt_with();
        for (sink, lost) in found.lost {
            writer.note(&Eviction {
                sink,
                why: Why::Unreadable,
                count: lost.count,
                records: 0,
                seqs: lost.seqs,
                span: None,
                detail: lost.why.join("; "),
            });
        }
        Ok(writer)
    }

    /// A spool in memory only.
    pub(crate) fn in_memory(sinks: &[String], limits: Limits, clock: Arc<dyn Clock>, say: Say) -> Self {
        let states = sinks.iter().map(|name| state(Cursor::new(name))).collect();
        Self {
            shared: Arc::new(Shared::new(index(&Found::default(), states), None)),
            disk: None,
            limits,
            looked: clock.monotonic(),
            clock,
            say,
            unsaid: Vec::new(),
            events: Vec::new(),
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
        if let Some(json) = json(&record) {
            self.make_room(record.class, json.len());
            self.put(record, &json, Sort::Alert, sinks);
            self.bound_memory();
        }
    }

    /// What is due: records to disk for good, old ones out, what is evicted said.
    pub(crate) fn tick(&mut self) {
        self.sync(false);
        let now = self.clock.monotonic();
        if now.saturating_sub(self.looked) < LOOK_EVERY {
            return;
        }
        self.looked = now;
        self.ask_room();
        self.write_unstored();
        self.drop_dealt_with();
        self.drop_old();
        for eviction in std::mem::take(&mut self.unsaid) {
            self.note(&eviction);
        }
    }

    /// When [`tick`](Self::tick) has something to do, at the latest.
    pub(crate) fn due(&self) -> Duration {
        LOOK_EVERY
    }

    /// Makes what was appended survive a power cut; all of it, or what cannot wait.
    pub(crate) fn sync(&mut self, all: bool) {
        let now = self.clock.monotonic();
        let Some(disk) = &mut self.disk else { return };
        let mut failed = None;
        for class in Class::ALL {
            let Some(active) = &mut disk.active[class.order()] else { continue };
            let Some(since) = active.dirty else { continue };
            if all || class == Class::High || now.saturating_sub(since) >= SYNC_WITHIN {
                active.dirty = None;
                if let Err(error) = active.file.sync_data() {
                    failed = Some((class, error));
                }
            }
        }
        if let Some((class, error)) = failed {
            // What the kernel could not write it may have forgotten; what comes next goes to another file.
            disk.active[class.order()] = None;
            self.broke(format!("the {} log cannot be synced: {error}", class.name()));
        }
    }

    /// The end: everything is on disk, and every cursor.
    pub(crate) fn finish(&mut self) {
        self.write_unstored();
        for eviction in std::mem::take(&mut self.unsaid) {
            self.note(&eviction);
        }
        self.sync(true);
        let sinks = self.shared.lock().sinks.len();
        for sink in 0..sinks {
            if let Err(error) = self.shared.save(sink) {
                tracing::warn!(%error, "cursor not kept; alerts may be sent twice");
            }
        }
        self.drop_dealt_with();
    }

    fn put(&mut self, record: Record, json: &[u8], sort: Sort, sinks: &[usize]) {
        let class = record.class;
        let order = class.order();
        let (number, seqs, in_order) = {
            let mut index = self.shared.lock();
            let log = index.log(class);
            // Never past what is only in memory: numbers rise within a file.
            let (number, in_order) = (log.next, log.unstored() == 0);
            let mut seqs = Vec::with_capacity(sinks.len());
            for sink in sinks {
                let Some(state) = index.sinks.get(*sink) else { continue };
                seqs.push((state.key, state.cursor.next));
            }
            (number, seqs, in_order)
        };
        let raw = Raw { number, accepted: record.accepted, sort, seqs: seqs.clone(), alert: json };
        let on_disk = in_order && self.write(class, &raw);
        let entry = Arc::new(Entry { number, sort, seqs, size: json.len(), record });
        let mut index = self.shared.lock();
        index.log(class).push(entry, on_disk);
        for (at, state) in index.sinks.iter_mut().enumerate() {
            if sinks.contains(&at) {
                state.waiting[order] += 1;
                // Not before the record is where it is found again: a cursor written in between would leave a hole.
                state.cursor.next += 1;
            } else if state.waiting[order] == 0 {
                // Nothing of this class waits for it, and neither does this one.
                state.cursor.at[order] = number + 1;
            }
        }
        let dealt_with = index.dealt_with(class);
        index.log(class).shorten(dealt_with, TAIL);
        for sink in sinks {
            self.shared.ring(&mut index, *sink);
        }
    }

    /// Writes a record to the class's segment. `false`: the disk did not take it.
    fn write(&mut self, class: Class, raw: &Raw<'_>) -> bool {
        let most = self.limits.segment(class);
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
                let mut index = self.shared.lock();
                let segments = &mut index.log(class).segments;
                match segments.back_mut().filter(|last| last.id == segment.id) {
                    Some(last) => {
                        last.bytes = segment.bytes;
                        last.end = raw.number + 1;
                        last.newest = last.newest.max(raw.accepted);
                    }
                    None => segments.push_back(Segment { newest: raw.accepted, ..segment }),
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

    fn broke(&mut self, why: String) {
        let Some(disk) = &mut self.disk else { return };
        if disk.broken.replace(why.clone()).is_none() {
            self.events.push(Event::Broken(why));
        }
    }

    /// Tries the disk again: what is only in memory goes first, in order.
    fn write_unstored(&mut self) {
        let Some(disk) = &mut self.disk else { return };
        let Some(why) = disk.broken.take() else { return };
        if let Err(error) = disk.probe() {
            disk.broken = Some(why);
            return tracing::debug!(%error, "the spool's disk still takes nothing");
        }
        // Making room evicts, and what names that is in memory as well: until nothing is left.
        let mut wrote = true;
        while std::mem::take(&mut wrote) {
            for class in Class::ALL {
                let entries: Vec<Arc<Entry>> = {
                    let index = self.shared.lock();
                    let log = &index.classes[class.order()];
                    log.tail.iter().filter(|entry| entry.number >= log.stored).cloned().collect()
                };
                for entry in entries {
                    let Some(json) = json(&entry.record) else { continue };
                    let raw = Raw {
                        number: entry.number,
                        accepted: entry.record.accepted,
                        sort: entry.sort,
                        seqs: entry.seqs.clone(),
                        alert: &json,
                    };
                    self.make_room(class, json.len());
                    if !self.write(class, &raw) {
                        // Said when it broke first.
                        self.events.pop();
                        return;
                    }
                    self.shared.lock().log(class).wrote(&entry);
                    wrote = true;
                }
            }
        }
        self.sync(true);
        if self.disk.as_ref().is_some_and(|disk| disk.broken.is_none()) {
            self.events.push(Event::Mended);
        }
    }

    /// Evicts until a record of this class has room on disk.
    fn make_room(&mut self, class: Class, json: usize) {
        let record = (json + format::HEAD + 256) as u64;
        loop {
            let Some(disk) = &self.disk else { return };
            if disk.broken.is_some() {
                return;
            }
            let (of_class, total, lowest) = {
                let index = self.shared.lock();
                let used = Class::ALL.map(|class| index.classes[class.order()].disk_bytes());
                let lowest = Class::ALL
                    .into_iter()
                    .rev()
                    .find(|class| !index.classes[class.order()].segments.is_empty());
                (used[class.order()], used.iter().sum::<u64>(), lowest)
            };
            let full = of_class > 0 && of_class + record > self.limits.class[class.order()];
            let nearly = disk.ceiling.is_some_and(|ceiling| total + record > ceiling);
            // Nothing that matters more than this record goes for it.
            let lower = |victim: &Class| nearly && *victim <= class;
            let victim = if full { Some(class) } else { lowest.filter(lower) };
            let Some(victim) = victim else { return };
            // One that every sink has costs nobody anything.
            if !self.drop_dealt_with() && !self.evict(victim, Why::Full) {
                return;
            }
        }
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
            for (at, sink) in index.sinks.iter_mut().enumerate() {
                sink.cursor.at[order] = sink.cursor.at[order].max(segment.end);
                let gone = evictions.iter().find(|eviction| eviction.sink == at).map_or(0, |e| e.records);
                sink.waiting[order] = sink.waiting[order].saturating_sub(gone);
            }
        }
        for eviction in &evictions {
            self.note(eviction);
        }
        // Said for good before the only copy goes.
        self.sync(false);
        if let Err(error) = fs::remove_file(&segment.path) {
            tracing::warn!(path = %segment.path.display(), %error, "evicted segment not removed");
        }
        true
    }

    /// Tells a sink what it misses, as a record of its own.
    fn note(&mut self, eviction: &Eviction) {
        let alert = (self.say)(eviction);
        let accepted = nanoseconds(&*self.clock);
        let record = Record { class: Class::High, accepted, alert: crate::alert::SafeAlert::new(alert) };
        if let Some(json) = json(&record) {
            self.put(record, &json, Sort::Evicted, &[eviction.sink]);
        }
    }

    /// Keeps what is only in memory within its bound.
    fn bound_memory(&mut self) {
        loop {
            let mut index = self.shared.lock();
            let records: u64 = index.classes.iter().map(ClassLog::unstored).sum();
            let bytes: usize = index.classes.iter().map(|log| log.unstored_bytes).sum();
            if records <= self.limits.records && bytes <= self.limits.memory {
                return;
            }
            let mut classes = Class::ALL.into_iter().rev();
            let Some(class) = classes.find(|class| index.classes[class.order()].unstored() > 0) else {
                return;
            };
            let order = class.order();
            while let Some((entry, only_here)) = index.log(class).pop() {
                if !only_here {
                    continue;
                }
                evict::of_entry(&index, class, &entry, &mut self.unsaid);
                for sink in &mut index.sinks {
                    if entry.seq(sink.key).is_some() && entry.number >= sink.cursor.at[order] {
                        sink.waiting[order] = sink.waiting[order].saturating_sub(1);
                        // Not past what it has waiting on disk.
                        if sink.cursor.at[order] == entry.number {
                            sink.cursor.at[order] += 1;
                        }
                    }
                }
                break;
            }
        }
    }

    /// Removes segments that every sink has dealt with. Whether there were any.
    fn drop_dealt_with(&mut self) -> bool {
        let mut gone = Vec::new();
        {
            let mut index = self.shared.lock();
            for class in Class::ALL {
                let at = index.dealt_with(class);
                let active = self.disk.as_ref().and_then(|d| d.active[class.order()].as_ref()).map(|a| a.id);
                let log = index.log(class);
                log.shorten(at, TAIL);
                while let Some(segment) =
                    log.segments.pop_front_if(|segment| segment.end <= at && Some(segment.id) != active)
                {
                    gone.push(segment);
                }
            }
        }
        for segment in &gone {
            if let Err(error) = fs::remove_file(&segment.path) {
                tracing::warn!(path = %segment.path.display(), %error, "segment not removed");
            }
        }
        !gone.is_empty()
    }

    fn drop_old(&mut self) {
        let age = i64::try_from(self.limits.max_age.as_nanos()).unwrap_or(i64::MAX);
        let before = nanoseconds(&*self.clock).saturating_sub(age);
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

    fn ask_room(&mut self) {
        let Some(disk) = &mut self.disk else { return };
        let Some(room) = (disk.ask_room)(disk.folder.path()) else { return };
        let nearly_full = room.free.saturating_mul(100) < room.total.saturating_mul(FREE_PERCENT);
        if !nearly_full {
            disk.ceiling = None;
        } else if disk.ceiling.is_none() {
            let used = self.shared.lock().classes.iter().map(ClassLog::disk_bytes).sum::<u64>();
            disk.ceiling = Some(used.max(FLOOR));
        }
    }
}

impl Disk {
    /// Appends a record to the class's segment, or to a new one.
    fn append(
        &mut self,
        class: Class,
        number: u64,
        bytes: &[u8],
        most: u64,
        now: Duration,
    ) -> io::Result<Segment> {
        let order = class.order();
        let length = bytes.len() as u64;
        if let Some(active) = self.active[order].take_if(|active| active.bytes + length > most) {
            active.file.sync_data()?;
        }
        if self.active[order].is_none() {
            let active = self.create(class, number)?;
            self.active[order] = Some(active);
        }
        let Some(active) = &mut self.active[order] else { return Err(io::ErrorKind::NotFound.into()) };
        if let Err(error) = active.file.write_all(bytes) {
            // What is half written is taken back. If not even that goes, the file is left alone from now on.
            let path = path_of(self.folder.path(), class, active.id);
            if active.bytes == HEADER as u64 {
                self.active[order] = None;
                let _ = fs::remove_file(&path);
            } else if active.file.set_len(active.bytes).is_err() {
                self.active[order] = None;
            }
            return Err(error);
        }
        active.bytes += length;
        active.dirty.get_or_insert(now);
        let path = path_of(self.folder.path(), class, active.id);
        Ok(Segment { id: active.id, path, first: number, end: number + 1, bytes: active.bytes, newest: 0 })
    }

    /// Whether the disk takes something again: about as much as a record.
    fn probe(&self) -> io::Result<()> {
        let path = self.folder.path().join(".probe");
        let write = || -> io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            file.write_all(&vec![b' '; 64 << 10])?;
            file.sync_data()
        };
        let result = write();
        let _ = fs::remove_file(&path);
        result
    }

    fn create(&mut self, class: Class, first: u64) -> io::Result<Active> {
        let order = class.order();
        let id = self.next_segment[order].max(1);
        let path = path_of(self.folder.path(), class, id);
        let mut file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)?;
        self.next_segment[order] = id + 1;
        let header = format::header(&Header { class, segment: id, first });
        if let Err(error) = file.write_all(&header).and_then(|()| sync_folder(self.folder.path())) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Active { file, id, bytes: HEADER as u64, dirty: None })
    }
}

fn path_of(folder: &Path, class: Class, id: u64) -> std::path::PathBuf {
    folder.join(format!("{}-{id:04}.seg", class.name()))
}

fn state(cursor: Cursor) -> SinkState {
    SinkState {
        key: super::key(&cursor.sink),
        cursor,
        waiting: [0; 3],
        rung: false,
        reopen: 0,
        reopened: 0,
        settle: false,
        heartbeat: None,
    }
}

/// The index of what was found. A sink that is new begins at the end of what there is.
fn index(found: &Found, mut sinks: Vec<SinkState>) -> Index {
    let mut index = Index::default();
    for class in Class::ALL {
        let order = class.order();
        let log = &mut index.classes[order];
        log.next = found.next[order].max(1);
        log.stored = log.next;
        log.segments = found.segments[order].iter().cloned().collect();
        for sink in &mut sinks {
            if sink.waiting[order] == 0 {
                sink.cursor.at[order] = sink.cursor.at[order].max(log.next);
            }
        }
    }
    index.sinks = sinks;
    index
}

fn json(record: &Record) -> Option<Vec<u8>> {
    serde_json::to_vec(&record.alert)
        .inspect_err(|error| tracing::error!(%error, "an alert could not be written as JSON"))
        .ok()
}

pub(crate) fn nanoseconds(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.wall().as_nanosecond()).unwrap_or(i64::MAX)
}

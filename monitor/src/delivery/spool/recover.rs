//! The spool as an earlier agent left it: what is whole is taken over, what is not is named.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::format::{self, HEADER, NoHeader, SinkKey};
use super::index::{Segment, SinkState};
use super::ranges::Ranges;
use super::read::Reader;
use crate::delivery::Class;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// By class: segments, oldest first.
    pub(crate) segments: [Vec<Segment>; 3],
    /// By class: the number that the next segment gets.
    pub(crate) next_segment: [u64; 3],
    /// By class: the number that the next record gets.
    pub(crate) next: [u64; 3],
    /// What is lost, by the place of the sink in the configuration.
    pub(crate) lost: Vec<(usize, Lost)>,
    /// For the log.
    pub(crate) remarks: Vec<String>,
}

/// Records of a sink that cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// How many, if that is known.
    pub(crate) count: Option<u64>,
    /// Their numbers, and perhaps some more.
    pub(crate) seqs: Ranges,
    /// What is the matter, in words.
    pub(crate) why: Vec<String>,
}

/// A place where records are missing.
struct Hole {
    class: Class,
    /// How many, if that is known.
    count: Option<u64>,
    why: String,
    /// By sink: its last sequence number before, and its first one after, if there was one.
    around: Vec<(u64, Option<u64>)>,
}

/// What is known while the segments of a class are read, one after the other.
struct Walk<'a> {
    class: Class,
    sinks: &'a mut [SinkState],
    keys: HashMap<SinkKey, usize>,
    /// The number that comes next, once one was seen.
    expected: Option<u64>,
    last_seq: Vec<u64>,
    /// The segment before ended in bytes that are no record: if the next one does not go on where it ended, they were.
    torn: Option<String>,
    holes: Vec<Hole>,
    /// By sink: sequence numbers that are there and wait.
    waiting: Vec<Vec<u64>>,
}

/// Reads the folder. Takes sequence numbers and what waits into `sinks`.
pub(crate) fn recover(folder: &Path, sinks: &mut [SinkState]) -> io::Result<Found> {
    let mut found = Found::default();
    let mut holes = Vec::new();
    let mut waiting: Vec<Vec<u64>> = vec![Vec::new(); sinks.len()];
    for (class, files) in list(folder)? {
        let order = class.order();
        let keys = sinks.iter().enumerate().map(|(at, sink)| (sink.key, at)).collect();
        let last_seq = sinks.iter().map(|sink| sink.cursor.seq[order]).collect();
        let mut walk =
            Walk { class, sinks, keys, expected: None, last_seq, torn: None, holes: Vec::new(), waiting };
        for (id, path) in files {
            found.next_segment[order] = found.next_segment[order].max(id + 1);
            if let Some(segment) = walk.segment(id, &path, &mut found.remarks)? {
                found.segments[order].push(segment);
            }
        }
        holes.append(&mut walk.holes);
        waiting = walk.waiting;
        let end = found.segments[order].last().map_or(0, |segment| segment.end);
        let told = sinks.iter().map(|sink| sink.cursor.at[order]).max().unwrap_or(0);
        found.next[order] = end.max(told).max(1);
    }
    found.lost = name_lost(&holes, &mut waiting, sinks);
    Ok(found)
}

/// Every class, and its segments by their number.
fn list(folder: &Path) -> io::Result<Vec<(Class, BTreeMap<u64, PathBuf>)>> {
    let mut all: Vec<(Class, BTreeMap<u64, PathBuf>)> =
        Class::ALL.into_iter().map(|class| (class, BTreeMap::new())).collect();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let parts = name.strip_suffix(".seg").and_then(|name| name.rsplit_once('-'));
        let Some((class, number)) = parts else { continue };
        let Ok(number) = number.parse() else { continue };
        if let Some((_, files)) = all.iter_mut().find(|(known, _)| known.name() == class) {
            files.insert(number, path);
        }
    }
    Ok(all)
}

impl Walk<'_> {
    /// Takes a segment in. `None`: it is none, was empty, or was put aside.
    fn segment(&mut self, id: u64, path: &Path, remarks: &mut Vec<String>) -> io::Result<Option<Segment>> {
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path);
        let mut file = match open {
            Ok(file) => file,
            Err(error) => {
                self.hole(None, format!("{}: cannot be opened: {error}", path.display()));
                return Ok(None);
            }
        };
        let length = file.metadata()?.len();
        if length < HEADER as u64 {
            // Made, and the agent was killed before it wrote anything.
            remove(path);
            return Ok(None);
        }
        let mut bytes = [0; HEADER];
        let read = file.read_exact(&mut bytes).map_err(|_| NoHeader::Bad);
        let header = match read.and_then(|()| format::parse_header(&bytes)) {
            Ok(header) if header.class == self.class => header,
            Ok(_) | Err(NoHeader::Bad) => {
                self.put_aside(path, "its header is corrupt");
                return Ok(None);
            }
            Err(NoHeader::Version(version)) => {
                let what = format!(
                    "it has version {version} of the format, and this agent reads {}",
                    if format::OLDEST == format::VERSION {
                        format::VERSION.to_string()
                    } else {
                        format!("{} and {}", format::OLDEST, format::VERSION)
                    }
                );
                self.put_aside(path, &what);
                return Ok(None);
            }
        };
        self.records(id, path, header.first, file, length, remarks)
    }

    fn records(
        &mut self,
        id: u64,
        path: &Path,
        first: u64,
        file: File,
        length: u64,
        remarks: &mut Vec<String>,
    ) -> io::Result<Option<Segment>> {
        // Records that only were in memory, or were evicted, leave such a step too; those are named already.
        let step = self.expected.map_or(0, |expected| first.saturating_sub(expected));
        if let Some(torn) = self.torn.take().filter(|_| step > 0) {
            self.hole(Some(step), torn);
        }
        self.expected = Some(self.expected.map_or(first, |expected| expected.max(first)));
        let mut segment =
            Segment { id, path: path.to_owned(), first, end: first, bytes: length, newest: i64::MIN };
        let mut reader = Reader::new(file.try_clone()?);
        let mut skipped = 0;
        loop {
            let record = reader.next(length)?.map(|raw| (raw.number, raw.accepted, raw.seqs));
            let Some((number, accepted, seqs)) = record else { break };
            if reader.skipped() > skipped {
                let missing = number.saturating_sub(self.expected.unwrap_or(number));
                let bytes = reader.skipped() - skipped;
                skipped = reader.skipped();
                self.hole(Some(missing), format!("{}: {bytes} bytes in it are corrupt", path.display()));
            }
            segment.end = number + 1;
            segment.newest = segment.newest.max(accepted);
            self.expected = Some(number + 1);
            self.take(number, &seqs);
        }
        let good = reader.good();
        if good < length {
            let corrupt = format!("{}: its last {} bytes are corrupt", path.display(), length - good);
            if was_whole(&file, good, length) {
                // Not torn by a kill. Whatever number it had is not given to another.
                self.sinks.iter_mut().for_each(|sink| sink.cursor.next += 1);
                self.expected = self.expected.map(|expected| expected + 1);
                self.hole(Some(1), corrupt);
            } else {
                self.torn = Some(corrupt);
            }
            remarks.push(format!(
                "{}: its last {} bytes are no whole record and were cut off",
                path.display(),
                length - good
            ));
            segment.bytes = good;
            if let Err(error) = file.set_len(good) {
                // They stay, and are told from records each time.
                remarks.push(format!("{}: cannot be cut: {error}", path.display()));
            }
        }
        segment.end = segment.end.max(self.expected.unwrap_or(0));
        if reader.good() == HEADER as u64 {
            remove(path);
            return Ok(None);
        }
        Ok(Some(segment))
    }

    fn take(&mut self, number: u64, seqs: &[(SinkKey, u64)]) {
        for (key, seq) in seqs {
            let Some(&at) = self.keys.get(key) else { continue };
            let state = &mut self.sinks[at];
            state.cursor.next = state.cursor.next.max(seq + 1);
            self.last_seq[at] = self.last_seq[at].max(*seq);
            for hole in &mut self.holes {
                hole.around[at].1.get_or_insert(*seq);
            }
            if number >= state.cursor.at[self.class.order()] {
                state.waiting[self.class.order()] += 1;
                self.waiting[at].push(*seq);
            }
        }
    }

    fn hole(&mut self, count: Option<u64>, why: String) {
        let around = self.last_seq.iter().map(|seq| (*seq, None)).collect();
        self.holes.push(Hole { class: self.class, count, why, around });
    }

    fn put_aside(&mut self, path: &Path, what: &str) {
        let aside = path.with_extension("unread");
        let kept = match fs::rename(path, &aside) {
            Ok(()) => format!("it is kept as {}", aside.display()),
            Err(error) => format!("and it cannot be put aside: {error}"),
        };
        self.hole(None, format!("{}: {what}; {kept}", path.display()));
    }
}

/// Turns holes into what each sink misses: the numbers between those around a hole that are nowhere else.
fn name_lost(holes: &[Hole], waiting: &mut [Vec<u64>], sinks: &[SinkState]) -> Vec<(usize, Lost)> {
    if holes.is_empty() {
        return Vec::new();
    }
    waiting.iter_mut().for_each(|seqs| seqs.sort_unstable());
    let mut all = Vec::new();
    for (at, (state, waiting)) in sinks.iter().zip(waiting).enumerate() {
        let mut lost = Lost { count: Some(0), ..Lost::default() };
        for hole in holes {
            let (before, after) = hole.around[at];
            let from = before.max(state.cursor.seq[hole.class.order()]) + 1;
            let to = after.unwrap_or(state.cursor.next);
            let mut next = from;
            let mut missing = 0;
            for seq in waiting.iter().copied().filter(|seq| (from..to).contains(seq)).chain([to]) {
                if seq > next {
                    lost.seqs.add_run([next, seq - 1]);
                    missing += seq - next;
                }
                next = seq + 1;
            }
            // Records that this sink does not take are among those of the hole.
            let count = hole.count.map(|count| count.min(missing));
            if missing > 0 || (hole.count.is_none() && state.cursor.next > 1) {
                lost.why.push(hole.why.clone());
                lost.count = lost.count.zip(count).map(|(sum, count)| sum + count);
            }
        }
        if !lost.why.is_empty() {
            all.push((at, lost));
        }
    }
    all
}

/// Whether what lies behind the last good record is as long as it says: then it was written to its end once.
fn was_whole(file: &File, good: u64, length: u64) -> bool {
    let mut head = [0; format::HEAD];
    let read = std::os::unix::fs::FileExt::read_exact_at(file, &mut head, good);
    read.is_ok() && format::said_length(&head).is_some_and(|said| good + said as u64 <= length)
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!(path = %path.display(), %error, "empty segment not removed");
    }
}

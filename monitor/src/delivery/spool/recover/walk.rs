//! Reads the segments of a class, one after the other.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::After;
use crate::alert::Alert;
use crate::delivery::Class;
use crate::delivery::spool::format::{self, HEADER, NoHeader, SinkKey, Sort};
use crate::delivery::spool::read::Reader;
use crate::delivery::spool::segment::Segment;
use crate::delivery::spool::sink::SinkState;

/// A place where records are missing.
pub(super) struct Hole {
    pub(super) class: Class,
    /// How many, if that is known.
    pub(super) count: Option<u64>,
    pub(super) why: String,
    /// By sink: its last sequence number before, and its first one after, if there was one.
    pub(super) around: Vec<(u64, Option<u64>)>,
}

/// What is known while they are read.
pub(super) struct Walk<'a> {
    class: Class,
    sinks: &'a mut [SinkState],
    keys: HashMap<SinkKey, usize>,
    /// The number that comes next, once one was seen.
    expected: Option<u64>,
    last_seq: Vec<u64>,
    /// The segment before ended in bytes that are no record: if the next one does not go on where it ended, they were.
    torn: Option<String>,
    pub(super) holes: Vec<Hole>,
    /// By sink: sequence numbers that are there.
    pub(super) there: Vec<Vec<u64>>,
    /// There may have been numbers that are nowhere.
    pub(super) doubt: bool,
    /// What was read is on the disk for good.
    pub(super) synced: bool,
    pub(super) after: Vec<After>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(class: Class, sinks: &'a mut [SinkState], there: Vec<Vec<u64>>) -> Self {
        Self {
            class,
            keys: sinks.iter().enumerate().map(|(at, sink)| (sink.key, at)).collect(),
            last_seq: sinks.iter().map(|sink| sink.cursor.seq[class.order()]).collect(),
            sinks,
            expected: None,
            torn: None,
            holes: Vec::new(),
            there,
            doubt: false,
            synced: true,
            after: Vec::new(),
        }
    }

    /// Takes a segment in. `None`: it is none, was empty, or was put aside.
    pub(super) fn segment(&mut self, id: u64, path: &Path, remarks: &mut Vec<String>) -> Option<Segment> {
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path);
        let opened = open.and_then(|file| Ok((file.metadata()?.len(), file)));
        let (length, mut file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.hole(None, format!("{}: cannot be opened: {error}", path.display()));
                return None;
            }
        };
        if length < HEADER as u64 {
            // Made, and the agent was killed before it wrote anything.
            self.after.push(After::Remove(path.to_owned()));
            return None;
        }
        let mut bytes = [0; HEADER];
        let read = file.read_exact(&mut bytes).map_err(|_| NoHeader::Bad);
        let header = match read.and_then(|()| format::parse_header(&bytes)) {
            Ok(header) if header.class == self.class => header,
            Ok(_) | Err(NoHeader::Bad) => {
                self.put_aside(path, "its header is corrupt or cannot be read");
                return None;
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
                return None;
            }
        };
        self.records(id, path, header.first, &file, length, remarks)
    }

    fn records(
        &mut self,
        id: u64,
        path: &Path,
        first: u64,
        file: &File,
        length: u64,
        remarks: &mut Vec<String>,
    ) -> Option<Segment> {
        // Records that only were in memory, or were evicted, leave such a step too; those are named already.
        let step = self.expected.map_or(0, |expected| first.saturating_sub(expected));
        if let Some(torn) = self.torn.take().filter(|_| step > 0) {
            self.hole(Some(step), torn);
        }
        self.expected = Some(self.expected.map_or(first, |expected| expected.max(first)));
        let mut segment = Segment {
            id,
            path: path.into(),
            first,
            end: first,
            bytes: length,
            newest: i64::MIN,
            held: Vec::new(),
        };
        let mut reader = Reader::new(file);
        let mut skipped = 0;
        // An error is told from `trouble`: the rest cannot be read.
        while let Ok(Some(raw)) = reader.next(length) {
            let told = (raw.sort == Sort::Evicted).then(|| serde_json::from_slice(raw.alert).ok()).flatten();
            segment.hold(&raw.seqs, told.as_ref());
            segment.newest = segment.newest.max(raw.accepted);
            let (number, seqs) = (raw.number, raw.seqs);
            if reader.skipped() > skipped {
                let missing = number.saturating_sub(self.expected.unwrap_or(number));
                let bytes = reader.skipped() - skipped;
                skipped = reader.skipped();
                let what =
                    reader.trouble().map_or("are corrupt".to_owned(), |why| format!("were not read: {why}"));
                self.hole(Some(missing), format!("{}: {bytes} bytes in it {what}", path.display()));
            }
            segment.end = number + 1;
            self.expected = Some(number + 1);
            self.take(number, &seqs, told.as_ref());
        }
        let good = reader.good();
        if good < length {
            segment.bytes = good;
            let rest = length - good;
            if let Some(trouble) = reader.trouble() {
                // Left as it is: what cannot be read may be readable one day, and is told from records each time.
                let what = format!("{}: its last {rest} bytes cannot be read: {trouble}", path.display());
                remarks.push(what.clone());
                self.doubt = true;
                self.hole(None, what);
            } else {
                self.cut(path, file, good, length, remarks);
            }
        }
        // An agent that was killed has not synced it.
        self.synced &= file.sync_data().is_ok();
        segment.end = segment.end.max(self.expected.unwrap_or(0));
        if good == HEADER as u64 && reader.trouble().is_none() {
            self.after.push(After::Remove(path.to_owned()));
            return None;
        }
        Some(segment)
    }

    /// Cuts off what is no record at the end of a segment.
    fn cut(&mut self, path: &Path, file: &File, good: u64, length: u64, remarks: &mut Vec<String>) {
        let rest = length - good;
        let corrupt = format!("{}: its last {rest} bytes are corrupt", path.display());
        match whole(file, good, length) {
            // Torn by a kill: its append had not returned.
            Some((0, _)) => self.torn = Some(corrupt),
            Some((count, telling)) => {
                // Whatever numbers they had are not given to others. What told of alerts that were left out had more than its own.
                self.doubt |= telling;
                self.sinks.iter_mut().for_each(|sink| sink.cursor.next += count);
                self.expected = self.expected.map(|expected| expected + count);
                self.hole(Some(count), corrupt);
            }
            None => {
                self.doubt = true;
                self.hole(None, corrupt);
            }
        }
        remarks
            .push(format!("{}: its last {rest} bytes are no whole record and are cut off", path.display()));
        self.after.push(After::Cut(path.to_owned(), good));
    }

    fn take(&mut self, number: u64, seqs: &[(SinkKey, u64)], told: Option<&Alert>) {
        let order = self.class.order();
        for (key, seq) in seqs {
            let Some(&at) = self.keys.get(key) else { continue };
            let state = &mut self.sinks[at];
            state.cursor.next = state.cursor.next.max(seq + 1);
            self.last_seq[at] = self.last_seq[at].max(*seq);
            for hole in &mut self.holes {
                hole.around[at].1.get_or_insert(*seq);
            }
            self.there[at].push(*seq);
            if number >= state.cursor.at[order] {
                state.waiting[order] += 1;
                state.last[order] = number + 1;
                told.into_iter().for_each(|alert| state.tells(order, alert));
            }
        }
    }

    fn hole(&mut self, count: Option<u64>, why: String) {
        let around = self.last_seq.iter().map(|seq| (*seq, None)).collect();
        self.holes.push(Hole { class: self.class, count, why, around });
    }

    fn put_aside(&mut self, path: &Path, what: &str) {
        let aside = path.with_extension("unread");
        self.doubt = true;
        self.hole(None, format!("{}: {what}; it is kept as {}", path.display(), aside.display()));
        self.after.push(After::Aside(path.to_owned(), aside));
    }
}

/// How many records lie behind the last good one that were written to their end once, by the lengths that they say. `None`:
/// they do not say. And whether some of them told of others that are gone.
fn whole(file: &File, good: u64, length: u64) -> Option<(u64, bool)> {
    let mut at = good;
    let (mut count, mut telling) = (0, false);
    while at < length {
        let mut head = [0; format::HEAD];
        if length - at < head.len() as u64 {
            break;
        }
        file.read_exact_at(&mut head, at).ok()?;
        let end = at + format::said_length(&head)? as u64;
        if end <= length {
            let mut sort = [0];
            file.read_exact_at(&mut sort, at + format::SORT as u64).ok()?;
            telling |= sort[0] != 0;
            count += 1;
        }
        at = end;
    }
    Some((count, telling))
}

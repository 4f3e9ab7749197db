//! A sink's way through the spool.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use super::format::SinkKey;
use super::index::{Entry, seq_of};
use super::ranges::Ranges;
use super::read::Reader;
use super::segment::Seen;
use super::shared::{Part, Place, Shared};
use crate::alert::SafeAlert;
use crate::delivery::{Class, Record};

/// A sink's way.
pub(crate) struct Pull {
    shared: Arc<Shared>,
    key: SinkKey,
}

/// A place in one class, with the segment that is open there.
#[derive(Default)]
pub(crate) struct At {
    /// The number that comes next.
    pub(crate) number: u64,
    open: Option<Open>,
    /// What comes next, if it was looked at and not taken, and the number behind it.
    ahead: Option<(Box<Pulled>, u64)>,
    /// There is something that could not be read at the moment.
    stuck: bool,
}

/// A segment that is being read, and what was seen of it.
struct Open {
    /// As it was last looked at.
    part: Part,
    reader: Reader<File>,
    seen: Seen,
    /// How many records of it do not come, and up to which number of the stream that is said.
    lost: u64,
    said: u64,
}

/// What came next.
#[derive(Debug)]
pub(crate) enum Pulled {
    /// A record, with its number in the sink's stream.
    Entry(Arc<Entry>, u64),
    /// A record that cannot be read, with its number in the sink's stream.
    Unreadable(u64, u64),
    /// Records that cannot be read.
    Lost(Lost),
}

/// Records of a sink that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) records: u64,
    pub(crate) seqs: Ranges,
    /// What is the matter, in words.
    pub(crate) why: String,
}

impl At {
    /// A place.
    pub(crate) fn new(number: u64) -> Self {
        Self { number, open: None, ahead: None, stuck: false }
    }

    /// Whether there is something that could not be read when it was last asked for: it is to be asked for again.
    pub(crate) fn take_stuck(&mut self) -> bool {
        std::mem::take(&mut self.stuck)
    }
}

impl Pull {
    pub(crate) fn new(shared: Arc<Shared>, key: SinkKey) -> Self {
        Self { shared, key }
    }

    /// The next record of a class below `before` that is for this sink; moves the place behind it.
    pub(crate) fn next(&self, class: Class, at: &mut At, before: u64) -> Option<Pulled> {
        if at.ahead.is_some() && at.number >= before {
            return None;
        }
        if let Some((pulled, behind)) = at.ahead.take() {
            at.number = at.number.max(behind);
            return Some(*pulled);
        }
        self.pull(class, at, before)
    }

    /// When the next record of a class below `before` was accepted; the place stays before it.
    pub(crate) fn accepted(&self, class: Class, at: &mut At, before: u64) -> Option<i64> {
        if at.ahead.is_none() {
            let start = at.number;
            let pulled = self.pull(class, at, before)?;
            let behind = at.number;
            at.number = match &pulled {
                Pulled::Entry(entry, _) => entry.number,
                // Not said yet: a cursor must not be written behind it.
                Pulled::Unreadable(..) | Pulled::Lost(_) => start,
            };
            at.ahead = Some((Box::new(pulled), behind));
        }
        match at.ahead.as_ref().map(|(pulled, _)| &**pulled) {
            Some(Pulled::Entry(entry, _)) => Some(entry.record.accepted),
            _ => None,
        }
    }

    fn pull(&self, class: Class, at: &mut At, before: u64) -> Option<Pulled> {
        while at.number < before {
            match self.shared.find(class, at.number, self.key) {
                Place::Memory(entry, _) if entry.number >= before => {
                    at.number = before;
                    return None;
                }
                Place::Memory(entry, seq) => {
                    if let Some(lost) = self.leave(class, at) {
                        return Some(Pulled::Lost(lost));
                    }
                    at.number = entry.number + 1;
                    return Some(Pulled::Entry(entry, seq));
                }
                Place::Nothing(next) => {
                    if let Some(lost) = self.leave(class, at) {
                        return Some(Pulled::Lost(lost));
                    }
                    // Never back: what comes later has higher numbers.
                    at.number = at.number.max(next.min(before));
                    return None;
                }
                Place::Disk(part) => {
                    if at.open.as_ref().is_some_and(|open| open.part.id != part.id)
                        && let Some(lost) = self.leave(class, at)
                    {
                        return Some(Pulled::Lost(lost));
                    }
                    let number = at.number.max(part.first);
                    let problem = match self.in_segment(class, at, &part, number) {
                        Ok(Some(pulled)) if at.number <= before => return Some(pulled),
                        Ok(Some(_)) => {
                            // It begins behind the limit, and is read again when that moves.
                            at.open = None;
                            at.number = before;
                            return None;
                        }
                        Ok(None) => None,
                        // Evicted between the look and the open, which has left a record.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                        // Of this process, and for a moment: the segment is as it was.
                        Err(error) if passes(&error) => {
                            tracing::error!(path = %part.path.display(), %error, "segment of the spool not read yet");
                            at.stuck = true;
                            return None;
                        }
                        Err(error) => Some(error),
                    };
                    at.number = part.end;
                    if let Some(lost) = self.lost(class, at.open.as_mut(), &part, problem.as_ref()) {
                        return Some(Pulled::Lost(lost));
                    }
                }
            }
        }
        None
    }

    /// The next record for this sink in a segment. `None`: no more there.
    fn in_segment(&self, class: Class, at: &mut At, part: &Part, number: u64) -> io::Result<Option<Pulled>> {
        let open = match at.open.take() {
            Some(open) if open.part.id == part.id => at.open.insert(Open { part: part.clone(), ..open }),
            _ => {
                let file =
                    std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(&part.path)?;
                let reader = Reader::new(file);
                at.open.insert(Open { part: part.clone(), reader, seen: Seen::default(), lost: 0, said: 0 })
            }
        };
        while let Some(raw) = open.reader.next(part.bytes)? {
            let Some(seq) = seq_of(&raw.seqs, self.key) else { continue };
            open.seen.add(seq);
            if raw.number < number {
                continue;
            }
            at.number = raw.number + 1;
            return Ok(Some(match serde_json::from_slice(raw.alert) {
                Ok(alert) => {
                    let record =
                        Record { class, accepted: raw.accepted, alert: SafeAlert::from_spool(alert) };
                    let entry = Entry {
                        number: raw.number,
                        sort: raw.sort,
                        seqs: raw.seqs,
                        size: raw.alert.len(),
                        record,
                    };
                    Pulled::Entry(Arc::new(entry), seq)
                }
                Err(_) => Pulled::Unreadable(raw.number, seq),
            }));
        }
        Ok(None)
    }

    /// Closes the segment; what it should have had besides, if it was read to its end.
    fn leave(&self, class: Class, at: &mut At) -> Option<Lost> {
        let mut open = at.open.take().filter(|open| at.number >= open.part.end)?;
        let part = open.part.clone();
        self.lost(class, Some(&mut open), &part, None)
    }

    /// What a segment that was read to its end, or as far as it can be, should have had for this sink besides.
    fn lost(
        &self,
        class: Class,
        open: Option<&mut Open>,
        part: &Part,
        problem: Option<&io::Error>,
    ) -> Option<Lost> {
        let none = Seen::default();
        let (seen, lost, said) = match &open {
            Some(open) => (&open.seen, open.lost, open.said),
            None => (&none, 0, 0),
        };
        let records = part.records.saturating_sub(seen.count() + lost);
        if records == 0 {
            return None;
        }
        let seqs = self.shared.missing(class, part, self.key, seen, said);
        if let Some(open) = open {
            open.lost += records;
            open.said = part.last;
        }
        let seqs = seqs?;
        let what =
            problem.map_or("a part of it is corrupt or cannot be read".to_owned(), ToString::to_string);
        let why = format!("{}: {what}", part.path.display());
        tracing::error!(why, "records of the spool cannot be read");
        Some(Lost { records: records.min(seqs.count()), seqs, why })
    }
}

/// Whether an error says nothing of the file.
fn passes(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

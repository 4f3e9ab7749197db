//! A sink's way through the spool.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use super::format::SinkKey;
use super::index::{Entry, Place, Segment, Shared, seq_of};
use super::read::Reader;
use crate::alert::SafeAlert;
use crate::delivery::{Class, Record};

/// A place in each class, and the open segments there.
pub(crate) struct Pull {
    shared: Arc<Shared>,
    key: SinkKey,
}

/// A place in one class, with the segment that is open there.
#[derive(Default)]
pub(crate) struct At {
    /// The number that comes next.
    pub(crate) number: u64,
    open: Option<(u64, Reader<File>)>,
}

/// What came next.
#[derive(Debug)]
pub(crate) enum Pulled {
    /// A record, with its number in the sink's stream.
    Entry(Arc<Entry>, u64),
    /// A record that cannot be read, with its number in the sink's stream.
    Unreadable(u64, u64),
}

impl At {
    /// A place.
    pub(crate) fn new(number: u64) -> Self {
        Self { number, open: None }
    }
}

impl Pull {
    pub(crate) fn new(shared: Arc<Shared>, key: SinkKey) -> Self {
        Self { shared, key }
    }

    /// The next record of a class below `before` that is for this sink; moves the place behind it.
    pub(crate) fn next(&self, class: Class, at: &mut At, before: u64) -> Option<Pulled> {
        while at.number < before {
            match self.shared.find(class, at.number, self.key) {
                Place::Memory(entry, _) if entry.number >= before => {
                    at.number = before;
                    return None;
                }
                Place::Memory(entry, seq) => {
                    at.open = None;
                    at.number = entry.number + 1;
                    return Some(Pulled::Entry(entry, seq));
                }
                Place::Nothing(next) => {
                    at.open = None;
                    // Never back: what comes later has higher numbers.
                    at.number = at.number.max(next.min(before));
                    return None;
                }
                Place::Disk(segment) => {
                    let number = at.number.max(segment.first);
                    match self.in_segment(class, at, &segment, number) {
                        Ok(Some(pulled)) if at.number <= before => return Some(pulled),
                        Ok(Some(_)) => {
                            // It begins behind the limit, and is read again when that moves.
                            at.open = None;
                            at.number = before;
                            return None;
                        }
                        Ok(None) => at.number = segment.end,
                        Err(error) => {
                            // Evicted between the look and the open, which has left a record; or broken.
                            if error.kind() != io::ErrorKind::NotFound {
                                tracing::error!(path = %segment.path.display(), %error, "segment of the spool not read");
                            }
                            at.open = None;
                            at.number = segment.end;
                        }
                    }
                }
            }
        }
        None
    }

    /// The next record for this sink in a segment. `None`: no more there.
    fn in_segment(
        &self,
        class: Class,
        at: &mut At,
        segment: &Segment,
        number: u64,
    ) -> io::Result<Option<Pulled>> {
        let (_, reader) = match at.open.take() {
            Some(open) if open.0 == segment.id => at.open.insert(open),
            _ => {
                let file = std::fs::OpenOptions::new()
                    .read(true)
                    .custom_flags(libc::O_NOFOLLOW)
                    .open(&segment.path)?;
                at.open.insert((segment.id, Reader::new(file)))
            }
        };
        while let Some(raw) = reader.next(segment.bytes)? {
            let Some(seq) = seq_of(&raw.seqs, self.key).filter(|_| raw.number >= number) else { continue };
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
}

//! Reads the records of a segment, one after the other, around what is broken.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::format::{self, HEADER, MAX_RECORD, Parsed, Raw};

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// Something that is read by position.
pub(crate) trait Bytes {
    /// Reads into `buffer` from `offset` on; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl Bytes for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }
}

impl Bytes for &[u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

/// A place in a segment. Holds one record's bytes, and some more that were read with them.
#[derive(Debug)]
pub(crate) struct Reader<B> {
    from: B,
    buffer: Vec<u8>,
    /// Where in the buffer the next record begins.
    at: usize,
    /// Where in the segment the buffer begins.
    base: u64,
    /// Where the last good record ended.
    good: u64,
    /// Bytes that were skipped between records.
    skipped: u64,
}

impl<B: Bytes> Reader<B> {
    /// A reader of a segment whose header was read.
    pub(crate) fn new(from: B) -> Self {
        let start = HEADER as u64;
        Self { from, buffer: Vec::new(), at: 0, base: start, good: start, skipped: 0 }
    }

    /// Where the last good record ended: what follows at the end of the segment is torn.
    pub(crate) fn good(&self) -> u64 {
        self.good
    }

    /// Bytes between good records that were none.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The next good record that ends at or before `limit`. `None`: there is none.
    pub(crate) fn next(&mut self, limit: u64) -> io::Result<Option<Raw<'_>>> {
        let mut search = false;
        loop {
            if search {
                match format::next_mark(&self.buffer, self.at) {
                    Some(mark) => {
                        self.at = mark;
                        search = false;
                    }
                    None => {
                        // A mark may be cut in two by the buffer's end.
                        self.at = self.buffer.len().saturating_sub(3).max(self.at);
                        let wanted = self.buffer.len() - self.at + CHUNK;
                        if !self.fill(wanted, limit)? {
                            return Ok(None);
                        }
                        continue;
                    }
                }
            }
            // Only the length is kept over the borrow; the record is taken again when it is known to be whole.
            let (length, need) = match format::parse(&self.buffer[self.at..]) {
                Parsed::Record(_, length) => (Some(length), 0),
                Parsed::Need(need) => (None, need),
                Parsed::Bad => {
                    if self.buffer.len() == self.at && !self.fill(CHUNK, limit)? {
                        return Ok(None);
                    }
                    self.at += 1;
                    search = true;
                    continue;
                }
            };
            let Some(length) = length else {
                let had = self.buffer.len();
                self.fill(need.max(CHUNK), limit)?;
                if self.buffer.len() - self.at < need && self.buffer.len() == had {
                    if self.buffer.len() == self.at {
                        return Ok(None);
                    }
                    // Torn, or a length that was damaged: perhaps there is another record behind it.
                    self.at += 1;
                    search = true;
                }
                continue;
            };
            let start = self.base + self.at as u64;
            self.skipped += start - self.good;
            self.good = start + length as u64;
            let at = self.at;
            self.at += length;
            return Ok(match format::parse(&self.buffer[at..]) {
                Parsed::Record(raw, _) => Some(raw),
                _ => None,
            });
        }
    }

    /// Makes the buffer hold `wanted` bytes from the place on, if the segment has them; whether it got any.
    fn fill(&mut self, wanted: usize, limit: u64) -> io::Result<bool> {
        self.buffer.drain(..self.at);
        self.base += self.at as u64;
        self.at = 0;
        let mut got = false;
        while self.buffer.len() < wanted.min(MAX_RECORD) {
            let end = self.base + self.buffer.len() as u64;
            let room = usize::try_from(limit.saturating_sub(end)).unwrap_or(CHUNK).min(CHUNK);
            let had = self.buffer.len();
            self.buffer.resize(had + room, 0);
            let count = self.from.read_at(&mut self.buffer[had..], end);
            let count = match count {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.buffer.truncate(had);
                    continue;
                }
                other => other,
            };
            self.buffer.truncate(had + count.as_ref().copied().unwrap_or(0));
            if count? == 0 {
                break;
            }
            got = true;
        }
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::delivery::Class;
    use crate::delivery::spool::format::{Header, Sort, header};

    /// A part of a segment: a record whose alert has so many bytes, or bytes that are none.
    #[derive(Clone, Debug)]
    enum Part {
        Record(usize),
        Rubbish(Vec<u8>),
    }

    fn part() -> impl Strategy<Value = Part> {
        prop_oneof![
            (0usize..200_000).prop_map(|size| Part::Record(size.min(150_000))),
            (0usize..300).prop_map(Part::Record),
            proptest::collection::vec(any::<u8>(), 0..200).prop_map(Part::Rubbish),
            // What looks like the beginning of a record, with any length.
            any::<[u8; 8]>().prop_map(|tail| Part::Rubbish([b"\xffSW\xfe", &tail[..]].concat())),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn every_whole_record_is_found_whatever_is_between(parts in proptest::collection::vec(part(), 0..12)) {
            let mut bytes = header(&Header { class: Class::Low, segment: 1, first: 1 }).to_vec();
            let mut written = Vec::new();
            for (number, part) in parts.iter().enumerate() {
                match part {
                    Part::Record(size) => {
                        let alert = vec![b'x'; *size];
                        let raw = Raw { number: number as u64, accepted: 0, sort: Sort::Alert, seqs: vec![(1, 2)], alert: &alert };
                        prop_assert!(format::record(&raw, &mut bytes));
                        written.push(number as u64);
                    }
                    Part::Rubbish(rubbish) => bytes.extend_from_slice(rubbish),
                }
            }
            let mut reader = Reader::new(&bytes[..]);
            let mut read = Vec::new();
            while let Some(raw) = reader.next(bytes.len() as u64).unwrap() {
                read.push(raw.number);
            }
            prop_assert_eq!(read, written);
        }
    }
}

//! Reads the records of a segment, one after the other, around what is broken.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::format::{self, HEADER, MAX_RECORD, Parsed, Raw};

/// How much is read at once.
const CHUNK: usize = 64 << 10;
/// What a disk cannot give is skipped in steps of this, so often; a disk that is dying may take long for each.
const BLOCK: u64 = 4 << 10;
const MOST_BLOCKS: u32 = 8;

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

impl Bytes for &File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(*self, buffer, offset)
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
    /// Blocks that could not be read.
    blocks: u32,
    /// What the system said of the last of them.
    trouble: Option<String>,
}

impl<B: Bytes> Reader<B> {
    /// A reader of a segment whose header was read.
    pub(crate) fn new(from: B) -> Self {
        let start = HEADER as u64;
        Self {
            from,
            buffer: Vec::new(),
            at: 0,
            base: start,
            good: start,
            skipped: 0,
            blocks: 0,
            trouble: None,
        }
    }

    /// Where the last good record ended: what follows at the end of the segment is torn.
    pub(crate) fn good(&self) -> u64 {
        self.good
    }

    /// Bytes between good records that were none.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Why parts of it could not be read, if that was so.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// The next good record that ends at or before `limit`. `None`: there is none. An error: what follows cannot be read;
    /// single blocks that cannot are skipped.
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
            let count = match self.from.read_at(&mut self.buffer[had..], end) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.buffer.truncate(had);
                    continue;
                }
                Err(error) => {
                    self.buffer.truncate(had);
                    match self.skip_block(end, limit, error) {
                        Ok(count) => count,
                        // What was read before it counts; the next call fails.
                        Err(_) if got => break,
                        Err(error) => return Err(error),
                    }
                }
                Ok(count) => {
                    self.buffer.truncate(had + count);
                    count
                }
            };
            if count == 0 {
                break;
            }
            got = true;
        }
        Ok(got)
    }

    /// Puts zeros, which are no record, where a block cannot be read; how many.
    fn skip_block(&mut self, at: u64, limit: u64, error: io::Error) -> io::Result<usize> {
        self.trouble = Some(error.to_string());
        self.blocks += 1;
        if self.blocks > MOST_BLOCKS {
            return Err(error);
        }
        let end = (at / BLOCK + 1).saturating_mul(BLOCK).min(limit);
        let count = usize::try_from(end.saturating_sub(at)).unwrap_or(0);
        self.buffer.resize(self.buffer.len() + count, 0);
        Ok(count)
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

    /// A segment on a disk with bad blocks.
    struct Bad<'a>(&'a [u8], Vec<u64>);

    impl Bytes for Bad<'_> {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            // As a kernel does it: what lies before the bad block is given first.
            let bad = self.1.iter().map(|block| block * BLOCK).filter(|start| start + BLOCK > offset).min();
            let room = bad.map_or(u64::MAX, |start| start.saturating_sub(offset));
            if room == 0 {
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            let most = buffer.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            self.0.read_at(&mut buffer[..most], offset)
        }
    }

    /// A segment of so many records of 1000 bytes.
    fn records(count: u64) -> Vec<u8> {
        let mut bytes = header(&Header { class: Class::Low, segment: 1, first: 0 }).to_vec();
        for number in 0..count {
            let alert = vec![b'x'; 1000 - format::HEAD - 34];
            let seqs = vec![(1, number + 1)];
            let raw = Raw { number, accepted: 0, sort: Sort::Alert, seqs, alert: &alert };
            assert!(format::record(&raw, &mut bytes));
        }
        bytes
    }

    #[test]
    fn block_that_cannot_be_read_costs_its_records_only() {
        let bytes = records(100);
        let mut reader = Reader::new(Bad(&bytes, vec![2, 10]));
        let mut read = Vec::new();
        while let Some(raw) = reader.next(bytes.len() as u64).unwrap() {
            read.push(raw.number);
        }
        let lost: Vec<u64> = (0..100).filter(|number| !read.contains(number)).collect();
        assert_eq!(lost, [8, 9, 10, 11, 12, 40, 41, 42, 43, 44, 45]);
        assert!(reader.trouble().is_some_and(|trouble| trouble.contains("os error 5")));
    }

    #[test]
    fn disk_that_gives_nothing_any_more_is_given_up() {
        let bytes = records(100);
        let mut reader = Reader::new(Bad(&bytes, (3..25).collect()));
        let mut read = 0;
        let error = loop {
            match reader.next(bytes.len() as u64) {
                Ok(Some(_)) => read += 1,
                Ok(None) => panic!("it was not given up"),
                Err(error) => break error,
            }
        };
        assert_eq!((read, error.raw_os_error()), (12, Some(libc::EIO)));
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

//! The spool: what was appended here is on disk, is read by each sink at its own pace, and is gone when all have it.
//!
//! One log per class, of segment files (`format` has their bytes, `read` reads around what is broken, `recover` takes over
//! what an earlier agent left, `boot` tells whether that is all, `given` which numbers are used up). One thread appends ([`Writer`]); sinks read through what
//! they share with it (`index`, `shared`, `pull`), each with a cursor in a file of its own. A spool that is full evicts its
//! oldest segment of the lowest class and leaves a record of that for every sink that had not read it (`evict`). A disk that
//! takes nothing is no reason to stop: records are then kept in memory, up to a bound, and written when it does again.

mod boot;
mod cursor;
mod evict;
mod format;
mod given;
mod index;
mod limits;
mod pull;
mod ranges;
mod read;
mod recover;
mod room;
mod segment;
mod shared;
mod sink;
mod writer;

pub(crate) use evict::{Eviction, LeftOut, Why};
pub(crate) use format::{SinkKey, Sort};
pub(crate) use index::Entry;
pub(crate) use limits::Limits;
pub(crate) use pull::{At, Lost, Pull, Pulled};
pub(crate) use ranges::Ranges;
pub(crate) use shared::{Done, Shared};
pub(crate) use writer::{Event, Say, Writer, nanoseconds};

/// Its folder in the state directory.
const FOLDER: &str = "spool";
/// So many numbers at least are promised to a sink at once: what a power cut may cost in numbers that were never given.
const LEAST_RESERVED: u64 = 64;

/// Whether an agent keeps its alerts below this state directory.
pub(crate) fn is_taken(state_dir: &std::path::Path) -> bool {
    crate::state_dir::is_taken(state_dir, FOLDER)
}

/// A sink's key: the beginning of its name's hash.
pub(crate) fn key(name: &str) -> SinkKey {
    use sha2::{Digest, Sha256};
    let mut first = [0; 8];
    first.copy_from_slice(&Sha256::digest(name.as_bytes())[..8]);
    u64::from_le_bytes(first)
}

/// Reads a segment's bytes to the end: how many records are whole, and how many bytes between them are none. For the fuzzer,
/// which has no other way in.
pub fn scan(segment: &[u8]) -> (u64, u64) {
    let _ = format::parse_header(segment);
    let mut reader = read::Reader::new(segment);
    let mut records = 0;
    while let Ok(Some(_)) = reader.next(segment.len() as u64) {
        records += 1;
    }
    (records, reader.skipped())
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

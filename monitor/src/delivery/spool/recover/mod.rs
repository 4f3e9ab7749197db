//! The spool as an earlier agent left it: what is whole is taken over, what is not is named.
//!
//! `walk` reads the segments of a class one after the other and notes the holes, `name` turns these into numbers that each
//! sink misses.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::evict::Why;
use super::ranges::Ranges;
use super::segment::Segment;
use super::sink::SinkState;
use crate::delivery::Class;

mod name;
mod walk;

use walk::Walk;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// By class: segments, oldest first.
    pub(crate) segments: [Vec<Segment>; 3],
    /// By class: the number that the next segment gets.
    pub(crate) next_segment: [u64; 3],
    /// By class: the number that the next record gets.
    pub(crate) next: [u64; 3],
    /// What is lost.
    pub(crate) lost: Vec<Lost>,
    /// For the log.
    pub(crate) remarks: Vec<String>,
    /// All of it is on the disk for good.
    pub(crate) synced: bool,
    /// What is to be done with files once everything that is lost is named.
    pub(crate) after: Vec<After>,
}

/// What is done with a file that is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// It is kept under another name.
    Aside(PathBuf, PathBuf),
    /// It is cut to so many bytes.
    Cut(PathBuf, u64),
    /// It has nothing.
    Remove(PathBuf),
}

impl After {
    pub(crate) fn act(self) {
        let done = match &self {
            Self::Aside(from, to) => fs::rename(from, to),
            Self::Cut(path, bytes) => {
                fs::OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(*bytes))
            }
            Self::Remove(path) => fs::remove_file(path),
        };
        if let Err(error) = done {
            // It is met again at the next start.
            tracing::warn!(what = ?self, %error, "a file of the spool stays as it is");
        }
    }
}

/// Records that a sink does not get, or may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    /// The place of the sink in the configuration.
    pub(crate) sink: usize,
    pub(crate) kind: Why,
    /// How many, if that is known.
    pub(crate) count: Option<u64>,
    /// Their numbers, and perhaps some more.
    pub(crate) seqs: Ranges,
    /// What is the matter, in words.
    pub(crate) why: Vec<String>,
}

/// How a sink comes to its cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It is the one that it had.
    Kept,
    /// The sink was left out of the configuration for a while.
    Back,
    /// It is new; and why the one before could not be read, if there was one.
    New(Option<String>),
}

/// Reads the folder. Takes sequence numbers and what waits into `sinks`; `has_all`: every number that was given is in a file.
pub(crate) fn recover(
    folder: &Path,
    sinks: &mut [SinkState],
    origins: &[Origin],
    has_all: bool,
) -> io::Result<Found> {
    let mut found = Found { synced: true, ..Found::default() };
    let mut holes = Vec::new();
    let mut doubt = !has_all;
    let mut there: Vec<Vec<u64>> = vec![Vec::new(); sinks.len()];
    let mut ends = [0; 3];
    for (class, files) in list(folder)? {
        let order = class.order();
        let mut walk = Walk::new(class, sinks, there);
        for (id, path) in files {
            found.next_segment[order] = found.next_segment[order].max(id + 1);
            if let Some(segment) = walk.segment(id, &path, &mut found.remarks) {
                found.segments[order].push(segment);
            }
        }
        found.synced &= walk.synced;
        found.after.append(&mut walk.after);
        doubt |= walk.doubt;
        holes.append(&mut walk.holes);
        there = walk.there;
        ends[order] = found.segments[order].last().map_or(0, |segment| segment.end);
        let told = sinks.iter().map(|sink| sink.cursor.at[order].max(sink.cursor.ends[order])).max();
        found.next[order] = ends[order].max(told.unwrap_or(0)).max(1);
    }
    let short: Vec<Option<u64>> =
        (0..sinks.len()).map(|at| name::short(at, &sinks[at], ends, &holes)).collect();
    there.iter_mut().for_each(|seqs| seqs.sort_unstable());
    for (at, sink) in sinks.iter_mut().enumerate() {
        // Whatever had these numbers, nothing else gets them.
        if doubt || origins.get(at) == Some(&Origin::Back) {
            sink.cursor.next = sink.cursor.next.max(sink.cursor.reserved);
        }
    }
    found.lost = name::holes(&holes, &there, sinks);
    found.lost.extend(name::doubts(!has_all, origins, &there, &short, sinks));
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

//! Making room: the oldest of the lowest class goes, and each sink that had not read it is told.

use std::fs::File;
use std::io;

use super::format::Sort;
use super::index::{Entry, Index, Segment, seq_of};
use super::ranges::Ranges;
use super::read::Reader;
use crate::alert::Alert;
use crate::delivery::Class;

/// Why records are not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The spool was full.
    Full,
    /// They were too old.
    Old,
    /// The disk took nothing and the memory was full.
    Memory,
    /// They cannot be read.
    Unreadable,
}

/// Records that a sink does not get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Eviction {
    /// The sink's place in the configuration.
    pub(crate) sink: usize,
    pub(crate) why: Why,
    /// How many alerts, if that is known.
    pub(crate) count: Option<u64>,
    /// How many records: one may tell of many that went before.
    pub(crate) records: u64,
    /// Their numbers in the sink's stream.
    pub(crate) seqs: Ranges,
    /// When the first and the last of them were accepted, ns since the epoch.
    pub(crate) span: Option<(i64, i64)>,
    /// More, in words.
    pub(crate) detail: String,
}

impl Eviction {
    pub(crate) fn none(sink: usize, why: Why) -> Self {
        Self {
            sink,
            why,
            count: Some(0),
            records: 0,
            seqs: Ranges::default(),
            span: None,
            detail: String::new(),
        }
    }

    /// Adds a record. One that told of evicted records tells of them through this one.
    fn add(&mut self, seq: u64, accepted: i64, told: Option<&Alert>) {
        self.seqs.add(seq);
        self.records += 1;
        let gap = told.and_then(|alert| alert.gap.as_ref());
        let more = gap.map_or(Some(1), |gap| gap.lost);
        self.count = self.count.zip(more).map(|(count, more)| count + more);
        for run in gap.iter().flat_map(|gap| &gap.sequences) {
            self.seqs.add_run(*run);
        }
        let (from, to) = self.span.unwrap_or((accepted, accepted));
        self.span = Some((from.min(accepted), to.max(accepted)));
    }
}

/// What each sink misses if this segment goes.
pub(crate) fn of_segment(index: &Index, class: Class, segment: &Segment, why: Why) -> Vec<Eviction> {
    let order = class.order();
    let behind: Vec<(usize, u64)> = index
        .sinks
        .iter()
        .enumerate()
        .map(|(at, sink)| (at, sink.cursor.at[order]))
        .filter(|(_, at)| *at < segment.end)
        .collect();
    if behind.is_empty() {
        return Vec::new();
    }
    let mut all: Vec<Eviction> = behind.iter().map(|(sink, _)| Eviction::none(*sink, why)).collect();
    if let Err(error) = read_segment(index, segment, &behind, &mut all, order) {
        // Not even read once more: how many of them were for which sink is not known.
        for eviction in &mut all {
            eviction.count = None;
            eviction.detail = format!("{}: {error}", segment.path.display());
        }
    }
    all.retain(|eviction| eviction.count != Some(0));
    all
}

fn read_segment(
    index: &Index,
    segment: &Segment,
    behind: &[(usize, u64)],
    all: &mut [Eviction],
    order: usize,
) -> io::Result<()> {
    debug_assert!(order < 3, "classes are three");
    let mut reader = Reader::new(File::open(&segment.path)?);
    while let Some(raw) = reader.next(segment.bytes)? {
        let told = match raw.sort {
            Sort::Alert => None,
            Sort::Evicted => serde_json::from_slice(raw.alert).ok(),
        };
        for ((sink, at), eviction) in behind.iter().zip(all.iter_mut()) {
            let seq = index.sinks.get(*sink).and_then(|state| seq_of(&raw.seqs, state.key));
            if let Some(seq) = seq.filter(|_| raw.number >= *at) {
                eviction.add(seq, raw.accepted, told.as_ref());
            }
        }
    }
    Ok(())
}

/// Adds a record that was only in memory to what each sink misses.
pub(crate) fn of_entry(index: &Index, class: Class, entry: &Entry, all: &mut Vec<Eviction>) {
    for (at, sink) in index.sinks.iter().enumerate() {
        let Some(seq) = entry.seq(sink.key).filter(|_| entry.number >= sink.cursor.at[class.order()]) else {
            continue;
        };
        let known = all.iter().position(|eviction| eviction.sink == at && eviction.why == Why::Memory);
        let known = known.unwrap_or_else(|| {
            all.push(Eviction::none(at, Why::Memory));
            all.len() - 1
        });
        let told = (entry.sort == Sort::Evicted).then_some(&*entry.record.alert);
        all[known].add(seq, entry.record.accepted, told);
    }
}

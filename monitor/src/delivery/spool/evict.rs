//! Making room: the oldest of the lowest class goes, and each sink that had not read it is told.

use std::fs::File;
use std::io;

use super::format::Sort;
use super::index::{Entry, Index, seq_of};
use super::ranges::Ranges;
use super::read::Reader;
use super::segment::{Seen, Segment};
use super::sink::SinkState;
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
    /// The host went down, or the agent while the disk took nothing, before it was sure that they were on disk.
    Unclean,
    /// The sink was left out of the configuration.
    Away,
    /// Too much waited to be appended: they were never in the spool.
    LeftOut,
    /// None is lost: the stream of numbers begins behind them.
    Anew,
}

/// Records that a sink does not get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Eviction {
    /// The sink's place in the configuration.
    pub(crate) sink: usize,
    pub(crate) why: Why,
    /// The class of what tells of it: that of the records, or the highest where these are of several.
    pub(crate) class: Class,
    /// How many alerts, if that is known.
    pub(crate) count: Option<u64>,
    /// Of these, those that no record told of before.
    pub(crate) fresh: u64,
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
            class: Class::High,
            count: Some(0),
            fresh: 0,
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
        self.fresh += u64::from(told.is_none());
        let gap = told.and_then(|alert| alert.gap.as_ref());
        let more = gap.map_or(Some(1), |gap| gap.lost);
        self.count = self.count.zip(more).map(|(count, more)| count + more);
        for run in gap.iter().flat_map(|gap| &gap.sequences) {
            self.seqs.add_run(*run);
        }
        let first = gap.and_then(|gap| nanoseconds(&gap.from)).unwrap_or(accepted);
        let last = gap.and_then(|gap| nanoseconds(gap.to.as_ref()?)).unwrap_or(accepted);
        let (from, to) = self.span.unwrap_or((first, last));
        self.span = Some((from.min(first), to.max(last)));
    }
}

/// Alerts of a class that a sink does not get because they were never appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// The sink's place in the configuration.
    pub(crate) sink: usize,
    pub(crate) class: Class,
    /// How many; at least one.
    pub(crate) count: u64,
    /// When the first and the last of them were accepted, ns since the epoch.
    pub(crate) span: (i64, i64),
}

impl LeftOut {
    pub(crate) fn new(sink: usize, class: Class, accepted: i64) -> Self {
        Self { sink, class, count: 1, span: (accepted, accepted) }
    }

    pub(crate) fn add(&mut self, accepted: i64) {
        self.count += 1;
        self.span = (self.span.0.min(accepted), self.span.1.max(accepted));
    }
}

/// A time as a gap alert has it, ns since the epoch.
fn nanoseconds(time: &str) -> Option<i64> {
    i64::try_from(time.parse::<jiff::Timestamp>().ok()?.as_nanosecond()).ok()
}

/// What each sink misses if this segment goes.
pub(crate) fn of_segment(index: &Index, class: Class, segment: &Segment, why: Why) -> Vec<Eviction> {
    let order = class.order();
    let mut behind: Vec<Behind<'_>> = index
        .sinks
        .iter()
        .enumerate()
        .filter(|(_, sink)| sink.cursor.at[order] < segment.end)
        .map(|(at, state)| {
            let eviction = Eviction { class, ..Eviction::none(at, why) };
            Behind { state, seen: Seen::default(), eviction }
        })
        .collect();
    if behind.is_empty() {
        return Vec::new();
    }
    let problem = read_segment(segment, order, &mut behind).err();
    for Behind { state, seen, eviction } in &mut behind {
        let Some(held) = segment.held(state.key) else { continue };
        let unread = held.records.saturating_sub(seen.count());
        let missing = held.missing(seen, state.cursor.seq[order], held.last);
        if unread == 0 || missing.runs().is_empty() {
            continue;
        }
        // Not even read once more. What a sink has dealt with out of turn may be among them.
        eviction.count = None;
        eviction.records += unread.min(missing.count());
        missing.runs().iter().for_each(|run| eviction.seqs.add_run(*run));
        let reason = problem.as_ref().map_or("a part of it is corrupt".to_owned(), ToString::to_string);
        eviction.detail = format!("{}: {reason}", segment.path.display());
    }
    let evictions = behind.into_iter().map(|behind| behind.eviction);
    // What tells that nothing is lost has a number all the same.
    evictions.filter(|eviction| eviction.count != Some(0) || eviction.records > 0).collect()
}

/// A sink that has not dealt with all of a segment.
struct Behind<'a> {
    state: &'a SinkState,
    seen: Seen,
    eviction: Eviction,
}

fn read_segment(segment: &Segment, order: usize, behind: &mut [Behind<'_>]) -> io::Result<()> {
    let mut reader = Reader::new(File::open(&segment.path)?);
    while let Some(raw) = reader.next(segment.bytes)? {
        let told = match raw.sort {
            Sort::Alert => None,
            Sort::Evicted => serde_json::from_slice(raw.alert).ok(),
        };
        for Behind { state, seen, eviction } in &mut *behind {
            let Some(seq) = seq_of(&raw.seqs, state.key) else { continue };
            seen.add(seq);
            if !state.has(order, raw.number) {
                eviction.add(seq, raw.accepted, told.as_ref());
            }
        }
    }
    Ok(())
}

/// Adds a record that was only in memory to what each sink misses.
pub(crate) fn of_entry(index: &Index, class: Class, entry: &Entry, all: &mut Vec<Eviction>) {
    for (at, sink) in index.sinks.iter().enumerate() {
        let Some(seq) = entry.seq(sink.key).filter(|_| !sink.has(class.order(), entry.number)) else {
            continue;
        };
        let same =
            |eviction: &Eviction| (eviction.sink, eviction.why, eviction.class) == (at, Why::Memory, class);
        let known = all.iter().position(same).unwrap_or_else(|| {
            all.push(Eviction { class, ..Eviction::none(at, Why::Memory) });
            all.len() - 1
        });
        let told = (entry.sort == Sort::Evicted).then_some(&*entry.record.alert);
        all[known].add(seq, entry.record.accepted, told);
    }
}

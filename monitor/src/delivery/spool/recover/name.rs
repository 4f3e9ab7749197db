//! Turns what is doubtful into numbers that each sink misses.

use super::walk::Hole;
use super::{Lost, Origin};
use crate::delivery::Class;
use crate::delivery::spool::evict::Why;
use crate::delivery::spool::ranges::Ranges;
use crate::delivery::spool::sink::SinkState;

/// What each sink misses of these holes: the numbers between those around a hole that are nowhere else. `there`: by sink,
/// the numbers that were found, in order.
pub(super) fn holes(holes: &[Hole], there: &[Vec<u64>], sinks: &[SinkState]) -> Vec<Lost> {
    let mut all = Vec::new();
    for (at, (state, there)) in sinks.iter().zip(there).enumerate() {
        let mut lost = Lost {
            sink: at,
            kind: Why::Unreadable,
            count: Some(0),
            seqs: Ranges::default(),
            why: Vec::new(),
        };
        for hole in holes {
            let (before, after) = hole.around[at];
            let from = before.max(state.cursor.seq[hole.class.order()]) + 1;
            let missing = missing(there, from, after.unwrap_or(state.cursor.next), &mut lost.seqs);
            // Records that this sink does not take are among those of the hole.
            let count = hole.count.map(|count| count.min(missing));
            if missing > 0 || (hole.count.is_none() && state.cursor.next > 1) {
                lost.why.push(hole.why.clone());
                lost.count = lost.count.zip(count).map(|(sum, count)| sum + count);
            }
        }
        if !lost.why.is_empty() {
            all.push(lost);
        }
    }
    all
}

/// From which number on a sink may miss some because its cursor knows of records behind the last that a file has: the files are
/// older ones. A hole at the end of a class (it goes on to the last number) is named as that.
pub(super) fn short(at: usize, state: &SinkState, ends: [u64; 3], holes: &[Hole]) -> Option<u64> {
    let cursor = &state.cursor;
    let classes = Class::ALL.into_iter().filter(|class| {
        let order = class.order();
        let named = |hole: &Hole| hole.class == *class && hole.around[at].1.is_none();
        cursor.ends[order] > ends[order].max(cursor.at[order]) && !holes.iter().any(named)
    });
    classes.map(|class| cursor.seq[class.order()] + 1).min()
}

/// What each sink may miss for other reasons: `unclean`, numbers may have been given that no file knows of; `short`, see there.
pub(super) fn doubts(
    unclean: bool,
    origins: &[Origin],
    there: &[Vec<u64>],
    short: &[Option<u64>],
    sinks: &[SinkState],
) -> Vec<Lost> {
    let mut all = Vec::new();
    for (at, ((state, there), origin)) in sinks.iter().zip(there).zip(origins).enumerate() {
        let cursor = &state.cursor;
        let short = short.get(at).copied().flatten();
        let (kind, from, why) = match origin {
            Origin::Kept if unclean => {
                let why = "the host went down, or the disk took nothing and the agent ended, before all of them were on disk";
                let from = cursor.kept.max(cursor.dealt);
                (Why::Unclean, short.map_or(from, |short| short.min(from)), why.to_owned())
            }
            Origin::Kept => {
                let Some(from) = short else { continue };
                let why = "the files end before what the cursor knows of: older ones were put back, or the disk lost what it had";
                (Why::Unreadable, from, why.to_owned())
            }
            Origin::Back => {
                let why = "the sink was not in the configuration for a while";
                (Why::Away, cursor.dealt, why.to_owned())
            }
            Origin::New(None) if cursor.next == 1 => continue,
            Origin::New(problem) => {
                let why = problem.clone().unwrap_or_else(|| "its cursor was gone".to_owned());
                (Why::Anew, 1, format!("{why}; the stream {} begins here", cursor.stream))
            }
        };
        let mut seqs = Ranges::default();
        if missing(there, from, cursor.next, &mut seqs) > 0 || kind == Why::Anew {
            // What lies before a new stream was another's.
            let count = (kind == Why::Anew).then_some(0);
            all.push(Lost { sink: at, kind, count, seqs, why: vec![why] });
        }
    }
    all
}

/// Adds the numbers from `from` to before `to` that are not there; how many.
fn missing(there: &[u64], from: u64, to: u64, seqs: &mut Ranges) -> u64 {
    let mut next = from;
    let mut missing = 0;
    let start = there.partition_point(|seq| *seq < from);
    for seq in there[start..].iter().copied().take_while(|seq| *seq < to).chain([to]) {
        if seq > next {
            seqs.add_run([next, seq - 1]);
            missing += seq - next;
        }
        next = seq + 1;
    }
    missing
}

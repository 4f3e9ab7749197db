//! A segment, as it is remembered: where it lies, and which numbers of which sink are in it. What a disk does not give
//! back can be named all the same.

use std::path::Path;
use std::sync::Arc;

use super::format::SinkKey;
use super::ranges::Ranges;
use crate::alert::Alert;

/// A segment on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) id: u64,
    pub(crate) path: Arc<Path>,
    pub(crate) first: u64,
    /// The number after its last record.
    pub(crate) end: u64,
    /// Its good bytes.
    pub(crate) bytes: u64,
    /// When its newest record was accepted.
    pub(crate) newest: i64,
    pub(crate) held: Vec<(SinkKey, Held)>,
}

impl Segment {
    pub(crate) fn held(&self, key: SinkKey) -> Option<&Held> {
        self.held.iter().find(|(sink, _)| *sink == key).map(|(_, held)| held)
    }

    /// A record for these sinks is in it; `told`: it tells of others that went before.
    pub(crate) fn hold(&mut self, seqs: &[(SinkKey, u64)], told: Option<&Alert>) {
        for (key, seq) in seqs {
            let at = self.held.iter().position(|(sink, _)| sink == key).unwrap_or_else(|| {
                self.held.push((*key, Held::default()));
                self.held.len() - 1
            });
            self.held[at].1.add(*seq, told);
        }
    }
}

/// What a segment has for one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) records: u64,
    /// Their highest number in the sink's stream.
    pub(crate) last: u64,
    pub(crate) seqs: Ranges,
    /// Numbers that some of them tell of.
    told: Ranges,
}

impl Held {
    fn add(&mut self, seq: u64, told: Option<&Alert>) {
        self.records += 1;
        self.last = self.last.max(seq);
        self.seqs.add(seq);
        for run in told.and_then(|alert| alert.gap.as_ref()).iter().flat_map(|gap| &gap.sequences) {
            self.told.add_run(*run);
        }
    }

    /// What is in here above the number `above` and up to `last`, and was not seen. Perhaps some more is named.
    pub(crate) fn missing(&self, seen: &Seen, above: u64, last: u64) -> Ranges {
        let mut missing = Ranges::default();
        for [first, end] in self.seqs.runs() {
            let mut next = (*first).max(above.saturating_add(1));
            let end = (*end).min(last);
            for [from, to] in seen.0.iter().filter(|[_, to]| *to >= *first) {
                if *from > end {
                    break;
                }
                if *from > next {
                    missing.add_run([next, from - 1]);
                }
                next = next.max(to + 1);
            }
            missing.add_run([next, end]);
        }
        if !missing.runs().is_empty() {
            self.told.runs().iter().for_each(|run| missing.add_run(*run));
        }
        missing
    }
}

/// Numbers of one sink that were read from a segment, in the order in which they lie there: as first and last of each run,
/// and all of them, however many runs these are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(Vec<[u64; 2]>);

impl Seen {
    pub(crate) fn add(&mut self, seq: u64) {
        match self.0.last_mut() {
            Some(run) if run[1].saturating_add(1) == seq => run[1] = seq,
            _ => self.0.push([seq, seq]),
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|[first, last]| last - first + 1).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_lost_record_told_of_is_lost_with_it() {
        let mut gap = crate::alert::fixture::gap();
        gap.gap = Some(crate::alert::GapInfo { sequences: vec![[2, 4]], ..Default::default() });
        let mut held = Held::default();
        held.add(9, Some(&gap));
        held.add(10, None);
        let mut seen = Seen::default();
        seen.add(10);
        assert_eq!(held.missing(&seen, 0, 10).runs(), [[2, 4], [9, 9]]);
        assert!(held.missing(&seen, 9, 10).runs().is_empty(), "it was dealt with");
    }

    proptest! {
        #[test]
        fn every_number_that_is_held_and_was_not_seen_is_missing(
            all in proptest::collection::btree_set(1u64..300, 0..150),
            lost in proptest::collection::btree_set(1u64..300, 0..60),
            above in 0u64..300,
        ) {
            let mut held = Held::default();
            all.iter().for_each(|seq| held.add(*seq, None));
            let mut seen = Seen::default();
            all.difference(&lost).for_each(|seq| seen.add(*seq));
            let missing = held.missing(&seen, above, held.last);
            let named: BTreeSet<u64> = missing.runs().iter().flat_map(|[a, b]| *a..=*b).collect();
            let expected: BTreeSet<u64> =
                all.intersection(&lost).copied().filter(|seq| *seq > above).collect();
            prop_assert!(named.is_superset(&expected));
            if held.seqs.runs().len() < super::super::ranges::MOST && named.len() < 64 {
                prop_assert_eq!(named, expected);
            }
        }
    }
}

//! The counters of many workers, a share of them at a time.
//!
//! Each worker's counters are a look-up per signal, and their sum is asked for every second: for a thousand workers that do nothing
//! it is most of what the agent does. So those of workers that sent a record since are read, and those of the others in turn.

use std::collections::{BTreeMap, BTreeSet};

use monitor_common::record::Header;

use super::counters::WorkerCounters;

/// What is known of every worker's counters.
#[derive(Debug, Default)]
pub(crate) struct Rolling {
    known: BTreeMap<u32, Vec<WorkerCounters>>,
    /// Labels of records since the last read.
    heard: BTreeSet<u32>,
    /// The last of them: records of one worker follow each other.
    last: Option<u32>,
}

impl Rolling {
    /// A record came.
    pub(crate) fn hear(&mut self, record: &[u8]) {
        const AT: usize = std::mem::offset_of!(Header, label);
        let Some(&label) = record.get(AT..).and_then(<[u8]>::first_chunk) else { return };
        let label = u32::from_ne_bytes(label);
        if self.last != Some(label) {
            self.last = Some(label);
            self.heard.insert(label);
        }
    }

    /// Which of `labels` sent records since the last call.
    pub(crate) fn take_heard(&mut self, labels: &BTreeSet<u32>) -> Vec<u32> {
        self.last = None;
        let heard = std::mem::take(&mut self.heard);
        heard.into_iter().filter(|label| labels.contains(label)).collect()
    }

    /// The counters of `labels` were read.
    pub(crate) fn read(&mut self, labels: &[u32], counters: &[WorkerCounters]) {
        for label in labels {
            let own: Vec<_> = counters.iter().filter(|entry| entry.label == *label).copied().collect();
            if own.is_empty() {
                self.known.remove(label);
            } else {
                self.known.insert(*label, own);
            }
        }
    }

    /// All as they were last read.
    pub(crate) fn all(&self) -> Vec<WorkerCounters> {
        self.known.values().flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use monitor_common::hook::Signal;
    use monitor_common::map::Tally;
    use zerocopy::IntoBytes;

    use super::*;

    fn counted(label: u32, hits: u64) -> WorkerCounters {
        WorkerCounters { label, signal: Signal::Exec, tally: Tally { hits, ..Tally::ZERO } }
    }

    #[test]
    fn who_sends_records_is_read_and_others_stay_as_they_were() {
        let mut rolling = Rolling::default();
        rolling.read(&[1, 2, 3], &[counted(1, 5), counted(3, 7)]);
        for label in [3, 3, 9, 3] {
            rolling.hear(Header { label, ..Header::ZERO }.as_bytes());
        }
        rolling.hear(&[0; 4]);
        assert_eq!(rolling.take_heard(&BTreeSet::from([1, 2, 3])), [3]);
        assert!(rolling.take_heard(&BTreeSet::from([1, 2, 3])).is_empty());
        rolling.read(&[3], &[counted(3, 8)]);
        assert_eq!(rolling.all(), [counted(1, 5), counted(3, 8)]);
        rolling.hear(Header { label: 3, ..Header::ZERO }.as_bytes());
        assert_eq!(rolling.take_heard(&BTreeSet::from([3])), [3], "the next record counts anew");
    }
}

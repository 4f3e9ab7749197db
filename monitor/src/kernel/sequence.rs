//! Turns holes in the sequence numbers into gaps.
//!
//! A number is taken before the output attempt, so a hole is a loss. Two probes on one CPU can overtake each other between
//! taking the number and writing the record (LSM and trampoline programs are preemptible, kernel/bpf/trampoline.c), so a hole
//! counts only after it had time to fill.

use monitor_common::hook::{LANES, Lane};

/// Records of one lane and CPU that were numbered and never arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Lane.
    pub lane: Lane,
    /// CPU.
    pub cpu: u32,
    /// First missing number.
    pub first: u64,
    /// How many are missing.
    pub count: u64,
    /// Time of the last record before the gap, boot-time ns; 0 if there was none.
    pub from: u64,
    /// Time of the first record after it, boot-time ns.
    pub to: u64,
}

/// Follows the numbers of every lane and CPU.
#[derive(Debug, Default)]
pub struct SequenceTracker {
    streams: [Vec<Stream>; LANES],
}

#[derive(Debug, Default)]
struct Stream {
    next: u64,
    last_time: u64,
    received: u64,
    duplicates: u64,
    holes: Vec<Gap>,
}

/// Most holes kept open per stream; more are settled at once (they are losses in all likelihood).
const HOLES_MAX: usize = 4096;

impl SequenceTracker {
    /// Notes a record. Records may come in any order.
    pub fn note(&mut self, lane: Lane, cpu: u32, seq: u64, time: u64) {
        let stream = self.stream(lane, cpu);
        stream.received += 1;
        if seq >= stream.next {
            if seq > stream.next {
                let hole = Gap {
                    lane,
                    cpu,
                    first: stream.next,
                    count: seq - stream.next,
                    from: stream.last_time,
                    to: time,
                };
                stream.holes.push(hole);
            }
            stream.next = seq.saturating_add(1);
        } else {
            stream.fill(seq);
        }
        stream.last_time = stream.last_time.max(time);
    }

    /// Holes that had until `settled` (boot-time ns) to fill: they are losses. Each is returned once, in the order of its lane
    /// and CPU.
    pub fn take_gaps(&mut self, settled: u64) -> Vec<Gap> {
        let mut gaps = Vec::new();
        for stream in self.streams.iter_mut().flatten() {
            let surplus = stream.holes.len().saturating_sub(HOLES_MAX);
            let mut index = 0;
            stream.holes.retain(|hole| {
                let is_gap = index < surplus || hole.to <= settled;
                index += 1;
                if is_gap {
                    gaps.push(*hole);
                }
                !is_gap
            });
        }
        gaps
    }

    /// Closes a stream at the probes' own next number: what is missing at its end has no later record to show it.
    ///
    /// `next` must have been read before the ring was last found empty.
    pub fn close(&mut self, lane: Lane, cpu: u32, next: u64, now: u64) {
        let stream = self.stream(lane, cpu);
        if next > stream.next {
            let hole = Gap {
                lane,
                cpu,
                first: stream.next,
                count: next - stream.next,
                from: stream.last_time,
                to: now,
            };
            stream.holes.push(hole);
            stream.next = next;
        }
    }

    /// Records received of a lane and CPU.
    pub fn received(&self, lane: Lane, cpu: u32) -> u64 {
        self.peek(lane, cpu).map_or(0, |stream| stream.received)
    }

    /// Records whose number had been seen before (possible only where the probes count without atomics, kernels before 5.12).
    pub fn duplicates(&self) -> u64 {
        self.streams.iter().flatten().map(|stream| stream.duplicates).sum()
    }

    /// Records received in all.
    pub fn received_total(&self) -> u64 {
        self.streams.iter().flatten().map(|stream| stream.received).sum()
    }

    fn peek(&self, lane: Lane, cpu: u32) -> Option<&Stream> {
        self.streams.get(lane as usize)?.get(cpu as usize)
    }

    fn stream(&mut self, lane: Lane, cpu: u32) -> &mut Stream {
        let streams = match lane {
            Lane::Priority => &mut self.streams[0],
            Lane::Lifecycle => &mut self.streams[1],
        };
        let index = cpu as usize;
        if streams.len() <= index {
            streams.resize_with(index + 1, Stream::default);
        }
        &mut streams[index]
    }
}

impl Stream {
    fn fill(&mut self, seq: u64) {
        let Some(at) = self.holes.iter().position(|hole| seq >= hole.first && seq - hole.first < hole.count)
        else {
            self.duplicates += 1;
            return;
        };
        let hole = self.holes[at];
        let before = Gap { count: seq - hole.first, ..hole };
        let after = Gap { first: seq + 1, count: hole.count - before.count - 1, ..hole };
        self.holes.splice(at..=at, [before, after].into_iter().filter(|part| part.count > 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LATE: u64 = u64::MAX;

    #[test]
    fn sequence_hole_is_a_gap_with_its_span_and_count() {
        let mut tracker = SequenceTracker::default();
        tracker.note(Lane::Priority, 1, 0, 10);
        tracker.note(Lane::Priority, 1, 4, 20);
        let gap = Gap { lane: Lane::Priority, cpu: 1, first: 1, count: 3, from: 10, to: 20 };
        assert_eq!(tracker.take_gaps(LATE), [gap]);
        assert_eq!(tracker.take_gaps(LATE), []);
    }

    #[test]
    fn sequence_overtaken_record_fills_its_hole_before_it_settles() {
        let mut tracker = SequenceTracker::default();
        for (seq, time) in [(0, 1), (2, 3), (1, 2)] {
            tracker.note(Lane::Lifecycle, 0, seq, time);
        }
        assert_eq!(tracker.take_gaps(LATE), []);
    }

    #[test]
    fn sequence_hole_that_is_not_settled_is_kept() {
        let mut tracker = SequenceTracker::default();
        tracker.note(Lane::Lifecycle, 0, 1, 100);
        assert_eq!(tracker.take_gaps(99), []);
        assert_eq!(tracker.take_gaps(100).len(), 1);
    }

    #[test]
    fn sequence_loss_at_the_end_shows_when_the_stream_is_closed() {
        let mut tracker = SequenceTracker::default();
        tracker.note(Lane::Priority, 0, 0, 5);
        tracker.close(Lane::Priority, 0, 3, 9);
        assert_eq!(tracker.take_gaps(LATE).first().map(|gap| (gap.first, gap.count)), Some((1, 2)));
    }

    proptest! {
        #[test]
        fn sequence_received_and_missing_are_all_numbers_once(
            keep in proptest::collection::vec(any::<bool>(), 1..200),
            swaps in proptest::collection::vec((0usize..200, 0usize..8), 0..50),
        ) {
            let mut order: Vec<u64> = keep.iter().enumerate().filter(|(_, kept)| **kept).map(|(at, _)| at as u64).collect();
            for (at, by) in swaps {
                if !order.is_empty() {
                    let (a, b) = (at % order.len(), (at + by) % order.len());
                    order.swap(a, b);
                }
            }
            let mut tracker = SequenceTracker::default();
            for seq in &order {
                tracker.note(Lane::Priority, 0, *seq, *seq);
            }
            tracker.close(Lane::Priority, 0, keep.len() as u64, 1_000);
            let mut missing: Vec<u64> =
                tracker.take_gaps(LATE).iter().flat_map(|gap| gap.first..gap.first + gap.count).collect();
            missing.sort_unstable();
            let expected: Vec<u64> = keep.iter().enumerate().filter(|(_, kept)| !**kept).map(|(at, _)| at as u64).collect();
            prop_assert_eq!(missing, expected);
            prop_assert_eq!(tracker.duplicates(), 0);
            prop_assert_eq!(tracker.received(Lane::Priority, 0), order.len() as u64);
        }
    }
}

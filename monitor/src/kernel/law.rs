//! The law: every hit of a probe is accounted for, and every record sent was received.
//!
//! `hits = filtered + folded + sent + lost + throttled + error` per program and per worker and signal. Counters are
//! read while probes run, so two snapshots bound the truth: the right-hand terms of the first may not exceed the hits of the
//! second, and the hits of the first may exceed the right-hand terms of the second only by the runs that are under way. When
//! nothing moved between the two, the law is exact.

use monitor_common::map::Tally;

use super::counters::{Counters, LaneCounters};
use super::sequence::SequenceTracker;

/// What the check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LawReport {
    /// Nothing moved between the two snapshots: the check was exact.
    pub exact: bool,
    /// Where the law is broken; empty when it holds.
    pub breaches: Vec<Breach>,
}

impl LawReport {
    /// Whether the law holds.
    pub fn holds(&self) -> bool {
        self.breaches.is_empty()
    }
}

/// One broken equation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which one, in words ("program tp_exit_openat", "worker 3, signal open", "priority lane, CPU 1").
    pub place: String,
    /// Left-hand side: hits, or records sent.
    pub left: u64,
    /// Right-hand side: accounted for, or received.
    pub right: u64,
}

impl std::fmt::Display for Breach {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{}: {} counted, {} accounted for", self.place, self.left, self.right)
    }
}

/// Runs of one program that can be under way at once on one CPU: a task, and what preempts it.
const NESTED_MAX: u64 = 4;

/// Checks two snapshots taken one after the other, and what was received before the first.
///
/// `settled`: output counters after whose reading the rings were found empty: all that they say was sent must have arrived.
pub(crate) fn check(
    first: &Counters,
    second: &Counters,
    settled: &[LaneCounters],
    tracker: &SequenceTracker,
    cpus: u32,
) -> LawReport {
    let mut report = LawReport { exact: is_quiet(first, second), breaches: Vec::new() };
    let under_way = if report.exact { 0 } else { u64::from(cpus) * NESTED_MAX };
    for before in &first.programs {
        if let Some(after) = second.programs.iter().find(|entry| entry.number == before.number) {
            report.equation(&before.tally, &after.tally, under_way, || format!("program {}", before.name));
        }
    }
    for before in &first.workers {
        let same = |entry: &&super::counters::WorkerCounters| {
            entry.label == before.label && entry.signal == before.signal
        };
        if let Some(after) = second.workers.iter().find(same) {
            report.equation(&before.tally, &after.tally, under_way, || {
                format!("worker {}, signal {}", before.label, before.signal.name())
            });
        }
    }
    for now in &second.lanes {
        let received = tracker.received(now.lane, now.cpu);
        if received > now.tally.sent {
            report.breach(place_of_lane(now), now.tally.sent, received);
        }
    }
    for before in settled {
        let received = tracker.received(before.lane, before.cpu);
        if received < before.tally.sent {
            report.breach(place_of_lane(before), before.tally.sent, received);
        }
    }
    report
}

/// Whether no worker's run came between two snapshots. Runs that are not a worker's never cease on a live host and are no
/// term of the law.
fn is_quiet(first: &Counters, second: &Counters) -> bool {
    let of_workers = |tally: &Tally| Tally { outside: 0, ..*tally };
    let programs = |counters: &Counters| -> Vec<(u32, Tally)> {
        counters.programs.iter().map(|entry| (entry.number, of_workers(&entry.tally))).collect()
    };
    first.workers == second.workers && first.lanes == second.lanes && programs(first) == programs(second)
}

fn place_of_lane(lane: &LaneCounters) -> String {
    format!("{} lane, CPU {}", lane.lane.name(), lane.cpu)
}

fn accounted(tally: &Tally) -> u64 {
    [tally.filtered, tally.folded, tally.sent, tally.lost, tally.throttled, tally.error]
        .iter()
        .fold(0, |sum: u64, term| sum.wrapping_add(*term))
}

impl LawReport {
    fn equation(&mut self, before: &Tally, after: &Tally, under_way: u64, place: impl Fn() -> String) {
        if accounted(before) > after.hits {
            self.breach(place(), after.hits, accounted(before));
        } else if before.hits > accounted(after).saturating_add(under_way) {
            self.breach(place(), before.hits, accounted(after));
        }
    }

    fn breach(&mut self, place: String, left: u64, right: u64) {
        self.breaches.push(Breach { place, left, right });
    }
}

#[cfg(test)]
mod tests {
    use super::super::counters::ProgramCounters;
    use super::*;
    use monitor_common::hook::Lane;
    use monitor_common::map::LaneTally;

    fn program(hits: u64, sent: u64, filtered: u64) -> Counters {
        let tally = Tally { hits, sent, filtered, ..Tally::ZERO };
        Counters {
            programs: vec![ProgramCounters {
                number: 0,
                name: "probe",
                signal: None,
                tally,
                missed: None,
                runs: None,
            }],
            ..Counters::default()
        }
    }

    fn lane(sent: u64) -> Counters {
        let tally = LaneTally { sent, next_seq: sent, ..LaneTally::ZERO };
        Counters { lanes: vec![LaneCounters { lane: Lane::Priority, cpu: 0, tally }], ..Counters::default() }
    }

    #[test]
    fn law_quiet_and_equal_holds() {
        let quiet = program(10, 3, 7);
        assert!(check(&quiet, &quiet, &[], &SequenceTracker::default(), 2).holds());
    }

    #[test]
    fn law_quiet_with_one_hit_unaccounted_is_broken() {
        let quiet = program(11, 3, 7);
        let report = check(&quiet, &quiet, &[], &SequenceTracker::default(), 2);
        assert!(report.exact && !report.holds(), "{report:?}");
    }

    #[test]
    fn law_running_tolerates_what_is_under_way_and_no_more() {
        let running =
            |hits| check(&program(hits, 3, 7), &program(hits + 1, 4, 7), &[], &SequenceTracker::default(), 1);
        assert!(running(14).holds());
        assert!(!running(16).holds());
    }

    #[test]
    fn law_more_accounted_than_hit_is_broken_even_while_running() {
        assert!(!check(&program(9, 9, 9), &program(10, 9, 9), &[], &SequenceTracker::default(), 8).holds());
    }

    #[test]
    fn law_record_sent_and_not_received_is_broken_once_drained() {
        let mut tracker = SequenceTracker::default();
        tracker.note(Lane::Priority, 0, 0, 1);
        assert!(check(&lane(2), &lane(2), &[], &tracker, 1).holds());
        assert!(!check(&lane(2), &lane(2), &lane(2).lanes, &tracker, 1).holds());
    }
}

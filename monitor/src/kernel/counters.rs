//! The probes' counters, summed over CPUs.

use monitor_common::hook::{Lane, Signal};
use monitor_common::map::{LaneTally, Tally};

/// A snapshot of all counters. Every number only grows while the sensor lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Per program, all of the host.
    pub programs: Vec<ProgramCounters>,
    /// Per label and signal, worker events only.
    pub workers: Vec<WorkerCounters>,
    /// Per lane and CPU.
    pub lanes: Vec<LaneCounters>,
    /// Records refused by a worker's token bucket.
    pub refusals: Vec<Refusal>,
    /// Helper failures by place.
    pub errors: Vec<ErrorCount>,
}

/// Counters of one program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramCounters {
    /// Number in `monitor_common::program::PROGRAMS`.
    pub number: u32,
    /// Its name.
    pub name: &'static str,
    /// Signal it serves.
    pub signal: Option<Signal>,
    /// The counts.
    pub tally: Tally,
    /// Runs the kernel skipped because the program was active on that CPU; `None`: the kernel does not say (before 5.12).
    pub missed: Option<u64>,
}

/// Counters of one worker and signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerCounters {
    /// Label id.
    pub label: u32,
    /// Signal.
    pub signal: Signal,
    /// The counts; `outside` is 0.
    pub tally: Tally,
}

/// Output counters of one lane on one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneCounters {
    /// Lane.
    pub lane: Lane,
    /// CPU.
    pub cpu: u32,
    /// The counts.
    pub tally: LaneTally,
}

/// Records refused by a token bucket, summed over CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Label id.
    pub label: u32,
    /// Lane.
    pub lane: Lane,
    /// How many.
    pub count: u64,
    /// First, boot-time ns.
    pub first: u64,
    /// Last, boot-time ns.
    pub last: u64,
}

/// Helper failures at one place with one errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCount {
    /// Place number in the probes.
    pub place: u32,
    /// Negative errno.
    pub errno: i32,
    /// How often.
    pub count: u64,
}

impl Counters {
    /// The worker events of all labels and signals in one tally.
    pub fn total(&self) -> Tally {
        self.workers.iter().fold(Tally::ZERO, |sum, entry| add(sum, &entry.tally))
    }

    /// Records the rings refused, all lanes and CPUs.
    pub fn lost(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.tally.lost).sum()
    }
}

/// Field-wise sum.
pub(crate) fn add(a: Tally, b: &Tally) -> Tally {
    Tally {
        hits: a.hits.wrapping_add(b.hits),
        outside: a.outside.wrapping_add(b.outside),
        filtered: a.filtered.wrapping_add(b.filtered),
        folded: a.folded.wrapping_add(b.folded),
        sent: a.sent.wrapping_add(b.sent),
        lost: a.lost.wrapping_add(b.lost),
        throttled: a.throttled.wrapping_add(b.throttled),
        error: a.error.wrapping_add(b.error),
    }
}

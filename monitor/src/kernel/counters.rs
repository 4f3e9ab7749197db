//! The probes' counters, summed over CPUs.

use std::collections::BTreeMap;

use aya::maps::PerCpuValues;
use monitor_common::hook::{Lane, Signal};
use monitor_common::map::{LaneTally, Tally, tally_index};
use monitor_common::program::PROGRAMS;

use super::error::KernelError;
use super::load::Programs;
use super::maps::{Maps, absent, failed};

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
    /// Runs and their time in ns, as long as the kernel counts them (`kernel.bpf_stats_enabled`).
    pub runs: Option<(u64, u64)>,
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

impl Maps {
    /// Begins to count the events of a label anew.
    pub(crate) fn forget_tally(&mut self, label: u32) -> Result<(), KernelError> {
        let cpus = aya::util::nr_cpus().unwrap_or(1);
        for signal in Signal::ALL {
            let index = tally_index(label, *signal);
            let none = PerCpuValues::try_from(vec![Tally::ZERO; cpus])
                .map_err(|source| KernelError::Os { action: "lay out a value for each CPU", source })?;
            self.label_tally.set(index, none, 0).map_err(|error| failed("LABEL_TALLY", "write", &error))?;
        }
        Ok(())
    }

    /// Reads all counters. `labels`: those that were ever given out.
    pub(crate) fn counters(&self, programs: &Programs, labels: &[u32]) -> Result<Counters, KernelError> {
        let mut counters = self.law_terms(programs, labels)?;
        for entry in &mut counters.programs {
            let spec = PROGRAMS.iter().find(|(number, _)| *number == entry.number);
            let costs = spec.map(|(_, spec)| programs.costs(spec)).unwrap_or_default();
            (entry.missed, entry.runs) = (costs.missed, costs.runs);
        }
        Ok(Counters { refusals: self.refusals()?, errors: self.error_counts()?, ..counters })
    }

    /// Only what the law is about: read twice each second, so without what costs a file per program.
    pub(crate) fn law_terms(&self, programs: &Programs, labels: &[u32]) -> Result<Counters, KernelError> {
        Ok(Counters {
            programs: self.program_counters(programs)?,
            workers: self.worker_counters(labels)?,
            lanes: self.lane_counters()?,
            ..Counters::default()
        })
    }

    fn program_counters(&self, programs: &Programs) -> Result<Vec<ProgramCounters>, KernelError> {
        let attached = PROGRAMS.iter().filter(|(number, _)| programs.is_attached(*number));
        attached
            .map(|(number, spec)| {
                let tally = self.program_tally.get(number, 0);
                let tally = tally.map_err(|error| failed("PROGRAM_TALLY", "read", &error))?;
                Ok(ProgramCounters {
                    number: *number,
                    name: spec.name,
                    signal: spec.signal,
                    tally: tally.iter().fold(Tally::ZERO, add),
                    missed: None,
                    runs: None,
                })
            })
            .collect()
    }

    fn worker_counters(&self, labels: &[u32]) -> Result<Vec<WorkerCounters>, KernelError> {
        let mut workers = Vec::new();
        for label in labels {
            for signal in Signal::ALL {
                let index = tally_index(*label, *signal);
                let tally = absent(self.label_tally.get(&index, 0));
                let tally = tally.map_err(|error| failed("LABEL_TALLY", "read", &error))?;
                let tally = tally.map_or(Tally::ZERO, |cpus| cpus.iter().fold(Tally::ZERO, add));
                if tally != Tally::ZERO {
                    workers.push(WorkerCounters { label: *label, signal: *signal, tally });
                }
            }
        }
        Ok(workers)
    }

    /// The output counters alone: read often.
    pub(crate) fn lane_counters(&self) -> Result<Vec<LaneCounters>, KernelError> {
        let mut lanes = Vec::new();
        for lane in Lane::ALL {
            let cpus = self.lane_tally.get(&u32::from(*lane as u16), 0);
            let cpus = cpus.map_err(|error| failed("LANE_TALLY", "read", &error))?;
            lanes.extend(cpus.iter().zip(0..).map(|(tally, cpu)| LaneCounters {
                lane: *lane,
                cpu,
                tally: *tally,
            }));
        }
        Ok(lanes)
    }

    fn refusals(&self) -> Result<Vec<Refusal>, KernelError> {
        let mut refusals: BTreeMap<(u32, u32), Refusal> = BTreeMap::new();
        for entry in self.buckets.iter() {
            let (key, cpus) = match absent(entry).map_err(|error| failed("BUCKETS", "read", &error))? {
                Some(entry) => entry,
                None => continue,
            };
            let Some(lane) = Lane::from_wire(key.lane as u16) else { continue };
            for bucket in cpus.iter().filter(|bucket| bucket.refused > 0) {
                let fresh = Refusal { label: key.label, lane, count: 0, first: u64::MAX, last: 0 };
                let refusal = refusals.entry((key.label, key.lane)).or_insert(fresh);
                refusal.count += bucket.refused;
                refusal.first = refusal.first.min(bucket.first);
                refusal.last = refusal.last.max(bucket.last);
            }
        }
        Ok(refusals.into_values().collect())
    }

    fn error_counts(&self) -> Result<Vec<ErrorCount>, KernelError> {
        let mut errors = Vec::new();
        for entry in self.errors.iter() {
            if let Some((key, count)) = absent(entry).map_err(|error| failed("ERRORS", "read", &error))? {
                errors.push(ErrorCount { place: key.place, errno: key.errno, count });
            }
        }
        errors.sort_unstable_by_key(|entry| (entry.place, entry.errno));
        Ok(errors)
    }
}

//! What has to be done each second: the law, losses, budgets, clocks.

use std::collections::HashMap;

use monitor_common::map::UNCLASSIFIED;

use super::{Agent, SECOND};
use crate::detect::{GapReport, WallClock, boot_now};
use crate::event::{BootNs, Lane};
use crate::kernel::{Counters, Probes};

/// A look at the whole hierarchy, for what the watch may have missed, and at where each worker's secrets are. Seconds.
const RESCAN_EVERY: u64 = 30;
/// A look at the local log, which is then also written to the disk. Seconds.
const LOOK_AT_LOG_EVERY: u64 = 60;

/// Why a worker's records were refused.
const OF_WORKER: &str = "this worker sends more than its budget (`kernel.priority_rate`, `kernel.lifecycle_rate`); its events beyond \
                         it were counted, not looked at";
/// Why those of cgroups that nobody had looked at were.
const OF_NEW: &str = "so many new cgroups sent more than the budget of a worker (`kernel.priority_rate`, `kernel.lifecycle_rate`) \
                      before they were looked at; what was beyond it was counted, not looked at";

/// What was said already, so that only the difference is said next.
#[derive(Default)]
pub(super) struct Duties {
    last: BootNs,
    turns: u64,
    refused: HashMap<(u32, Lane), u64>,
    errors: HashMap<(u32, i32), u64>,
    missed: HashMap<u32, u64>,
    evicted: u64,
    /// The newest counters of the probes.
    pub(super) counters: Option<Counters>,
    /// Checks of the law that failed.
    pub(super) law_broken: u64,
    /// Events lost and throttled so far.
    pub(super) lost: u64,
    pub(super) throttled: u64,
}

impl<P: Probes> Agent<P> {
    /// The duties, if a second has passed.
    pub(super) fn second(&mut self) {
        if boot_now().saturating_sub(self.duties.last) >= SECOND {
            self.second_now();
        }
    }

    /// The duties.
    pub(super) fn second_now(&mut self) {
        let now = boot_now();
        self.duties.last = now;
        self.duties.turns += 1;
        self.pipeline.detector.envelope.clock = WallClock::now();
        self.pipeline.detector.envelope.host.ask_clock();
        self.check_law(now);
        for gap in self.probes.gaps() {
            self.pipeline.note_gap(GapReport {
                reason: "lost",
                lane: Some(gap.lane),
                cpu: Some(gap.cpu),
                from: if gap.from == 0 { gap.to } else { gap.from },
                to: gap.to,
                lost: Some(gap.count),
                detail: "make the ring larger (`kernel.priority_ring`, `kernel.lifecycle_ring`) or give the agent more CPU"
                    .to_owned(),
                ..GapReport::default()
            });
        }
        match self.probes.counters_soon() {
            Ok(counters) => {
                self.compare(&counters, now);
                let total = counters.total();
                (self.duties.lost, self.duties.throttled) = (counters.lost(), total.throttled);
                self.duties.counters = Some(counters);
            }
            Err(error) => tracing::warn!(%error, "counters not read"),
        }
        let evicted = self.pipeline.processes().counts().evicted;
        let more = evicted - self.duties.evicted;
        if more > 0 {
            self.duties.evicted = evicted;
            self.pipeline.note_gap(GapReport {
                reason: "history dropped, the process table is full",
                from: now,
                to: now,
                lost: Some(more),
                detail: "raise `kernel.max_processes`".to_owned(),
                ..GapReport::default()
            });
        }
        // Their announcement was lost: they may still be there to be looked at.
        if self.pipeline.has_unplaced_cgroup() {
            self.look("/", true);
        }
        self.pipeline.tick(now);
        self.pipeline.look_again(self.duties.turns, RESCAN_EVERY, now);
        self.pipeline.look_at_setups(now);
        if self.duties.turns.is_multiple_of(RESCAN_EVERY) {
            self.rescan();
        }
        self.ask_for_pods();
        self.pods_followed(now);
        self.keep(self.duties.turns);
        self.keep_said_postures(self.duties.turns);
        self.beat_if_due(now);
        if self.duties.turns.is_multiple_of(LOOK_AT_LOG_EVERY) {
            self.settle_log();
        }
        self.watched(false);
        self.canary_second(now);
        self.post();
    }

    fn check_law(&mut self, now: BootNs) {
        let report = match self.probes.check_law() {
            Ok(report) => report,
            Err(error) => return tracing::warn!(%error, "the law was not checked"),
        };
        if report.holds() {
            return;
        }
        self.duties.law_broken += 1;
        let places: Vec<String> = report.breaches.iter().map(ToString::to_string).collect();
        tracing::error!(places = places.join("; "), "the probes' counters do not add up");
        self.pipeline.note_gap(GapReport {
            reason: "law-broken",
            from: now.saturating_sub(SECOND),
            to: now,
            lost: None,
            detail: places.join("; "),
            ..GapReport::default()
        });
    }

    /// Notes what the counters say was missed since the last look.
    fn compare(&mut self, counters: &Counters, now: BootNs) {
        for refusal in &counters.refusals {
            let before =
                self.duties.refused.insert((refusal.label, refusal.lane), refusal.count).unwrap_or(0);
            let more = refusal.count.saturating_sub(before);
            if more > 0 {
                self.pipeline.note_gap(GapReport {
                    reason: "throttled",
                    lane: Some(refusal.lane),
                    from: if before == 0 { refusal.first } else { now.saturating_sub(SECOND) },
                    to: refusal.last,
                    lost: Some(more),
                    label: Some(refusal.label),
                    detail: if refusal.label == UNCLASSIFIED { OF_NEW } else { OF_WORKER }.to_owned(),
                    ..GapReport::default()
                });
            }
        }
        for error in &counters.errors {
            let before = self.duties.errors.insert((error.place, error.errno), error.count).unwrap_or(0);
            let more = error.count.saturating_sub(before);
            if more > 0 {
                tracing::warn!(
                    place = error.place,
                    errno = error.errno,
                    count = more,
                    "a probe's helper failed"
                );
            }
        }
        for program in &counters.programs {
            let Some(missed) = program.missed else { continue };
            let before = self.duties.missed.insert(program.number, missed).unwrap_or(0);
            let more = missed.saturating_sub(before);
            if more > 0 {
                self.pipeline.note_gap(GapReport {
                    reason: "runs of a probe skipped by the kernel",
                    signal: program.signal,
                    from: now.saturating_sub(SECOND),
                    to: now,
                    lost: Some(more),
                    detail: format!("{} was active on that CPU already", program.name),
                    ..GapReport::default()
                });
            }
        }
    }
}

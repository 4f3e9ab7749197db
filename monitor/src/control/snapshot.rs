//! How the agent is, in data: what `status` prints and `/metrics` shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::sizes::{PodsState, SpoolState, TableSize};
use crate::event::BootNs;

/// The pipeline is taken for alive as long as it moved within this, ns.
pub(super) const LIVE_WITHIN: BootNs = 30 * 1_000_000_000;

/// What the agent's thread says of itself, each second.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// Version of the program.
    pub version: String,
    /// The commit that it was built from; `unknown` if the build did not know.
    #[serde(default)]
    pub revision: String,
    /// Its process.
    pub pid: u32,
    /// Name of the node.
    pub node: String,
    /// When it began to watch, boot-time ns.
    pub started: BootNs,
    /// The same by the host's clock, ms since the epoch: read once, so that no step of the clock looks like a restart.
    #[serde(default)]
    pub started_ms: i64,
    /// When this was written, boot-time ns.
    pub taken: BootNs,
    /// How much is watched: level and digest, as on heartbeats.
    pub coverage: String,
    /// Through which hook each signal is watched.
    pub hooks: Vec<SignalHook>,
    /// The rules in force.
    pub rules: RulesState,
    /// The configuration in force.
    pub config: ConfigState,
    /// The canary's signals; empty: there is no canary.
    pub canary: BTreeMap<String, CanaryAge>,
    /// Why it is not ready, in words; empty: it is.
    pub not_ready: Vec<String>,
    /// What else is wrong, in words.
    pub wrong: Vec<String>,
    /// Events of workers per signal.
    pub signals: Vec<SignalCount>,
    /// What the two rings took and refused.
    pub lanes: Vec<LaneCount>,
    /// The workers that are there, and what was lost of each.
    pub workers: Vec<WorkerCount>,
    /// Records taken in.
    pub received: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// Priority events judged without their process's history.
    pub unexplained: u64,
    /// Findings.
    pub findings: u64,
    /// Alerts raised.
    pub alerts: u64,
    /// Open incidents.
    pub incidents: u64,
    /// Processes in the table.
    pub processes: u64,
    /// Processes that the table had no room for.
    pub processes_evicted: u64,
    /// Checks of the law that failed.
    pub law_broken: u64,
    /// Failures of the probes' helpers.
    pub helper_errors: u64,
    /// Gaps noted, by reason.
    pub gaps: BTreeMap<String, u64>,
    /// Run time of the probes in ns and their runs, by program; empty unless the kernel counts that anyway.
    pub programs: Vec<(String, u64, u64)>,
    /// Whether the host's clock is kept by a time service; `None`: not known.
    pub clock_synced: Option<bool>,
    /// Sinks.
    pub sinks: Vec<SinkState>,
    /// Tables that have a bound.
    #[serde(default)]
    pub tables: Vec<TableSize>,
    /// The spool.
    #[serde(default)]
    pub spool: SpoolState,
    /// What is asked about pods; `None`: nobody is asked.
    #[serde(default)]
    pub pods: Option<PodsState>,
}

/// A signal's hook.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignalHook {
    /// Signal.
    pub signal: String,
    /// The rung taken; `None`: not watched.
    pub rung: Option<String>,
}

/// The rules in force.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RulesState {
    /// `sha256:…`.
    pub digest: String,
    /// A changed set was refused since; this one stayed.
    pub refused: bool,
    /// Files that ask for a later version and were left out.
    #[serde(default)]
    pub skipped: Vec<String>,
}

/// The configuration in force.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ConfigState {
    /// `sha256:…`.
    pub digest: String,
    /// `sha256:…` of the one whose sinks and spool are in force: another while sinks are exchanged, and after an exchange
    /// that failed.
    #[serde(default)]
    pub sinks_digest: String,
    /// Why these are not, or not yet, those of `digest`, in words.
    #[serde(default)]
    pub sinks_why: Option<String>,
    /// A changed one was refused since, or its sinks were; this one stayed.
    pub refused: bool,
    /// It is the last good one: the one that was to be used is bad.
    pub last_good: bool,
}

/// When the canary was last seen through a signal.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CanaryAge {
    /// Boot-time ns; `None`: never.
    pub seen: Option<BootNs>,
    /// Nanoseconds after which it is missing.
    pub within: BootNs,
    /// It is not missing.
    pub fresh: bool,
}

/// The fates of a signal's events: `seen = sent + filtered + lost + throttled + errors`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalCount {
    /// Signal.
    pub signal: String,
    /// Hits.
    pub seen: u64,
    /// Written to a ring.
    pub sent: u64,
    /// Of no interest, or folded into another.
    pub filtered: u64,
    /// Refused by a full ring.
    pub lost: u64,
    /// Over the worker's budget.
    pub throttled: u64,
    /// Helper failures.
    pub errors: u64,
}

/// One lane, all CPUs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LaneCount {
    /// Lane.
    pub lane: String,
    /// Records written.
    pub sent: u64,
    /// Records refused.
    pub lost: u64,
}

/// One worker's events.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerCount {
    /// Name.
    pub name: Arc<str>,
    /// Cgroup path.
    pub cgroup: Arc<str>,
    /// Hits.
    pub seen: u64,
    /// Written to a ring.
    pub sent: u64,
    /// Refused by a full ring.
    pub lost: u64,
    /// Over its budget.
    pub throttled: u64,
}

/// One sink.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SinkState {
    /// Name.
    pub name: String,
    /// Alerts accepted for it.
    pub queued: u64,
    /// Alerts its receiver took, repeats and heartbeats included.
    pub sent: u64,
    /// Alerts its receiver has for good.
    pub acknowledged: u64,
    /// Alerts its receiver will never take.
    pub rejected: u64,
    /// Attempts made again.
    pub retried: u64,
    /// Alerts not delivered, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Bytes its receiver took.
    pub bytes: u64,
    /// Alerts that wait.
    pub waiting: u64,
    /// When the oldest of them was accepted, ns since the epoch.
    pub oldest_unsent: Option<i64>,
    /// When the receiver last took something, ns since the epoch.
    pub last_success: Option<i64>,
    /// It fails at the moment.
    pub failing: bool,
}

/// What is answered: the newest snapshot, and whether the agent moved since.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The pipeline moved within 30 s.
    pub live: bool,
    /// It is live, and nothing is in [`Snapshot::not_ready`].
    pub ready: bool,
    /// How long ago the pipeline last moved, ms.
    pub moved_ms: u64,
    /// How long it has been watching, s.
    pub uptime: u64,
    /// The newest snapshot.
    #[serde(flatten)]
    pub snapshot: Snapshot,
}

impl Status {
    /// A snapshot as it is at `now`, if the pipeline last moved at `moved`.
    pub fn new(snapshot: Snapshot, moved: BootNs, now: BootNs) -> Self {
        let since = now.saturating_sub(moved);
        let live = since < LIVE_WITHIN;
        Self {
            live,
            ready: live && snapshot.not_ready.is_empty(),
            moved_ms: since / 1_000_000,
            uptime: now.saturating_sub(snapshot.started) / 1_000_000_000,
            snapshot,
        }
    }
}

//! A gap that the agent found while it recorded.

use serde::{Deserialize, Serialize};

use crate::detect::GapReport;
use crate::event::{BootNs, Lane, Signal};

/// A gap that the agent found while it recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GapFact {
    /// What happened: a [`GapReport`]'s reason.
    pub reason: String,
    /// Start; 0: since the agent's.
    #[serde(default)]
    pub from: BootNs,
    /// End.
    pub to: BootNs,
    /// Events missed; absent: cannot be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// Label of the worker, if it is one worker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<u32>,
    /// Lane and signal, if it is those of one, and CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// Signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// In words.
    #[serde(default)]
    pub detail: String,
}

/// The reasons an agent gives; one that this version does not know is told as the last.
const GAP_REASONS: [&str; 8] = [
    "lost",
    "throttled",
    "law-broken",
    "unwatched",
    "undecodable",
    "history dropped, the process table is full",
    "runs of a probe skipped by the kernel",
    "missed while recording",
];

impl GapFact {
    /// What a report says.
    pub fn of(gap: &GapReport) -> Self {
        Self {
            reason: gap.reason.to_owned(),
            from: gap.from,
            to: gap.to,
            lost: gap.lost,
            label: gap.label,
            lane: gap.lane.map(|lane| lane.name().to_owned()),
            signal: gap.signal.map(|signal| signal.name().to_owned()),
            cpu: gap.cpu,
            detail: gap.detail.clone(),
        }
    }

    /// The report.
    pub fn report(self) -> GapReport {
        let reasons = GAP_REASONS.into_iter();
        GapReport {
            reason: reasons
                .clone()
                .find(|reason| **reason == *self.reason)
                .or(reasons.last())
                .unwrap_or("lost"),
            lane: Lane::ALL.iter().copied().find(|lane| Some(lane.name()) == self.lane.as_deref()),
            signal: Signal::ALL.iter().copied().find(|signal| Some(signal.name()) == self.signal.as_deref()),
            cpu: self.cpu,
            from: self.from,
            to: self.to,
            lost: self.lost,
            label: self.label,
            detail: self.detail,
        }
    }
}

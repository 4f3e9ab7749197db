//! The alert, schema `sandwatch/alert/v1`: its head, the incident it belongs to and the finding that raised it.
//!
//! Additive only. A part that does not apply is left out; a value that applies but is not known is `null`. Every enum
//! is open: a receiver must accept values it does not know.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::evidence::Evidence;
use super::heartbeat::HeartbeatInfo;
use super::incident::Incident;
use super::parts::{
    AgentInfo, Attribution, Delivery, FileInfo, GapInfo, HealthInfo, HostInfo, NetworkInfo, ProcessInfo,
    Refs, WorkerInfo,
};
use super::posture::PostureInfo;
use super::radius::BlastRadius;
pub use crate::profile::Tier;

/// The `schema` of every alert.
pub const ALERT_SCHEMA: &str = "sandwatch/alert/v1";

/// An alert: a full snapshot, one JSON object a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// Always `sandwatch/alert/v1`.
    pub schema: String,
    /// UUIDv5 of incident id and revision: the same alert sent twice has the same id.
    pub id: String,
    /// When the newest event in it happened, RFC 3339 in UTC with nanoseconds.
    pub time: String,
    /// What is reported.
    pub kind: AlertKind,
    /// Where its incident or condition stands.
    pub state: State,
    /// Who or what closed it; only with state `closed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<ClosedBy>,
    /// How far out of the sandbox; only for incidents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// How urgent.
    pub severity: Severity,
    /// It was sent to see whether alerts arrive: nothing happened.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test: bool,
    /// What happened, in one sentence.
    pub title: String,
    /// The incident so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<Incident>,
    /// The newest finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<FindingInfo>,
    /// Time or place where events were, or may have been, missed; only for gaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<GapInfo>,
    /// How the worker is set up; only for posture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub posture: Option<PostureInfo>,
    /// The agent's own condition; only for health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthInfo>,
    /// Signs of life; only for heartbeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<HeartbeatInfo>,
    /// Which worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerInfo>,
    /// Which workflow run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribution: Option<Attribution>,
    /// Which process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessInfo>,
    /// The file, for opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileInfo>,
    /// The peer, for connects and sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkInfo>,
    /// What was taken and what could have been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blast_radius: Option<BlastRadius>,
    /// What the worker did before the first finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// Where catalogues of attacks and controls describe it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refs: Refs,
    /// What to do, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub respond: Vec<String>,
    /// The YAML that would make this expected; only for deviations from a profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_with: Option<String>,
    /// On which host.
    pub host: HostInfo,
    /// `environment` of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// `labels` of the configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Which agent with which rules.
    pub agent: AgentInfo,
    /// Set by the sink that sends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// Names of the parts that were cut to keep the alert within its size.
    #[serde(default)]
    pub truncated: Vec<String>,
}

/// What an alert reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlertKind {
    /// Findings of one run or lineage in one worker.
    Incident,
    /// Events were, or may have been, missed.
    Gap,
    /// How a worker is set up lets its author reach more than the workflow needs.
    Posture,
    /// The agent's own condition.
    Health,
    /// The agent is alive.
    Heartbeat,
}

/// Where an incident or condition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// First alert of it.
    Open,
    /// It grew.
    Update,
    /// Nothing more happens; not resolved.
    Ended,
    /// Over: see `closed_by`.
    Closed,
}

/// Who or what closed an incident or condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClosedBy {
    /// A person.
    Operator,
    /// The condition is over.
    Recovered,
    /// Nothing for long enough.
    Quiet,
}

/// How urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For the record.
    Info,
    /// Look at it in working hours.
    Low,
    /// Look at it today.
    Medium,
    /// Look at it now.
    High,
    /// Wake someone.
    Critical,
}

impl Severity {
    /// The severity of an incident of this tier.
    pub const fn of(tier: Tier) -> Self {
        match tier {
            Tier::Deviation => Self::Low,
            Tier::Boundary => Self::High,
            Tier::Identity | Tier::Objective => Self::Critical,
        }
    }
}

impl AlertKind {
    /// Its name in alerts and in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Incident => "incident",
            Self::Gap => "gap",
            Self::Posture => "posture",
            Self::Health => "health",
            Self::Heartbeat => "heartbeat",
        }
    }
}

impl State {
    /// Its name in alerts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Update => "update",
            Self::Ended => "ended",
            Self::Closed => "closed",
        }
    }
}

impl Severity {
    /// Its name in alerts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// The finding that raised an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FindingInfo {
    /// Id of the detection, or `unexpected-SIGNAL`.
    pub id: String,
    /// `detection` or `expectation`.
    pub kind: String,
    /// Signal it was seen through.
    pub signal: String,
    /// `ok`, `denied`, `absent` or `attempted`; `failed` for a connect that came to nothing (`network.result` says how).
    pub outcome: String,
    /// `known`, or the name of what was not known when it was judged (`unknown: …`). `candidate; unknown: …`: nobody saw it happen,
    /// and it was judged by what was found afterwards.
    pub certainty: String,
    /// The hook, `rung/signal`.
    pub hook: String,
    /// Where the rule stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleRef>,
    /// Other rules that the same event broke or matched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<AlsoInfo>,
    /// What was expected instead, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

/// Another rule that an event broke or matched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlsoInfo {
    /// Id of the detection, or `unexpected-SIGNAL`.
    pub finding: String,
    /// `detection` or `expectation`.
    pub kind: String,
    /// How far out that alone would be.
    pub tier: Tier,
    /// Where the rule stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleRef>,
}

/// A place in a rule file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RuleRef {
    /// File, below its rule directory.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
}

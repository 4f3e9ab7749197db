//! Signs of life, so that a receiver notices a node that has gone silent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a heartbeat says; the rest (host, clock, version, rules) stands where it stands in every alert.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatInfo {
    /// Seconds until the next one, give or take a fifth. After three times as long without one the node is mute.
    pub every: u64,
    /// Seconds since the agent started.
    pub uptime: u64,
    /// How much is watched, and a digest of the hooks and gaps: `LEVEL:DIGEST`. It changes when what is seen changes.
    pub coverage: Option<String>,
    /// What was missed or not delivered since the agent started.
    pub lost: LostCounts,
    /// Newest entry of the local log, `NUMBER:HASH` with the first 32 digits of its hash: what `sandwatch log verify --head` takes.
    pub log: Option<String>,
}

/// What was missed or not delivered since the agent started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LostCounts {
    /// Events that the kernel could not hand over.
    pub events: u64,
    /// Events beyond a worker's budget.
    pub throttled: u64,
    /// Alerts that a sink dropped.
    pub alerts: u64,
}

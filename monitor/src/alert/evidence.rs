//! Evidence: what the worker did before the first finding of an incident, and which processes it had then.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the worker did before the first finding.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Its last events before the first finding, oldest first: programs executed, watched files opened, connects.
    pub events: Vec<PastEvent>,
    /// Its processes at that time, parents before children.
    pub tree: Vec<TreeProcess>,
    /// Processes that the tree has no room for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_processes: Option<u64>,
}

/// An event before the first finding.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PastEvent {
    /// When, RFC 3339.
    pub time: String,
    /// Process id on the host.
    pub pid: u32,
    /// `exec`, `open`, `connect`, `send`, `unix`, `socket` or `cgroup-move`.
    pub signal: String,
    /// Program, path or address.
    pub object: String,
    /// Arguments of an exec, redacted; left out if they are not known any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
    /// What became of it, where that is not plain success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

/// A process of the worker when the incident began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TreeProcess {
    /// Process id on the host.
    pub pid: u32,
    /// Process id of its creator, if that is known.
    pub ppid: Option<u32>,
    /// Resolved executable.
    pub exe: Option<String>,
    /// Arguments, redacted; `null` if they were not seen.
    pub argv: Option<Vec<String>>,
    /// Role in its worker.
    pub role: Option<String>,
    /// Effective user id.
    pub uid: Option<u32>,
    /// Start time, RFC 3339.
    pub start: Option<String>,
}

//! The incident of an alert: its chain of findings, what did not fit into it, and how it was closed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::{AlsoInfo, RuleRef, Tier};

/// The incident an alert belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Incident {
    /// The deduplication key everywhere; stable over restart and replay.
    pub id: String,
    /// Grows with each alert of the incident; after a restart of the agent numbers may be left out, never used twice.
    pub revision: u64,
    /// What its findings have in common: `run:`, `author:`, `engine:` or `lineage:` with the run or the process, `digest`
    /// for an hour's deviations of a worker, `operator:` for those of somebody who entered it, `overflow` for the findings of
    /// a worker that has too many incidents already.
    pub run_key: String,
    /// Time of the first finding.
    pub first: String,
    /// Time of the newest finding.
    pub last: String,
    /// Number of findings so far.
    pub findings: u64,
    /// Findings that are new since the last alert of the incident.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new: Vec<String>,
    /// The findings in order.
    pub chain: Vec<ChainLink>,
    /// Findings that the chain has no room for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlisted: Option<Unlisted>,
    /// Who closed it and why; only when a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closure: Option<Closure>,
}

impl Incident {
    /// Whether it is a digest of deviations, and no incident in the proper sense.
    pub fn is_digest(&self) -> bool {
        self.run_key == "digest" || self.run_key.starts_with("operator:")
    }
}

/// One finding in an incident's chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChainLink {
    /// How far out.
    pub tier: Tier,
    /// Id of the finding.
    pub finding: String,
    /// When it was first seen.
    pub time: String,
    /// Key of the process.
    pub process: String,
    /// Role of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What happened, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it was about: program, path or address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// What became of it, where that is not plain success: `denied`, `attempted`; for a connect `established`, `refused`,
    /// `timeout`, `unreachable`, … once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Where the rule stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleRef>,
    /// Other rules that the same event broke or matched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<AlsoInfo>,
    /// How often the same was seen again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u64>,
    /// When it was last seen, if it was seen again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
}

/// Findings that were counted but not listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Unlisted {
    /// How many.
    pub findings: u64,
    /// The highest tier among them.
    pub tier: Tier,
    /// Time of the first.
    pub first: String,
    /// Time of the last.
    pub last: String,
}

/// Who closed an incident, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Closure {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When, RFC 3339.
    pub time: String,
}

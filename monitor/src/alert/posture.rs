//! The posture of an alert: how a worker is set up, and why it should not be.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::{RuleRef, Severity};

/// Ways in which a worker is set up that let its author reach more than the workflow needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PostureInfo {
    /// Id of this worker's posture: the same in every alert of it, from `open` to `closed`.
    pub condition: String,
    /// Who leaves the sandbox of this worker has the host: its incidents of tier boundary are critical.
    pub reaches_host: bool,
    /// What is found, the worst first; when it is over, what it was.
    pub findings: Vec<PostureItem>,
    /// Ids of those that are new since the last alert of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new: Vec<String>,
    /// Ids of those that are over since then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub over: Vec<String>,
    /// Ids of postures of which it cannot be told whether the worker has them, as something could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PostureItem {
    /// Id of the posture's rule.
    pub id: String,
    /// What is the matter, in words that follow the worker's name.
    pub title: String,
    /// How bad it is.
    pub severity: Severity,
    /// It alone reaches the host.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reaches_host: bool,
    /// What it was told by: mounts, capabilities, names of variables (never their values).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Where the rule stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleRef>,
}

impl PostureItem {
    /// Itself and its detail on one line.
    pub fn line(&self) -> String {
        match &self.detail {
            Some(detail) => format!("{}: {detail}", self.title),
            None => self.title.clone(),
        }
    }
}

impl PostureInfo {
    /// All of it on one line, for formats that have only one.
    pub fn line(&self) -> String {
        let mut lines: Vec<String> = self.findings.iter().map(PostureItem::line).collect();
        if !self.unknown.is_empty() {
            lines.push(format!("not known: {}", self.unknown.join(", ")));
        }
        lines.join("; ")
    }

    /// The id of the worst.
    pub fn worst(&self) -> Option<&str> {
        self.findings.first().map(|item| &*item.id)
    }
}

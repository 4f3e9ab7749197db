//! Alerts that are told together.

use serde::{Deserialize, Serialize};

use super::super::brief::Brief;
use super::super::page;
use super::super::pager::{Action, Summary, SummaryKind};

/// Most lines; what is beyond is counted.
pub(super) const LINES: usize = 40;

/// What waits to be told in a summary.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Gathering {
    /// Number of the summary: a new one each time one was acknowledged.
    number: u64,
    count: u64,
    lines: Vec<String>,
    node: String,
    cluster: Option<String>,
}

impl Gathering {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn add(&mut self, brief: &Brief) {
        self.count += 1;
        self.node.clone_from(&brief.node);
        self.cluster.clone_from(&brief.cluster);
        if self.lines.len() < LINES {
            self.lines.push(page::summary_line(brief));
        }
    }

    pub(super) fn action(&self, desk: &str, kind: SummaryKind) -> Action {
        Action::Summary(Summary {
            key: format!("{desk}/{}/{}", kind.name(), self.number),
            kind,
            lines: self.lines.clone(),
            unnamed: self.count.saturating_sub(self.lines.len() as u64),
            count: self.count,
            uncounted: 0,
            node: self.node.clone(),
            cluster: self.cluster.clone(),
        })
    }

    /// What this one tells need not be told any more.
    pub(super) fn done(&mut self, told: &Summary) {
        self.count = self.count.saturating_sub(told.count);
        self.lines.drain(..told.lines.len().min(self.lines.len()));
        self.number += 1;
    }
}

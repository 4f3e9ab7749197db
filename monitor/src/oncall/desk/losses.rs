//! Alerts that the desk never got: dropped, or perhaps so, before it had read them.

use serde::{Deserialize, Serialize};

use super::super::brief::Brief;
use super::super::page;
use super::super::pager::{Action, Summary, SummaryKind};
use super::gather::LINES;
use crate::alert::SafeAlert;

/// What waits to be told of losses. Of some nobody knows how many alerts they were: they are told all the same.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Losses {
    /// Number of the summary: a new one each time one was acknowledged.
    number: u64,
    /// Alerts, as far as they were counted.
    count: u64,
    /// Losses that nobody could count.
    uncounted: u64,
    lines: Vec<String>,
    /// Losses without a line.
    unnamed: u64,
    node: String,
    cluster: Option<String>,
}

impl Losses {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0 && self.uncounted == 0
    }

    /// Adds what a gap alert says. `false`: that none is lost.
    pub(super) fn add(&mut self, alert: &SafeAlert) -> bool {
        match alert.gap.as_ref().and_then(|gap| gap.lost) {
            // A stream of numbers that begins anew.
            Some(0) => return false,
            Some(lost) => self.count = self.count.saturating_add(lost),
            None => self.uncounted = self.uncounted.saturating_add(1),
        }
        let of = Brief::of(alert, "");
        (self.node, self.cluster) = (of.node, of.cluster);
        if self.lines.len() < LINES {
            self.lines.push(page::loss_line(alert));
        } else {
            self.unnamed += 1;
        }
        true
    }

    pub(super) fn action(&self, desk: &str) -> Action {
        let kind = SummaryKind::Lost;
        Action::Summary(Summary {
            key: format!("{desk}/{}/{}", kind.name(), self.number),
            kind,
            lines: self.lines.clone(),
            unnamed: self.unnamed,
            count: self.count,
            uncounted: self.uncounted,
            node: self.node.clone(),
            cluster: self.cluster.clone(),
        })
    }

    /// What this one tells need not be told any more.
    pub(super) fn done(&mut self, told: &Summary) {
        self.count = self.count.saturating_sub(told.count);
        self.uncounted = self.uncounted.saturating_sub(told.uncounted);
        self.unnamed = self.unnamed.saturating_sub(told.unnamed);
        self.lines.drain(..told.lines.len().min(self.lines.len()));
        self.number += 1;
    }
}

//! What the agent did, in one line.

use std::fmt;

use monitor_common::hook::Lane;

use crate::delivery::SinkStats;
use crate::kernel::Counters;
use crate::pipeline::Counts;

/// The sum of a run. The law of the probes holds: `seen = sent + filtered + lost + throttled + errors`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Hook hits of workers.
    pub seen: u64,
    /// Records written to the rings.
    pub sent: u64,
    /// Of no interest, or the second hit of one action.
    pub filtered: u64,
    /// Refused by a full ring: priority lane, lifecycle lane.
    pub lost: [u64; 2],
    /// Over a worker's budget.
    pub throttled: u64,
    /// Helper failures before a record was built.
    pub errors: u64,
    /// Records the agent took in.
    pub received: u64,
    /// Records it could not decode.
    pub undecodable: u64,
    /// Findings.
    pub findings: u64,
    /// Alerts raised.
    pub alerts: u64,
    /// Alerts that sinks did not get, those that wait for the next start included.
    pub undelivered: u64,
    /// How each sink did.
    pub sinks: Vec<(String, SinkStats)>,
}

impl Summary {
    /// Sums up.
    pub fn new(counters: &Counters, counts: &Counts, sinks: Vec<(String, SinkStats)>) -> Self {
        let total = counters.total();
        let lost = |lane: Lane| {
            counters.lanes.iter().filter(|entry| entry.lane == lane).map(|entry| entry.tally.lost).sum()
        };
        Self {
            seen: total.hits,
            sent: total.sent,
            filtered: total.filtered + total.folded,
            lost: [lost(Lane::Priority), lost(Lane::Lifecycle)],
            throttled: total.throttled,
            errors: total.error,
            received: counts.records,
            undecodable: counts.undecodable.values().sum(),
            findings: counts.findings,
            alerts: counts.alerts,
            undelivered: sinks.iter().map(|(_, stats)| stats.undelivered()).sum(),
            sinks,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [priority, lifecycle] = self.lost;
        write!(
            to,
            "seen {}, sent {}, filtered {}, lost {} (priority {priority}, lifecycle {lifecycle}), throttled {}, errors {}; \
             received {}, findings {}, alerts {}",
            self.seen,
            self.sent,
            self.filtered,
            priority + lifecycle,
            self.throttled,
            self.errors,
            self.received,
            self.findings,
            self.alerts,
        )?;
        if self.undecodable > 0 {
            write!(to, ", not decodable {}", self.undecodable)?;
        }
        if self.undelivered > 0 {
            write!(to, ", alerts not delivered {}", self.undelivered)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_is_one_line_and_names_what_went_wrong_only_if_something_did() {
        let fine = Summary { seen: 10, sent: 4, filtered: 6, received: 4, ..Summary::default() };
        let line = fine.to_string();
        assert!(line.starts_with("seen 10, sent 4, filtered 6, lost 0 "), "{line}");
        assert!(!line.contains('\n') && !line.contains("not de"));
        let bad = Summary { undecodable: 1, undelivered: 2, lost: [1, 2], ..fine };
        let line = bad.to_string();
        assert!(
            line.contains("lost 3 (priority 1, lifecycle 2)") && line.contains("alerts not delivered 2"),
            "{line}"
        );
    }
}

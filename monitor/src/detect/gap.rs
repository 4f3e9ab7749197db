//! Gaps: where events were, or may have been, missed. A gap is an alert of its own kind, never a log line alone.

use std::collections::HashMap;

use super::describe;
use super::envelope::Envelope;
use crate::alert::{Alert, AlertKind, GapInfo, Severity, State, WorkerInfo};
use crate::event::{BootNs, Lane, Signal};
use crate::profile::RuleSet;
use crate::worker::Worker;

/// The same kind of gap is said at most this often; what comes in between is added up. ns.
const EVERY: BootNs = 10 * 1_000_000_000;

/// One gap.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GapReport {
    /// `lost`, `throttled`, `law-broken`, `undecodable`, `unexplained`, `unwatched`, `evicted`, …
    pub reason: &'static str,
    /// Lane, if it is one lane's.
    pub lane: Option<Lane>,
    /// CPU, if it is one CPU's.
    pub cpu: Option<u32>,
    /// Signal, if it is one signal's.
    pub signal: Option<Signal>,
    /// Start, boot-time ns; 0: since the agent's start.
    pub from: BootNs,
    /// End, boot-time ns.
    pub to: BootNs,
    /// Events missed; `None`: cannot be known.
    pub lost: Option<u64>,
    /// Label of the worker, if it is one worker's.
    pub label: Option<u32>,
    /// In words: what was missed, and what to do.
    pub detail: String,
}

/// Collects gaps, adds up those of one kind, and makes alerts of them.
#[derive(Default)]
pub struct Gaps {
    waiting: HashMap<Kind, GapReport>,
    said: HashMap<Kind, BootNs>,
    number: u64,
}

type Kind = (&'static str, Option<Lane>, Option<u32>, Option<Signal>, Option<u32>);

impl Gaps {
    /// Most kinds of gaps remembered: reasons are few, but labels and CPUs multiply them.
    const KINDS_MAX: usize = 4096;

    /// Notes a gap.
    pub fn note(&mut self, gap: GapReport) {
        let kind = (gap.reason, gap.lane, gap.cpu, gap.signal, gap.label);
        match self.waiting.get_mut(&kind) {
            Some(waiting) => {
                waiting.from = waiting.from.min(gap.from);
                waiting.to = waiting.to.max(gap.to);
                waiting.lost = waiting.lost.zip(gap.lost).map(|(a, b)| a.saturating_add(b));
                waiting.detail = gap.detail;
            }
            None => {
                self.waiting.insert(kind, gap);
            }
        }
    }

    /// The alerts that are due; `all`: also those of a kind that was said a moment ago.
    pub fn take<'a>(
        &mut self,
        now: BootNs,
        all: bool,
        envelope: &Envelope,
        worker: impl Fn(u32) -> Option<(&'a Worker, &'a RuleSet, crate::profile::ProfileId)>,
    ) -> Vec<Alert> {
        let mut due: Vec<Kind> = self
            .waiting
            .keys()
            .filter(|kind| all || self.said.get(*kind).is_none_or(|said| now.saturating_sub(*said) >= EVERY))
            .copied()
            .collect();
        // Each gets a number: in one order, whatever the map's.
        due.sort_unstable();
        let mut alerts = Vec::new();
        for kind in due {
            let Some(gap) = self.waiting.remove(&kind) else { continue };
            if self.said.len() >= Self::KINDS_MAX {
                self.said.retain(|_, said| now.saturating_sub(*said) < EVERY);
            }
            self.said.insert(kind, now);
            let worker = gap.label.and_then(&worker).map(|(worker, rules, profile)| {
                describe::worker(worker, Some(rules.engine(profile)), rules.profile_name(profile))
            });
            self.number += 1;
            alerts.push(alert(&gap, worker, envelope, self.number));
        }
        alerts.sort_by(|a, b| a.time.cmp(&b.time).then_with(|| a.title.cmp(&b.title)));
        alerts
    }
}

fn alert(gap: &GapReport, worker: Option<WorkerInfo>, envelope: &Envelope, number: u64) -> Alert {
    let count = gap.lost.map_or_else(|| "events".to_owned(), |lost| format!("{lost} event(s)"));
    let of = worker.as_ref().map(|worker| format!(" of worker {}", worker.name)).unwrap_or_default();
    let lane = gap.lane.map(|lane| format!(" in the {} lane", lane.name())).unwrap_or_default();
    let title = match gap.reason {
        "lost" => format!("{count} lost{lane}: a ring buffer was full"),
        "throttled" => format!("{count}{of} not looked at{lane}: over the worker's budget"),
        "law-broken" => "The probes' counters do not add up: events may have been missed".to_owned(),
        "undecodable" => format!("{count} could not be decoded"),
        "unexplained" => format!("{count}{of} judged without their process's history"),
        "unwatched" => "A cgroup that should be watched is not".to_owned(),
        reason => format!("{count}{of} may have been missed: {reason}"),
    };
    let severity = match gap.reason {
        "unexplained" => Severity::Low,
        "law-broken" | "unwatched" => Severity::High,
        // A loss in the priority lane may hide the very theft.
        "lost" if gap.lane != Some(Lane::Lifecycle) => Severity::High,
        _ => Severity::Medium,
    };
    let mut alert = envelope.alert(AlertKind::Gap, severity, gap.to, title);
    alert.id = envelope.id("gap", &format!("{}:{}:{number}", gap.reason, gap.to));
    alert.state = State::Open;
    alert.worker = worker;
    alert.gap = Some(GapInfo {
        reason: gap.reason.to_owned(),
        signal: gap.signal.map(|signal| signal.name().to_owned()),
        lane: gap.lane.map(|lane| lane.name().to_owned()),
        cpu: gap.cpu,
        from: envelope.clock.format(gap.from),
        to: Some(envelope.clock.format(gap.to)),
        lost: gap.lost,
        detail: Some(gap.detail.clone()).filter(|detail| !detail.is_empty()),
    });
    alert
}

#[cfg(test)]
mod tests {
    use super::super::envelope::{HostFacts, WallClock};
    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            host: HostFacts { boot_id: "boot".into(), ..HostFacts::default() },
            cluster: None,
            environment: None,
            labels: Default::default(),
            rules: "sha256:0".into(),
            clock: WallClock { boot: 0 },
            cgroup_root: "/sys/fs/cgroup".into(),
        }
    }

    fn lost(cpu: u32, from: BootNs, to: BootNs, count: u64) -> GapReport {
        GapReport {
            reason: "lost",
            lane: Some(Lane::Priority),
            cpu: Some(cpu),
            from,
            to,
            lost: Some(count),
            ..GapReport::default()
        }
    }

    #[test]
    fn gaps_of_one_kind_are_added_up_and_said_once_in_a_while() {
        let mut gaps = Gaps::default();
        gaps.note(lost(0, 5, 9, 3));
        gaps.note(lost(0, 10, 20, 4));
        gaps.note(lost(1, 1, 2, 1));
        let alerts = gaps.take(30, false, &envelope(), |_| None);
        assert_eq!(alerts.len(), 2);
        let info = alerts[1].gap.as_ref().unwrap();
        assert_eq!((info.cpu, info.lost), (Some(0), Some(7)));
        assert_eq!(
            (info.from.as_str(), info.to.as_deref()),
            ("1970-01-01T00:00:00.000000005Z", Some("1970-01-01T00:00:00.000000020Z"))
        );
        gaps.note(lost(0, 40, 50, 2));
        assert!(gaps.take(60, false, &envelope(), |_| None).is_empty());
        assert_eq!(gaps.take(30 + EVERY, false, &envelope(), |_| None).len(), 1);
    }

    #[test]
    fn unknown_number_stays_unknown_in_the_sum() {
        let mut gaps = Gaps::default();
        gaps.note(lost(0, 5, 9, 3));
        gaps.note(GapReport { lost: None, ..lost(0, 5, 9, 3) });
        assert_eq!(gaps.take(30, false, &envelope(), |_| None)[0].gap.as_ref().unwrap().lost, None);
    }

    #[test]
    fn everything_is_said_at_the_end() {
        let mut gaps = Gaps::default();
        gaps.note(lost(0, 5, 9, 3));
        gaps.take(30, false, &envelope(), |_| None);
        gaps.note(lost(0, 31, 32, 3));
        assert_eq!(gaps.take(33, true, &envelope(), |_| None).len(), 1);
    }
}

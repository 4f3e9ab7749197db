//! Gaps: where events were, or may have been, missed. A gap is an alert of its own kind, never a log line alone.

use std::collections::{BTreeMap, HashMap};

use super::describe;
use super::envelope::Envelope;
use crate::alert::{Alert, AlertKind, ClosedBy, GapInfo, Severity, State, WorkerInfo};
use crate::event::{BootNs, Lane, Signal};
use crate::profile::RuleSet;
use crate::worker::Worker;

/// The same kind of gap is said at most this often; what comes in between is added up. ns.
const EVERY: BootNs = 10 * 1_000_000_000;
/// A kind of gap that did not come again for this long is over. ns.
const OVER: BootNs = 60 * 1_000_000_000;

/// Every reason that a running agent gives. Those that delivery gives (`evicted`, …) are counted by sink.
pub const GAP_REASONS: [&str; 10] = [
    "lost",
    "throttled",
    "law-broken",
    "undecodable",
    "unexplained",
    "unplaced",
    "unwatched",
    "restart",
    "history dropped, the process table is full",
    "runs of a probe skipped by the kernel",
];

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
    said: HashMap<Kind, Said>,
    number: u64,
    counts: BTreeMap<&'static str, u64>,
}

/// A gap that was said and is not over.
struct Said {
    /// Its id, the same in every alert of it.
    condition: String,
    /// When last.
    at: BootNs,
    /// As it was said last, for when it is over.
    gap: GapReport,
}

type Kind = (&'static str, Option<Lane>, Option<u32>, Option<Signal>, Option<u32>);

impl Gaps {
    /// Most kinds of gaps remembered: reasons are few, but labels and CPUs multiply them.
    const KINDS_MAX: usize = 4096;

    /// How many were noted, by reason.
    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// Where the first of those begins that were noted and not said yet, boot-time ns.
    pub fn first_unsaid(&self) -> Option<BootNs> {
        self.waiting.values().map(|gap| gap.from).min()
    }

    /// Notes a gap.
    pub fn note(&mut self, gap: GapReport) {
        *self.counts.entry(gap.reason).or_default() += 1;
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
            .filter(|kind| {
                all || self.said.get(*kind).is_none_or(|said| now.saturating_sub(said.at) >= EVERY)
            })
            .copied()
            .collect();
        let mut over: Vec<Kind> = self
            .said
            .iter()
            .filter(|(kind, said)| now.saturating_sub(said.at) >= OVER && !self.waiting.contains_key(*kind))
            .map(|(kind, _)| *kind)
            .collect();
        // Each gets a number: in one order, whatever the map's.
        due.sort_unstable();
        over.sort_unstable();
        let mut alerts = Vec::new();
        for kind in due {
            let Some(gap) = self.waiting.remove(&kind) else { continue };
            self.number += 1;
            if self.said.len() >= Self::KINDS_MAX {
                self.said.retain(|_, said| now.saturating_sub(said.at) < EVERY);
            }
            let state = if self.said.contains_key(&kind) { State::Update } else { State::Open };
            let said = self.said.entry(kind).or_insert_with(|| Said {
                condition: envelope.id("gap-condition", &format!("{}:{}", gap.reason, self.number)),
                at: now,
                gap: gap.clone(),
            });
            (said.at, said.gap) = (now, gap.clone());
            let about = gap.label.and_then(&worker).map(shown);
            alerts.push(alert(&gap, state, &said.condition, about, envelope, self.number));
        }
        for kind in over {
            let Some(Said { condition, gap, .. }) = self.said.remove(&kind) else { continue };
            self.number += 1;
            let about = gap.label.and_then(&worker).map(shown);
            alerts.push(alert(&gap, State::Closed, &condition, about, envelope, self.number));
        }
        alerts.sort_by(|a, b| a.time.cmp(&b.time).then_with(|| a.title.cmp(&b.title)));
        alerts
    }
}

fn shown((worker, rules, profile): (&Worker, &RuleSet, crate::profile::ProfileId)) -> WorkerInfo {
    describe::worker(worker, Some(rules.engine(profile)), rules.profile_name(profile))
}

fn alert(
    gap: &GapReport,
    state: State,
    condition: &str,
    worker: Option<WorkerInfo>,
    envelope: &Envelope,
    number: u64,
) -> Alert {
    let count = gap.lost.map_or_else(|| "events".to_owned(), |lost| format!("{lost} event(s)"));
    let of = worker.as_ref().map(|worker| format!(" of worker {}", worker.name)).unwrap_or_default();
    let lane = gap.lane.map(|lane| format!(" in the {} lane", lane.name())).unwrap_or_default();
    let title = match gap.reason {
        "lost" => format!("{count} lost{lane}: a ring buffer was full"),
        "throttled" => format!("{count}{of} not looked at{lane}: over the worker's budget"),
        "law-broken" => "The probes' counters do not add up: events may have been missed".to_owned(),
        "undecodable" => format!("{count} could not be decoded"),
        "unexplained" => format!("{count}{of} judged without their process's history"),
        "unplaced" => format!("{count} of a cgroup that came and went could not be given to a worker"),
        "unwatched" => "A cgroup that should be watched is not".to_owned(),
        reason => format!("{count}{of} may have been missed: {reason}"),
    };
    let title = if state == State::Closed { format!("Over: {title}") } else { title };
    let severity = match gap.reason {
        _ if state == State::Closed => Severity::Info,
        "unexplained" => Severity::Low,
        "law-broken" | "unwatched" => Severity::High,
        // A loss in the priority lane may hide the very theft.
        "lost" if gap.lane != Some(Lane::Lifecycle) => Severity::High,
        _ => Severity::Medium,
    };
    let mut alert = envelope.alert(AlertKind::Gap, severity, gap.to, title);
    alert.id = envelope.id("gap", &format!("{}:{}:{number}", gap.reason, gap.to));
    alert.state = state;
    alert.closed_by = (state == State::Closed).then_some(ClosedBy::Recovered);
    alert.worker = worker;
    alert.gap = Some(GapInfo {
        reason: gap.reason.to_owned(),
        condition: Some(condition.to_owned()),
        signal: gap.signal.map(|signal| signal.name().to_owned()),
        lane: gap.lane.map(|lane| lane.name().to_owned()),
        cpu: gap.cpu,
        from: envelope.clock.format(gap.from),
        to: Some(envelope.clock.format(gap.to)),
        lost: gap.lost,
        sequences: Vec::new(),
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

    #[test]
    fn gap_that_does_not_come_again_is_over() {
        let mut gaps = Gaps::default();
        let mut take = |now, gap: Option<GapReport>| {
            gap.into_iter().for_each(|gap| gaps.note(gap));
            gaps.take(now, false, &envelope(), |_| None)
        };
        let first = take(0, Some(lost(0, 5, 9, 3))).remove(0);
        let again = take(EVERY, Some(lost(0, 5, 9, 3))).remove(0);
        assert_eq!((first.state, again.state), (State::Open, State::Update));
        assert!(take(EVERY + OVER - 1, None).is_empty());
        let over = take(EVERY + OVER, None).remove(0);
        assert_eq!((over.state, over.closed_by), (State::Closed, Some(ClosedBy::Recovered)));
        let condition = |alert: &Alert| alert.gap.as_ref().unwrap().condition.clone();
        assert_eq!(condition(&first), condition(&over));
        assert_eq!(condition(&first), condition(&again));
        assert!(take(3 * OVER, None).is_empty(), "once");
        let next = take(4 * OVER, Some(lost(0, 5, 9, 3))).remove(0);
        assert_eq!(next.state, State::Open);
        assert_ne!(condition(&first), condition(&next));
    }
}

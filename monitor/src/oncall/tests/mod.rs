mod crowd_tests;
mod desk_tests;
mod on_call_tests;
mod page_tests;
mod property_tests;

use std::time::Duration;

use super::*;
use crate::alert::{AlertKind, GapInfo, HealthInfo, SafeAlert, Severity, State, Taken, Tier, fixture};

/// An alert of incident `id`.
fn incident(id: &str, revision: u64, tier: Tier, state: State) -> SafeAlert {
    let mut alert = fixture::incident();
    alert.state = state;
    alert.tier = Some(tier);
    alert.severity = Severity::of(tier);
    if let Some(incident) = &mut alert.incident {
        incident.id = id.to_owned();
        incident.revision = revision;
        incident.chain.retain(|link| link.tier <= tier);
    }
    let radius = alert.blast_radius.get_or_insert_default();
    if tier < Tier::Identity {
        radius.taken.clear();
    }
    SafeAlert::new(alert)
}

/// The same with so many identities taken.
fn theft(id: &str, revision: u64, taken: usize) -> SafeAlert {
    let mut alert = (*incident(id, revision, Tier::Identity, State::Update)).clone();
    let one = |number: usize| Taken { identity: format!("key-{number}"), ..Taken::default() };
    alert.blast_radius.get_or_insert_default().taken = (0..taken).map(one).collect();
    SafeAlert::new(alert)
}

/// The same in another worker, so that it is of another kind.
fn elsewhere(worker: &str, alert: SafeAlert) -> SafeAlert {
    let mut alert = (*alert).clone();
    if let Some(info) = &mut alert.worker {
        info.name = worker.to_owned();
    }
    SafeAlert::new(alert)
}

fn health(condition: &str, state: State) -> SafeAlert {
    let mut alert = fixture::gap();
    alert.kind = AlertKind::Health;
    alert.gap = None;
    alert.state = state;
    alert.health = Some(HealthInfo {
        condition: condition.to_owned(),
        subject: None,
        detail: "line 3 of n8n.yaml is wrong; the old rules stay in force".to_owned(),
    });
    alert.title = "Changed rule files were refused; the old rules stay in force".to_owned();
    SafeAlert::new(alert)
}

fn gap(condition: &str, state: State) -> SafeAlert {
    let mut alert = fixture::gap();
    alert.state = state;
    if let Some(gap) = &mut alert.gap {
        *gap = GapInfo { condition: Some(condition.to_owned()), ..gap.clone() };
    }
    SafeAlert::new(alert)
}

/// What the spool says of alerts that do not come.
fn loss(lost: Option<u64>, title: &str) -> SafeAlert {
    let mut alert = fixture::gap();
    alert.title = title.to_owned();
    alert.gap = Some(GapInfo { reason: "evicted".to_owned(), lost, ..GapInfo::default() });
    SafeAlert::new(alert)
}

/// Keys as PagerDuty's are.
fn by_level() -> Keyer {
    Box::new(|id, brief| format!("{id}/{}", brief.urgency().name()))
}

/// Keys as Alertmanager's are: they change with the tier.
fn by_tier() -> Keyer {
    Box::new(|id, brief| format!("{id}/{}", brief.tier.map_or("none", Tier::name)))
}

const CAP: Cap = Cap { burst: 3, every: Duration::from_secs(20), summary: Duration::from_secs(300) };

fn pager(cap: Option<Cap>) -> Policy {
    Policy { batch: 1, refresh: None, update: Duration::from_secs(30), cap }
}

fn refreshed() -> Policy {
    Policy { batch: 16, refresh: Some(Duration::from_secs(60)), update: Duration::ZERO, cap: None }
}

fn at(seconds: u64) -> Now {
    Now {
        monotonic: Duration::from_secs(seconds),
        wall: 1_700_000_000_000 + i64::try_from(seconds).unwrap() * 1000,
    }
}

/// An action in short: what, key, why.
fn short(action: &Action) -> String {
    match action {
        Action::Open { key, revision, change, .. } => format!("open {key} r{revision} {change:?}"),
        Action::Resolve { key, why, .. } => format!("resolve {key} {why:?}"),
        Action::Summary(summary) => format!("summary {:?} {}", summary.kind, summary.count),
    }
}

/// Everything that is due at a time, each accepted, in short.
fn all_due(desk: &mut Desk, now: Now) -> Vec<String> {
    let mut all = Vec::new();
    while let Next::Send(actions) = desk.next(now) {
        for action in &actions {
            all.push(short(action));
            desk.answered(action, Answer::Accepted, now);
        }
        assert!(all.len() < 10_000, "no end of actions: {:?}", &all[..20]);
    }
    all
}

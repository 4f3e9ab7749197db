//! `event.*`: what kind of thing it is, in the words that ECS allows.

use serde_json::{Value, json};

use crate::alert::{Alert, AlertKind, Level};

pub(super) fn of(alert: &Alert, dataset: &str) -> Value {
    let incident = alert.incident.as_ref();
    let gap = alert.gap.as_ref();
    let finding = alert.finding.as_ref();
    let (category, kinds) = category(alert);
    json!({
        "id": alert.id,
        "kind": match alert.kind {
            AlertKind::Incident | AlertKind::Gap | AlertKind::Posture => "alert",
            AlertKind::Health => "event",
            AlertKind::Heartbeat => "state",
        },
        "category": category,
        "type": kinds,
        "action": action(alert),
        "code": alert.kind.name(),
        "outcome": finding.map(|finding| match &*finding.outcome {
            "ok" => "success",
            "denied" | "failed" => "failure",
            _ => "unknown",
        }),
        "severity": Level::of(alert).ecs,
        "start": incident.map(|incident| &incident.first).or(gap.map(|gap| &gap.from)),
        "end": incident.map(|incident| &incident.last).or(gap.and_then(|gap| gap.to.as_ref())),
        "reason": finding.and_then(|finding| finding.expected.as_ref())
            .or(gap.and_then(|gap| gap.detail.as_ref()))
            .or(alert.health.as_ref().map(|health| &health.detail)).cloned()
            .or(alert.posture.as_ref().map(crate::alert::PostureInfo::line)),
        "sequence": alert.delivery.as_ref().map(|delivery| delivery.seq),
        "provider": finding.map(|finding| &finding.hook),
        "module": "sandwatch",
        "dataset": dataset,
    })
}

fn action(alert: &Alert) -> &str {
    if let Some(finding) = &alert.finding {
        return &finding.id;
    }
    if let Some(gap) = &alert.gap {
        return &gap.reason;
    }
    if let Some(worst) = alert.posture.as_ref().and_then(|posture| posture.worst()) {
        return worst;
    }
    alert.health.as_ref().map_or(alert.kind.name(), |health| &health.condition)
}

/// Categories and types that go together, as the schema lists them.
fn category(alert: &Alert) -> (Vec<&'static str>, Vec<&'static str>) {
    if alert.kind != AlertKind::Incident {
        return (vec!["host"], vec!["info"]);
    }
    let denied = alert.finding.as_ref().is_some_and(|finding| finding.outcome == "denied");
    match alert.finding.as_ref().map(|finding| &*finding.signal) {
        Some("exec" | "fork" | "exit") => (vec!["intrusion_detection", "process"], vec!["info", "start"]),
        Some("open") => (vec!["intrusion_detection", "file"], vec!["info", "access"]),
        Some("connect" | "send" | "unix" | "socket") => (
            vec!["intrusion_detection", "network"],
            vec!["info", if denied { "denied" } else { "connection" }],
        ),
        _ => (vec!["intrusion_detection"], vec!["info"]),
    }
}

//! Class 2004, Detection Finding: an incident, a gap, a worker's posture.

use serde_json::{Value, json};

use super::parts;
use crate::alert::{Alert, AlertKind, ClosedBy, Level, State};

pub(super) fn of(alert: &Alert) -> Value {
    let (activity, activity_name) = match alert.state {
        State::Open => (1, "Create"),
        State::Update | State::Ended => (2, "Update"),
        State::Closed => (3, "Close"),
    };
    let (status, status_name) = match (alert.state, alert.closed_by) {
        (State::Closed, Some(ClosedBy::Quiet)) => (5, "Archived"),
        (State::Closed, _) => (4, "Resolved"),
        // Also an update: nobody has looked at it.
        _ => (1, "New"),
    };
    let level = Level::of(alert);
    let incident = alert.incident.as_ref();
    let gap = alert.gap.as_ref();
    let certain = alert.finding.as_ref().map(|finding| finding.certainty == "known");
    let taken = alert.blast_radius.as_ref().is_some_and(|radius| !radius.taken.is_empty());
    let of_incidents = alert.kind == AlertKind::Incident;
    let profiles: &[&str] =
        if of_incidents { &["container", "host", "incident"] } else { &["container", "host"] };
    let first = incident.map(|i| &*i.first).or(gap.map(|gap| &*gap.from));
    let last = incident.map(|i| &*i.last).or(gap.and_then(|gap| gap.to.as_deref()));
    json!({
        "activity_id": activity,
        "activity_name": activity_name,
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": 2004,
        "class_name": "Detection Finding",
        "type_uid": 200_400 + activity,
        "type_name": format!("Detection Finding: {activity_name}"),
        "time": parts::time(&alert.time),
        "start_time": first.and_then(parts::time),
        "end_time": last.and_then(parts::time),
        "severity_id": level.ocsf,
        "severity": level.ocsf_name,
        "message": alert.title,
        "status_id": status,
        "status": status_name,
        "status_detail": detail(alert),
        "is_alert": matches!(alert.state, State::Open | State::Update),
        "is_suspected_breach": (of_incidents && taken && !alert.test).then_some(true),
        "verdict_id": (of_incidents && alert.test).then_some(6),
        "verdict": (of_incidents && alert.test).then_some("Test"),
        "confidence_id": certain.map(|certain| if certain { 3 } else { 2 }),
        "confidence": certain.map(|certain| if certain { "High" } else { "Medium" }),
        "count": incident.map(|incident| incident.findings).or(gap.and_then(|gap| gap.lost)),
        "metadata": parts::metadata(alert, profiles),
        "finding_info": info(alert),
        "evidences": parts::evidences(alert),
        "resources": parts::resources(alert),
        "remediation": (!alert.respond.is_empty()).then(|| json!({ "desc": alert.respond.join("\n") })),
        "device": parts::device(alert),
        "observables": parts::observables(alert),
        "unmapped": unmapped(alert),
    })
}

fn detail(alert: &Alert) -> Option<String> {
    if alert.state == State::Ended {
        return Some("the activity is over, the finding is not closed".to_owned());
    }
    let by = match alert.closed_by? {
        ClosedBy::Operator => "operator",
        ClosedBy::Recovered => "recovered",
        ClosedBy::Quiet => "quiet",
    };
    match alert.incident.as_ref().and_then(|incident| incident.closure.as_ref()) {
        Some(closure) => Some(format!("{by}: {}: {}", closure.by, closure.reason)),
        None => Some(by.to_owned()),
    }
}

fn info(alert: &Alert) -> Value {
    let incident = alert.incident.as_ref();
    let desc = alert.finding.as_ref().and_then(|finding| finding.expected.as_ref());
    let desc = desc.or(alert.gap.as_ref().and_then(|gap| gap.detail.as_ref()));
    let desc = desc.or(alert.health.as_ref().map(|health| &health.detail)).cloned();
    let desc = desc.or(alert.posture.as_ref().map(crate::alert::PostureInfo::line));
    json!({
        "uid": uid(alert),
        "title": alert.title,
        "desc": desc,
        "types": [alert.tier.map_or(alert.kind.name(), |tier| tier.name())],
        "analytic": alert.finding.as_ref().map(|finding| {
            let rule = finding.kind == "detection";
            json!({
                "uid": finding.id,
                "name": finding.id,
                "type_id": if rule { 1 } else { 2 },
                "type": if rule { "Rule" } else { "Behavioral" },
                "category": finding.signal,
                "version": alert.agent.rules,
            })
        }),
        "attacks": attacks(alert),
        "created_time": incident.and_then(|incident| parts::time(&incident.first)),
        "first_seen_time": incident.and_then(|incident| parts::time(&incident.first)),
        "last_seen_time": incident.and_then(|incident| parts::time(&incident.last)),
        "modified_time": parts::time(&alert.time),
        "data_sources": alert.finding.as_ref().map(|finding| [&finding.hook]),
        "related_events": alert.posture.as_ref().map(of_posture).or(incident.map(|incident| {
            let links = incident.chain.iter().enumerate();
            links.map(|(index, link)| json!({
                "uid": format!("{}/{index}", incident.id),
                "type": link.finding,
                "title": link.title,
                "desc": link.object,
                "severity_id": Level::of_severity(crate::alert::Severity::of(link.tier)).ocsf,
                "first_seen_time": parts::time(&link.time),
                "last_seen_time": link.last.as_deref().and_then(parts::time),
                "count": link.repeats.map(|repeats| repeats + 1),
            })).collect::<Vec<_>>()
        })),
        "related_events_count": incident.map(|incident| incident.findings),
        "tags": alert.refs.iter().filter(|(catalogue, _)| *catalogue != "attack")
            .map(|(catalogue, ids)| json!({ "name": catalogue, "values": ids })).collect::<Vec<_>>(),
    })
}

/// Each way in which a worker is set up that it should not be.
fn of_posture(posture: &crate::alert::PostureInfo) -> Vec<Value> {
    let items = posture.findings.iter().map(|item| {
        json!({
            "uid": format!("{}/{}", posture.condition, item.id),
            "type": item.id,
            "title": item.title,
            "desc": item.detail,
            "severity_id": Level::of_severity(item.severity).ocsf,
        })
    });
    items.collect()
}

/// What Create, Update and Close of one finding have in common.
fn uid(alert: &Alert) -> String {
    if let Some(incident) = &alert.incident {
        return incident.id.clone();
    }
    if let Some(condition) = alert.gap.as_ref().and_then(|gap| gap.condition.as_ref()) {
        return condition.clone();
    }
    if let Some(posture) = &alert.posture {
        return posture.condition.clone();
    }
    match &alert.health {
        Some(health) => {
            let subject = health.subject.as_ref().map_or(String::new(), |subject| format!(":{subject}"));
            format!("{}:{}{subject}", alert.host.boot_id.as_deref().unwrap_or_default(), health.condition)
        }
        None => alert.id.clone(),
    }
}

/// `T1552.001` is the sub-technique `T1552.001` of `T1552`.
fn attacks(alert: &Alert) -> Vec<Value> {
    let ids = alert.refs.get("attack").into_iter().flatten();
    ids.map(|id| match id.split_once('.') {
        Some((technique, _)) => json!({ "technique": { "uid": technique }, "sub_technique": { "uid": id } }),
        None => json!({ "technique": { "uid": id } }),
    })
    .collect()
}

fn unmapped(alert: &Alert) -> Value {
    let incident = alert.incident.as_ref();
    json!({
        "state": alert.state,
        "closed_by": alert.closed_by,
        "tier": alert.tier,
        "revision": incident.map(|incident| incident.revision),
        "run_key": incident.map(|incident| &incident.run_key),
        "new": incident.map(|incident| &incident.new),
        "unlisted": incident.map(|incident| &incident.unlisted),
        "outcome": alert.finding.as_ref().map(|finding| &finding.outcome),
        "certainty": alert.finding.as_ref().map(|finding| &finding.certainty),
        "rule": alert.finding.as_ref().map(|finding| &finding.rule),
        "also": alert.finding.as_ref().map(|finding| &finding.also),
        "worker": alert.worker,
        "attribution": alert.attribution,
        "blast_radius": alert.blast_radius,
        "role": alert.process.as_ref().map(|process| &process.role),
        "file_flags": alert.file.as_ref().map(|file| &file.flags),
        "identity": alert.file.as_ref().map(|file| &file.identity),
        "network": alert.network,
        "gap": alert.gap,
        "posture": alert.posture,
        "health": alert.health,
        "allow_with": alert.allow_with,
        "clock_synced": alert.host.clock_synced,
        "delivery": alert.delivery,
        "truncated": alert.truncated,
        "test": alert.test.then_some(true),
    })
}

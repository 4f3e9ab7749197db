//! Class 0, Base Event: the agent's own condition, and its signs of life.

use serde_json::{Value, json};

use super::parts;
use crate::alert::{Alert, AlertKind, Level, State};

pub(super) fn of(alert: &Alert) -> Value {
    let level = Level::of(alert);
    let fine = alert.kind == AlertKind::Heartbeat || alert.state == State::Closed;
    json!({
        "activity_id": 99,
        "activity_name": alert.kind.name(),
        "category_uid": 0,
        "category_name": "Uncategorized",
        "class_uid": 0,
        "class_name": "Base Event",
        "type_uid": 99,
        "type_name": "Base Event: Other",
        "time": parts::time(&alert.time),
        "severity_id": level.ocsf,
        "severity": level.ocsf_name,
        "message": alert.title,
        "status_id": if fine { 1 } else { 2 },
        "status": if fine { "Success" } else { "Failure" },
        "status_code": alert.health.as_ref().map(|health| &health.condition),
        "status_detail": alert.health.as_ref().map(|health| &health.detail),
        "metadata": parts::metadata(alert, &["host"]),
        "device": parts::device(alert),
        "unmapped": {
            "state": alert.state,
            "closed_by": alert.closed_by,
            "health": alert.health,
            "heartbeat": alert.heartbeat,
            "worker": alert.worker,
            "clock_synced": alert.host.clock_synced,
            "rules": alert.agent.rules,
            "delivery": alert.delivery,
            "truncated": alert.truncated,
            "test": alert.test.then_some(true),
        },
    })
}

//! An alert as OCSF 1.8.0: incidents, gaps and posture as Detection Finding (2004), health and heartbeats as Base Event (0).
//!
//! `finding` and `base` are the two classes, `parts` the objects that they are made of. What OCSF has no place for stands in
//! `unmapped`, under the names that the JSON format uses: nothing is lost on the way.

mod base;
mod finding;
mod parts;

use super::{AlertKind, SafeAlert, json, shrink};

/// The version of OCSF.
pub(super) const VERSION: &str = "1.8.0";

/// What follows from the rest, or stands in `unmapped` too: left out where there is room for the core alone.
const REPEATED: &[&str] = &[
    "/activity_name",
    "/category_name",
    "/class_name",
    "/type_name",
    "/severity",
    "/status",
    "/message",
    "/confidence",
    "/start_time",
    "/end_time",
    "/count",
    "/evidences",
    "/resources",
    "/observables",
    "/metadata/event_code",
    "/metadata/log_version",
    "/metadata/correlation_uid",
    "/metadata/tenant_uid",
    "/finding_info/types",
    "/finding_info/created_time",
    "/finding_info/modified_time",
    "/finding_info/related_events_count",
    "/device/type",
    "/device/os",
    "/device/boot_uid",
];

/// The alert as one line, without the line feed.
pub(super) fn line(alert: &SafeAlert) -> String {
    let mut event = match alert.kind {
        AlertKind::Incident | AlertKind::Gap | AlertKind::Posture => finding::of(alert),
        AlertKind::Health | AlertKind::Heartbeat => base::of(alert),
    };
    if shrink::is_core(alert) {
        json::leave_out(&mut event, REPEATED);
    }
    // OCSF knows no null: what is unknown is left out.
    json::prune(&mut event);
    json::compact(&event)
}

#[cfg(test)]
pub(super) mod tests;

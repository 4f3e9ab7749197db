//! An alert as an Elastic Common Schema 9 document, for a data stream `logs-DATASET-NAMESPACE`.
//!
//! What ECS has a field for stands there (`fields`); the alert's own parts stand below `sandwatch`, as custom fields have to.

mod event;
mod fields;

use serde_json::{Value, json};

use super::{SafeAlert, json as lines, shrink};

/// The version of ECS.
pub const VERSION: &str = "9.4.0";
/// Data set, unless the sink names another.
pub const DATASET: &str = "sandwatch.alert";
/// Namespace, unless the sink names another.
pub const NAMESPACE: &str = "default";

/// Labels of these names are no labels: they say which data stream the sink writes to.
pub(super) const STREAM_LABELS: [&str; 2] = ["data_stream.dataset", "data_stream.namespace"];

/// What stands elsewhere in the document too: left out where there is room for the core alone.
const REPEATED: &[&str] = &[
    "/event/action",
    "/event/code",
    "/event/start",
    "/event/end",
    "/event/sequence",
    "/event/module",
    "/event/dataset",
    "/host/hostname",
    "/host/os",
    "/host/boot",
    "/agent/name",
    "/related",
    "/sandwatch/schema",
    "/sandwatch/kind",
    "/sandwatch/severity",
    "/sandwatch/rules",
    "/sandwatch/incident/run_key",
];

/// The alert as one line, without the line feed.
pub fn line(alert: &SafeAlert) -> String {
    let mut document = document(alert);
    if shrink::is_core(alert) {
        lines::leave_out(&mut document, REPEATED);
    }
    lines::prune(&mut document);
    lines::compact(&document)
}

fn document(alert: &SafeAlert) -> Value {
    let [dataset, namespace] = STREAM_LABELS.map(|name| alert.labels.get(name));
    let dataset = dataset.map_or(DATASET, |dataset| dataset);
    json!({
        "@timestamp": alert.time,
        "message": alert.title,
        "ecs": { "version": VERSION },
        "data_stream": {
            "type": "logs",
            "dataset": dataset,
            "namespace": namespace.map_or(NAMESPACE, |namespace| namespace),
        },
        "event": event::of(alert, dataset),
        "rule": fields::rule(alert),
        "threat": fields::threat(alert),
        "process": fields::process(alert),
        "user": fields::user(alert),
        "file": fields::file(alert),
        "destination": fields::destination(alert),
        "network": fields::network(alert),
        "container": fields::container(alert),
        "orchestrator": fields::orchestrator(alert),
        "service": { "environment": alert.environment },
        "host": fields::host(alert),
        "agent": { "type": "sandwatch", "name": alert.host.name, "version": alert.agent.version },
        "related": fields::related(alert),
        "labels": fields::labels(alert),
        "tags": alert.test.then_some(["test"]),
        "sandwatch": fields::own(alert),
    })
}

#[cfg(test)]
pub(super) mod tests;

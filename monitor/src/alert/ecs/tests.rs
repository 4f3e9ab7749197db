use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::*;
use crate::alert::{Alert, fixture};

fn sent(alert: Alert) -> Value {
    serde_json::from_str(&line(&SafeAlert::new(alert))).unwrap()
}

struct Field {
    kind: String,
    array: bool,
    allowed: Vec<String>,
}

/// The published list of fields.
static FIELDS: LazyLock<BTreeMap<String, Field>> = LazyLock::new(|| {
    let path = format!("{}/tests/reference/ecs/fields.tsv", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let fields = text.lines().map(|line| {
        let mut parts = line.split('\t').map(str::to_owned);
        let mut next = || parts.next().unwrap();
        let (name, kind, array) = (next(), next(), next() == "array");
        let allowed = next().split(',').filter(|value| !value.is_empty()).map(str::to_owned).collect();
        (name, Field { kind, array, allowed })
    });
    fields.collect()
});

/// Fails unless every field is in the published list and holds what the list says.
pub(in crate::alert) fn check(document: &Value) {
    let mut leaves = Vec::new();
    flatten("", document, &mut leaves);
    for (name, value) in leaves {
        if name.starts_with("sandwatch.") {
            continue;
        }
        if let Some(label) = name.strip_prefix("labels.") {
            assert!(value.is_string() && !label.contains('.'), "{name}");
            continue;
        }
        let field = FIELDS.get(&name).unwrap_or_else(|| panic!("ECS has no field {name}"));
        let values = match value {
            Value::Array(values) => {
                assert!(field.array, "{name} takes one value");
                values.clone()
            }
            value => {
                assert!(!field.array, "{name} takes a list");
                vec![value.clone()]
            }
        };
        for value in values {
            assert!(is(&field.kind, &value), "{name} is a {}, not {value}", field.kind);
            let allowed = &field.allowed;
            assert!(allowed.is_empty() || allowed.iter().any(|one| value == one.as_str()), "{name}: {value}");
        }
    }
}

fn flatten(name: &str, value: &Value, leaves: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(&name, value, leaves);
            }
        }
        value => leaves.push((name.to_owned(), value.clone())),
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "keyword" | "constant_keyword" | "wildcard" | "match_only_text" => value.is_string(),
        "date" => value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
        "long" => value.is_i64() || value.is_u64(),
        "ip" => value.as_str().is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok()),
        "boolean" => value.is_boolean(),
        _ => false,
    }
}

#[test]
fn every_field_is_one_of_ecs_or_below_our_own_name() {
    for (_, alert) in fixture::all() {
        check(&sent(alert));
    }
}

#[test]
fn the_check_refuses_what_is_no_ecs() {
    let refused = |change: fn(&mut Value)| {
        let mut document = sent(fixture::incident());
        change(&mut document);
        std::panic::catch_unwind(|| check(&document)).is_err()
    };
    assert!(refused(|document| document["event"]["kind"] = "alarm".into()));
    assert!(refused(|document| document["event"]["category"] = "process".into()));
    assert!(refused(|document| document["process"]["pid"] = "1".into()));
    assert!(refused(|document| document["process"]["nickname"] = "x".into()));
}

#[test]
fn the_stream_is_the_sinks_or_the_usual_one() {
    let document = sent(fixture::incident());
    assert_eq!(document["data_stream"]["dataset"], DATASET);
    let mut alert = fixture::incident();
    alert.labels.insert(STREAM_LABELS[0].into(), "sandwatch.lab".into());
    alert.labels.insert(STREAM_LABELS[1].into(), "blue".into());
    let document = sent(alert);
    assert_eq!(document["data_stream"]["dataset"], "sandwatch.lab");
    assert_eq!(document["data_stream"]["namespace"], "blue");
    assert_eq!(document["event"]["dataset"], "sandwatch.lab");
    assert_eq!(document["labels"].as_object().unwrap().len(), 1, "they are no labels");
}

#[test]
fn a_label_with_a_dot_does_not_become_an_object() {
    let document = sent(fixture::all().into_iter().find(|(name, _)| *name == "hostile").unwrap().1);
    assert!(document["labels"]["app_kind/of"].is_string());
}

#[test]
fn what_happened_is_found_by_the_usual_fields() {
    let document = sent(fixture::connect());
    assert_eq!(document["event"]["kind"], "alert");
    assert_eq!(document["event"]["outcome"], "failure");
    assert_eq!(document["event"]["severity"], 73);
    assert_eq!(document["destination"]["ip"], "169.254.169.254");
    assert_eq!(document["threat"]["technique"]["id"], serde_json::json!(["T1552"]));
    assert_eq!(document["orchestrator"]["resource"]["name"], "n8n-worker-0");
    assert_eq!(document["sandwatch"]["attribution"]["workflow"]["value"], "nightly-report");
}

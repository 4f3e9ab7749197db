//! The committed JSON Schema is current, and every alert that is shown anywhere as an example keeps to it.

use std::path::Path;

use serde_json::{Value, json};

use super::{Alert, SafeAlert, fixture, json as lines, schema};

/// Fails unless `rules/schema/NAME` is `text`; `UPDATE_SCHEMAS=1` writes it.
pub(crate) fn committed(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/schema").join(name);
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "{} is not current: run the tests with UPDATE_SCHEMAS=1", path.display());
}

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&serde_json::from_str(&schema()).unwrap()).unwrap()
}

fn line(alert: Alert) -> Value {
    serde_json::from_str(&lines::line(&SafeAlert::new(alert), None)).unwrap()
}

#[test]
fn the_committed_schema_is_current() {
    committed("alert.json", &schema());
}

#[test]
fn every_golden_alert_keeps_to_the_schema() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/alert/snapshots");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let alert: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        let errors: Vec<String> = validator().iter_errors(&alert).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
        count += 1;
    }
    assert!(count >= 2);
}

#[test]
fn the_schema_refuses_what_is_no_alert() {
    let validator = validator();
    let mut alert = line(fixture::incident());
    assert!(validator.is_valid(&alert));
    alert["process"]["pid"] = json!("4242");
    assert!(!validator.is_valid(&alert), "a pid is a number");
    let mut alert = line(fixture::incident());
    alert.as_object_mut().unwrap().remove("host");
    assert!(!validator.is_valid(&alert), "the host is always there");
}

#[test]
fn the_schema_takes_what_a_later_version_adds() {
    let validator = validator();
    let mut alert = line(fixture::incident());
    alert["kind"] = json!("something-new");
    alert["tier"] = json!("beyond");
    alert["process"]["later"] = json!({ "a": 1 });
    assert!(validator.is_valid(&alert), "v1 is additive, and its enums are open");
}

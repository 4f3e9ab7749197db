use serde_json::Value;

use super::*;
use crate::alert::{Alert, Delivery, State, Tier, fixture};

fn event(alert: Alert) -> Value {
    serde_json::from_str(&line(&SafeAlert::new(alert))).unwrap()
}

fn validator(class: &str) -> jsonschema::Validator {
    let path = format!("{}/tests/reference/ocsf/{class}.json", env!("CARGO_MANIFEST_DIR"));
    let schema = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

/// Fails unless the published schema takes the event.
pub(in crate::alert) fn check(event: &Value) {
    use std::sync::LazyLock;
    static FINDING: LazyLock<jsonschema::Validator> = LazyLock::new(|| validator("detection_finding"));
    static BASE: LazyLock<jsonschema::Validator> = LazyLock::new(|| validator("base_event"));
    let validator = if event["class_uid"] == 2004 { &*FINDING } else { &*BASE };
    let errors: Vec<String> =
        validator.iter_errors(event).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{event:#}");
    let number = |name: &str| event[name].as_u64().unwrap();
    assert_eq!(number("type_uid"), number("class_uid") * 100 + number("activity_id"));
}

#[test]
fn every_kind_of_alert_is_what_the_published_schema_asks_for() {
    for (_, alert) in fixture::all() {
        check(&event(alert));
    }
}

#[test]
fn the_published_schema_refuses_what_it_should() {
    let validator = validator("detection_finding");
    let mut wrong = event(fixture::incident());
    assert!(validator.is_valid(&wrong));
    wrong["severity_id"] = 7.into();
    assert!(!validator.is_valid(&wrong));
    wrong["severity_id"] = 5.into();
    wrong["something"] = 1.into();
    assert!(!validator.is_valid(&wrong));
}

#[test]
fn create_update_and_close_of_an_incident_are_one_finding() {
    let of = |state| {
        let event = event(Alert { state, ..fixture::incident() });
        (event["activity_id"].as_u64().unwrap(), event["finding_info"]["uid"].as_str().unwrap().to_owned())
    };
    let id = "8f3ac2d4e5f60718".to_owned();
    assert_eq!(of(State::Open), (1, id.clone()));
    assert_eq!(of(State::Update), (2, id.clone()));
    assert_eq!(of(State::Ended), (2, id.clone()), "ended is not closed");
    assert_eq!(of(State::Closed), (3, id));
}

#[test]
fn ids_stand_where_the_mapping_says() {
    let delivery = Delivery { sink: "siem".into(), stream: "s".into(), seq: 42 };
    let safe = SafeAlert::new(fixture::incident()).for_sink(Some(&delivery), &Default::default());
    let event: Value = serde_json::from_str(&line(&safe)).unwrap();
    assert_eq!(event["metadata"]["uid"], safe.id.as_str());
    assert_eq!(event["metadata"]["sequence"], 42);
    assert_eq!(event["finding_info"]["analytic"]["uid"], "unexpected-identity");
    assert_eq!(event["severity_id"], 5);
    assert_eq!(event["time"], 1_795_466_401_123_i64);
    assert_eq!(event["unmapped"]["blast_radius"]["taken"][0]["identity"], "k8s-service-account-token");
}

#[test]
fn a_test_alert_has_the_verdict_test_and_is_no_breach() {
    let event = event(Alert { test: true, ..fixture::incident() });
    assert_eq!((&event["verdict_id"], &event["verdict"]), (&6.into(), &"Test".into()));
    assert!(event.get("is_suspected_breach").is_none());
}

#[test]
fn a_sub_technique_stands_below_its_technique() {
    let event = event(fixture::connect());
    let attacks = &event["finding_info"]["attacks"];
    assert_eq!(attacks[0]["technique"]["uid"], "T1552");
    assert_eq!(attacks[0]["sub_technique"]["uid"], "T1552.005");
    assert!(attacks[1].get("sub_technique").is_none());
}

#[test]
fn a_pod_uid_that_is_no_uuid_is_left_out() {
    let mut alert = fixture::connect();
    let of = |alert: &Alert| event(alert.clone())["evidences"][0]["container"]["pod_uuid"].clone();
    assert!(of(&alert).is_string());
    alert.worker.as_mut().unwrap().pod.as_mut().unwrap().uid = "5f2d0c0ffee05f2d0c0ffee05f2d0c0f".into();
    assert!(of(&alert).is_null());
    check(&event(alert));
}

#[test]
fn health_and_heartbeats_are_base_events() {
    let event = event(fixture::heartbeat());
    assert_eq!((&event["class_uid"], &event["severity_id"]), (&0.into(), &1.into()));
    assert_eq!(event["unmapped"]["heartbeat"]["every"], 300);
    assert_eq!(event["status"], "Success");
}

#[test]
fn a_deviation_alone_is_low() {
    let alert = fixture::all().into_iter().find(|(_, alert)| alert.tier == Some(Tier::Deviation)).unwrap().1;
    assert_eq!(event(alert)["severity_id"], 2);
}

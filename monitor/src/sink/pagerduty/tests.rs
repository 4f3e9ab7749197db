use super::*;
use crate::alert::{SafeAlert, fixture};
use crate::oncall::{Brief, Change, Summary, SummaryKind, Why};

fn open(brief: Brief) -> Action {
    let key = format!("{}/page", brief.id);
    Action::Open { id: brief.id.clone(), key, revision: 2, brief: Box::new(brief), change: Change::New }
}

fn theft() -> Brief {
    Brief::of(&SafeAlert::new(fixture::incident()), "8f3ac2d4e5f60718")
}

fn body(action: &Action) -> serde_json::Value {
    let event = event::of(action, Some("https://runbooks.example"), &Default::default());
    serde_json::from_slice(&event.body("0123456789abcdef0123456789abcdef")).unwrap()
}

#[test]
fn a_page_as_pagerduty_gets_it() {
    insta::assert_json_snapshot!(body(&open(theft())));
}

#[test]
fn a_resolve_names_the_key_and_nothing_else() {
    let brief = Box::new(theft());
    let action = Action::Resolve { id: "i".into(), key: "i/ticket".into(), brief, why: Why::Raised };
    let expected = serde_json::json!({
        "routing_key": "0123456789abcdef0123456789abcdef", "event_action": "resolve", "dedup_key": "i/ticket"
    });
    assert_eq!(body(&action), expected);
}

fn summary(kind: SummaryKind, node: &str) -> Action {
    Action::Summary(Summary {
        key: "desk/more/0".into(),
        kind,
        lines: vec!["one".into(), "two".into()],
        unnamed: 7,
        count: 9,
        uncounted: 0,
        node: node.into(),
        cluster: None,
    })
}

#[test]
fn a_summary_without_a_node_has_a_source_all_the_same() {
    let body = body(&summary(SummaryKind::Missed, ""));
    assert_eq!(body["payload"]["summary"], "While you were unreachable: 9 alerts came and went");
    assert_eq!(body["payload"]["source"], "an unknown host", "without one it is refused");
}

#[test]
fn a_summary_counts_what_it_cannot_name() {
    let body = body(&summary(SummaryKind::More, "node-7"));
    assert_eq!(body["payload"]["summary"], "9 more alerts on node-7, not told one by one");
    assert_eq!(body["payload"]["custom_details"]["more"], 7);
}

#[test]
fn texts_at_their_limits_stay_within_pagerdutys() {
    let mut brief = theft();
    brief.title = "ü".repeat(5000);
    brief.steps = vec!["x".repeat(300_000), "y".repeat(300_000)];
    let action = open(brief);
    let text = event::of(&action, None, &Default::default()).body(&"k".repeat(32));
    assert!(text.len() <= 512_000);
    let body: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert!(body["payload"]["summary"].as_str().unwrap().chars().count() <= 1024);
    assert!(event::fitting(&"i".repeat(400)).len() + "/ticket".len() <= 255);
}

#[test]
fn answers_mean_what_pagerduty_says_they_mean() {
    let answer = |status, body: &str| verdict(&Answer::for_tests(status, body, None));
    assert_eq!(answer(202, ""), Verdict::Accepted);
    assert!(matches!(answer(400, r#"{"errors":["'payload.summary' is missing"]}"#), Verdict::Final(_)));
    let unknown =
        answer(400, r#"{"errors":["Length of 'routing_key' is incorrect (should be 32 characters)"]}"#);
    assert!(matches!(unknown, Verdict::Again { after: Some(_), .. }), "{unknown:?}");
    for status in [429, 500, 503, 404, 403] {
        assert!(matches!(answer(status, ""), Verdict::Again { .. }), "{status}");
    }
}

#[test]
fn what_is_no_integration_key_is_refused_without_showing_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, "not-a-key-s3cret").unwrap();
    let config = SinkConfig { key_file: Some(path), ..SinkConfig::stdout() };
    let error = PagerDuty::open(&config).err().unwrap().to_string();
    assert!(error.contains("32 letters") && !error.contains("s3cret"), "{error}");
    let error = PagerDuty::open(&SinkConfig::stdout()).err().unwrap().to_string();
    assert!(error.contains("key_file"), "{error}");
}

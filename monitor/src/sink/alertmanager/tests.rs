use std::collections::BTreeMap;

use super::*;
use crate::alert::{SafeAlert, Severity, Tier, fixture};
use crate::oncall::{Answer, Brief, Change, Desk, Next, Now, Why};

fn theft() -> Brief {
    Brief::of(&SafeAlert::new(fixture::incident()), "8f3ac2d4e5f60718")
}

fn now() -> Timestamp {
    "2026-11-23T20:41:00Z".parse().unwrap()
}

fn posted(action: &Action) -> serde_json::Value {
    serde_json::to_value(post::of(action, Some("https://runbooks.example"), now())).unwrap()
}

fn open(brief: Brief) -> Action {
    let key = post::key(&brief, &[("team".to_owned(), "platform".to_owned())].into());
    Action::Open { id: brief.id.clone(), key, revision: 2, brief: Box::new(brief), change: Change::New }
}

#[test]
fn a_page_as_alertmanager_gets_it() {
    insta::assert_json_snapshot!(posted(&open(theft())));
}

#[test]
fn what_is_resolved_ends_now_under_the_labels_it_was_opened_with() {
    let opened = posted(&open(theft()));
    let Action::Open { id, key, brief, .. } = open(theft()) else { panic!() };
    let resolved = posted(&Action::Resolve { id, key, brief, why: Why::Closed });
    assert_eq!(opened["labels"], resolved["labels"]);
    assert_eq!(opened["endsAt"], "2026-11-24T00:41:00Z");
    assert_eq!(resolved["endsAt"], "2026-11-23T20:41:00Z");
}

#[test]
fn labels_change_with_tier_and_severity_and_with_nothing_else() {
    let key = |brief: &Brief| post::key(brief, &BTreeMap::new());
    let before = key(&theft());
    let mut later = theft();
    (later.title, later.last, later.findings) = ("another".into(), "2027-01-01T00:00:00Z".into(), 99);
    later.taken_count = 7;
    assert_eq!(key(&later), before);
    let worse = Brief { tier: Some(Tier::Objective), ..theft() };
    assert_ne!(key(&worse), before);
    assert_ne!(key(&Brief { severity: Severity::High, ..theft() }), before);
}

#[test]
fn labels_hold_no_process_user_time_or_path() {
    let labels: BTreeMap<String, String> =
        serde_json::from_str(&post::key(&theft(), &BTreeMap::new())).unwrap();
    let names: Vec<&str> = labels.keys().map(|name| &**name).collect();
    assert_eq!(names, ["alertname", "cluster", "engine", "incident", "node", "profile", "severity", "tier"]);
    assert!(labels.values().all(|value| !value.contains(['/', ':'])), "{labels:?}");
}

#[test]
fn configured_fields_become_labels_it_takes_and_replace_none_of_ours() {
    let fields = [("on-call.team", "sec"), ("9lives", "x"), ("severity", "none")];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let labels: BTreeMap<String, String> = serde_json::from_str(&post::key(&theft(), &fields)).unwrap();
    assert_eq!(labels["on_call_team"], "sec");
    assert_eq!(labels["_9lives"], "x");
    assert_eq!(labels["severity"], "critical");
}

#[test]
fn start_never_lies_after_the_end() {
    let mut brief = theft();
    brief.first = "2030-01-01T00:00:00Z".into();
    let Action::Open { id, key, brief, .. } = open(brief) else { panic!() };
    let resolved = posted(&Action::Resolve { id, key, brief, why: Why::Closed });
    assert_eq!(resolved["startsAt"], resolved["endsAt"]);
}

#[test]
fn what_is_open_is_sent_again_every_minute_for_as_long_as_it_is() {
    let url = Some(crate::profile::doc::OneOrMany(vec!["http://a:9093".into()]));
    let replica = Alertmanager::open(&SinkConfig { url, ..SinkConfig::stdout() }).unwrap().remove(0);
    let at = |seconds| Now {
        monotonic: Duration::from_secs(seconds),
        wall: 1_790_000_000_000 + 1000 * seconds as i64,
    };
    let mut desk = Desk::for_pager(&replica);
    desk.take(&SafeAlert::new(fixture::incident()), 0, at(0));
    let mut posted = Vec::new();
    for second in 0..600 {
        if let Next::Send(actions) = desk.next(at(second)) {
            actions.iter().for_each(|action| desk.answered(action, Answer::Accepted, at(second)));
            posted.push(second);
        }
    }
    assert_eq!(posted, (0..10).map(|minute| minute * 60).collect::<Vec<u64>>());
}

#[test]
fn every_replica_has_a_pager_of_its_own() {
    let url = Some(crate::profile::doc::OneOrMany(vec!["http://a:9093".into(), "http://b:9093/am".into()]));
    let replicas = Alertmanager::open(&SinkConfig { url, ..SinkConfig::stdout() }).unwrap();
    let targets: Vec<String> = replicas.iter().map(Pager::target).collect();
    assert_eq!(targets, ["http://a:9093/api/v2/alerts", "http://b:9093/am/api/v2/alerts"]);
    assert!(Alertmanager::open(&SinkConfig::stdout()).err().unwrap().to_string().contains("replica"));
}

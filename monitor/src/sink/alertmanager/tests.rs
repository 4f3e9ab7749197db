use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::alert::{Alert, SafeAlert, Severity, State, Tier, fixture};
use crate::oncall::{Answer, Brief, Change, Desk, Next, Now, Summary, SummaryKind, Why};

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

fn replica() -> Alertmanager {
    let url = Some(crate::profile::doc::OneOrMany(vec!["http://a:9093".into()]));
    Alertmanager::open(&SinkConfig { url, ..SinkConfig::stdout() }).unwrap().remove(0)
}

/// Everything that is told of these, one after the other.
fn told(alerts: impl IntoIterator<Item = Alert>) -> Vec<Action> {
    let mut desk = Desk::for_pager(&replica());
    let mut told = Vec::new();
    for (second, alert) in (0_u32..).zip(alerts) {
        let now = Now { monotonic: Duration::from_secs(second.into()), wall: 1000 * i64::from(second) };
        desk.take(&SafeAlert::new(alert), second.into(), now);
        while let Next::Send(actions) = desk.next(now) {
            actions.iter().for_each(|action| desk.answered(action, Answer::Accepted, now));
            told.extend(actions);
        }
    }
    told
}

/// How it begins, gets worse, is over for now, and is closed.
fn life_of(alert: &Alert) -> [Alert; 4] {
    let next = |number: u64, state, worse: bool| {
        let mut next = Alert { state, ..alert.clone() };
        if worse {
            next.severity = Severity::Critical;
            next.tier = next.tier.map(|_| Tier::Objective);
        }
        next.incident.iter_mut().for_each(|incident| incident.revision += number);
        next
    };
    [
        next(0, State::Open, false),
        next(1, State::Update, true),
        next(2, State::Ended, true),
        next(3, State::Closed, true),
    ]
}

/// The labels of an action, of which each is a name, never a process, a user, a time or a path.
fn checked_labels(action: &Action, of: &Alert) -> BTreeMap<String, String> {
    let labels: BTreeMap<String, String> = serde_json::from_value(posted(action)["labels"].clone()).unwrap();
    const NAMES: [&str; 9] =
        ["alertname", "severity", "tier", "cluster", "node", "engine", "profile", "incident", "test"];
    let process = of.process.as_ref();
    let numbers = [process.map(|process| process.pid), process.and_then(|process| process.uid)];
    let numbers: Vec<String> = numbers.iter().flatten().map(ToString::to_string).collect();
    for (name, value) in &labels {
        assert!(NAMES.contains(&&**name), "{name} in {labels:?}");
        let id = match (&**name, action) {
            ("incident", Action::Summary(summary)) => {
                let parts: Vec<&str> = value.split('/').collect();
                let [desk, kind, number] = parts[..] else { panic!("{value} is not DESK/KIND/NUMBER") };
                uuid::Uuid::parse_str(desk).unwrap();
                assert_eq!(kind, summary.kind.name());
                number.parse::<u64>().unwrap();
                continue;
            }
            ("incident", Action::Open { id, .. } | Action::Resolve { id, .. }) => Some(id),
            _ => None,
        };
        assert!(id.is_none_or(|id| id == value), "{labels:?}");
        assert!(!value.contains(['/', ':']), "a path or a time: {labels:?}");
        assert!(!value.contains(&of.time[..10]) && !numbers.contains(value), "{labels:?}");
    }
    labels
}

#[test]
fn labels_hold_no_process_user_time_or_path() {
    let (mut kinds, mut changes, mut ends) = (BTreeSet::new(), Vec::new(), 0);
    for (_, alert) in fixture::all() {
        for action in told(life_of(&alert)) {
            checked_labels(&action, &alert);
            match action {
                Action::Open { brief, change, .. } => {
                    kinds.insert(brief.kind.name());
                    changes.push(change);
                }
                Action::Resolve { .. } => ends += 1,
                Action::Summary(_) => panic!("{action:?}"),
            }
        }
    }
    assert_eq!(kinds, BTreeSet::from(["gap", "health", "incident", "posture"]));
    assert!(changes.contains(&Change::New) && changes.contains(&Change::Raised) && ends > 10, "{changes:?}");
    let opened = &told([fixture::incident()])[0];
    let labels = checked_labels(opened, &fixture::incident());
    let names: Vec<&str> = labels.keys().map(|name| &**name).collect();
    assert_eq!(names, ["alertname", "cluster", "engine", "incident", "node", "profile", "severity", "tier"]);
}

#[test]
fn labels_of_a_summary_hold_no_process_user_time_or_path() {
    let now = Now { monotonic: Duration::ZERO, wall: 0 };
    let mut desk = Desk::for_pager(&replica());
    let mut lost = fixture::gap();
    lost.gap.as_mut().unwrap().lost = None;
    desk.lost(&SafeAlert::new(lost));
    // Came and went before anybody was told.
    let [opened, .., closed] = life_of(&fixture::connect());
    for alert in [opened, Alert { severity: Severity::High, tier: Some(Tier::Boundary), ..closed }] {
        desk.take(&SafeAlert::new(alert), 1, now);
    }
    let mut seen = BTreeSet::new();
    while let Next::Send(actions) = desk.next(now) {
        for action in &actions {
            desk.answered(action, Answer::Accepted, now);
            let Action::Summary(summary) = action else { panic!("{action:?}") };
            seen.insert(summary.kind);
            checked_labels(action, &fixture::connect());
            let more = Summary { kind: SummaryKind::More, ..summary.clone() };
            let key = more.key.replace(summary.kind.name(), more.kind.name());
            checked_labels(&Action::Summary(Summary { key, ..more }), &fixture::connect());
        }
    }
    assert_eq!(seen, BTreeSet::from([SummaryKind::Missed, SummaryKind::Lost]));
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
    let replica = replica();
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

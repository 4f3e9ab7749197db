//! What the pipeline says of its rules, and of who enters.

use super::*;
use crate::profile::Facts;

const MINUTE: u64 = 60 * SECOND;

fn exception(expires: &str) -> String {
    format!(
        "schema: sandwatch/exceptions/v1\nexceptions:\n  - id: report\n    worker: \"toy*\"\n    profile: toy\n    role: engine\n    \
         what: {{ connect: {{ to: \"tcp:8443\", address: 10.0.0.9 }} }}\n    owner: a team\n    reason: it is so\n    expires: {expires}\n"
    )
}

fn reload_with(pipeline: &mut Pipeline, exception: &str, now: u64) {
    let mut files = RULES.to_vec();
    files.push(("exceptions.yaml", exception));
    pipeline.reload(rules(&files), now);
}

fn conditions(pipeline: &mut Pipeline) -> Vec<(String, State)> {
    alerts(pipeline).into_iter().filter_map(|alert| Some((alert.health?.condition, alert.state))).collect()
}

#[test]
fn exception_holds_until_its_day_is_over_and_then_says_so_once() {
    let mut pipeline = started();
    // The fake clock begins at the epoch.
    reload_with(&mut pipeline, &exception("1970-01-01"), 2_500);
    connect(&mut pipeline, ENGINE, 1_100, 3_000, 8443);
    pipeline.tick(3_100);
    assert_eq!(alerts(&mut pipeline), []);
    let day = 86_400 * SECOND;
    pipeline.tick(day);
    pipeline.tick(day + SECOND);
    assert_eq!(conditions(&mut pipeline), [("exception-expired".to_owned(), State::Open)]);
    connect(&mut pipeline, ENGINE, 1_100, day + 2 * SECOND, 8443);
    let said = alerts(&mut pipeline);
    assert_eq!(said[0].finding.as_ref().unwrap().id, "unexpected-connect");
    reload_with(&mut pipeline, &exception("1971-01-01"), day + 3 * SECOND);
    pipeline.tick(day + 4 * SECOND);
    assert!(conditions(&mut pipeline).contains(&("exception-expired".to_owned(), State::Closed)));
}

#[test]
fn worker_without_its_engine_is_told_after_a_minute_and_when_the_engine_comes() {
    let mut pipeline = pipeline_with(FakeProc::default());
    pipeline.worker_found(LABEL, &[], true, 500);
    exec(&mut pipeline, ENGINE, ENGINE.1, 1_100, (1, 1), "/bin/start", &["start"]);
    alerts(&mut pipeline);
    for minute in 0..3 {
        pipeline.tick(SECOND + minute * MINUTE);
    }
    assert_eq!(conditions(&mut pipeline), [("profile-not-found".to_owned(), State::Open)]);
    exec(&mut pipeline, ENGINE, 1_100, 4 * MINUTE, (1, 1), "/opt/toy-engine", &["toy-engine"]);
    pipeline.tick(5 * MINUTE);
    assert!(conditions(&mut pipeline).contains(&("profile-not-found".to_owned(), State::Closed)));
}

#[test]
fn worker_whose_engine_runs_is_not_told_of() {
    let mut pipeline = started();
    for minute in 0..5 {
        pipeline.tick(SECOND + minute * MINUTE);
    }
    assert_eq!(conditions(&mut pipeline), []);
}

#[test]
fn fact_that_the_profile_does_not_ask_for_is_told() {
    let mut pipeline = pipeline_with(FakeProc::default());
    let stated = [("databse".to_owned(), vec!["10.0.0.1".to_owned()])];
    if let Some(worker) = pipeline.workers.get_mut(LABEL) {
        worker.assignment.facts = Facts::new(stated.iter().map(|(name, values)| (name, values))).unwrap();
    }
    pipeline.worker_found(LABEL, &[], true, 500);
    assert_eq!(conditions(&mut pipeline), [("unknown-fact".to_owned(), State::Open)]);
}

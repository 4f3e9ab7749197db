//! What was said of postures, from one run to the next.

use super::*;
use crate::alert::{Severity, State};

/// Said in another boot: over as soon as it is resumed.
const SAVED: &str = r#"[{"boot":"another","worker":{"name":"w","engine":"toy","profile":"toy","cgroup":{"id":7,"path":"/w"}},
    "posture":{"condition":"c","reaches_host":true,"findings":[]}}]"#;

#[test]
fn file_that_is_none_of_ours_is_said_and_replaced() {
    let mut rig = Rig::new();
    fs::create_dir(rig.path("state")).unwrap();
    fs::write(rig.path("state/postures.json"), "[{").unwrap();
    rig.agent.keep_postures(&rig.path("state"));
    rig.turn();
    assert_eq!(rig.alerts()[0].health.as_ref().unwrap().condition, "posture-state");
}

#[test]
fn directory_that_cannot_be_made_is_said_and_the_agent_goes_on() {
    let mut rig = Rig::new();
    fs::write(rig.path("state"), "a file").unwrap();
    rig.agent.keep_postures(&rig.path("state"));
    rig.agent.second_now();
    rig.turn();
    assert!(rig.alerts().iter().any(|alert| alert.health.as_ref().unwrap().condition == "posture-state"));
}

#[test]
fn directory_that_can_be_written_again_ends_the_condition_once() {
    let mut rig = Rig::new();
    fs::write(rig.path("state"), "a file").unwrap();
    rig.agent.keep_postures(&rig.path("state"));
    fs::remove_file(rig.path("state")).unwrap();
    fs::create_dir(rig.path("state")).unwrap();
    for _ in 0..2 {
        rig.agent.pipeline.resume_postures(serde_json::from_str(SAVED).unwrap(), boot_now());
        rig.agent.write_postures();
    }
    rig.turn();
    let ends = rig.alerts().into_iter().filter(|alert| {
        alert.health.as_ref().is_some_and(|health| health.condition == "posture-state")
            && (alert.state, alert.severity) == (State::Closed, Severity::Info)
    });
    assert_eq!(ends.count(), 1);
    assert_eq!(fs::read_to_string(rig.path("state/postures.json")).unwrap(), "[]");
}

#[test]
fn end_of_a_worker_between_two_runs_is_told_and_the_file_says_so() {
    let mut rig = Rig::new();
    fs::create_dir(rig.path("state")).unwrap();
    fs::write(rig.path("state/postures.json"), SAVED).unwrap();
    rig.agent.keep_postures(&rig.path("state"));
    rig.turn();
    assert_eq!(rig.alerts()[0].posture.as_ref().unwrap().condition, "c");
    let Rig { dir, agent } = rig;
    agent.finish().unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("state/postures.json")).unwrap(), "[]");
}

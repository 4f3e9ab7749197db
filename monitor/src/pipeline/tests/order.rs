//! Records that come too early, without history, or as nothing that can be read.

use super::*;

#[test]
fn open_that_overtakes_its_exec_is_judged_by_the_role_after_it() {
    let mut pipeline = pipeline_with(FakeProc::default());
    exec(&mut pipeline, ENGINE, ENGINE.1, 1_100, (1, 1), "/opt/toy-engine", &["toy-engine"]);
    fork(&mut pipeline, RUNNER, ENGINE, 1_100);
    open(&mut pipeline, RUNNER, 2_100, 2_200, "/etc/toy/key", 0);
    assert_eq!(alerts(&mut pipeline), [], "held: as the engine's fork it would have been allowed");
    exec(&mut pipeline, RUNNER, RUNNER.1, 2_100, ENGINE, "/opt/toy-runner", &["toy-runner"]);
    pipeline.turn_over(Some(2_150), 2_300);
    let alert = alerts(&mut pipeline).remove(0);
    assert_eq!(alert.process.unwrap().role.as_deref(), Some("runner"));
    assert_eq!(pipeline.counts().unexplained, 0);
}

/// It entered from outside, so the kernel knows nothing of its past; but its exec was seen, and is on its way.
#[test]
fn first_open_of_a_process_without_history_waits_for_its_exec() {
    let mut pipeline = pipeline_with(FakeProc::default());
    let image = 1 << 63 | 1_100;
    let mut early = head(Kind::Open, ENGINE, image, 1_200);
    early.proc_flags = proc_flags::LATE;
    pipeline.handle(&fixture::open(early, "/etc/toy/key", access::READ, 0), 1_200);
    exec(&mut pipeline, ENGINE, ENGINE.1, image, (1, 1), "/opt/toy-engine", &["toy-engine"]);
    pipeline.turn_over(Some(1_300), 1_300);
    assert_eq!(alerts(&mut pipeline), [], "the engine may read its key; as the entry it might not");
    assert_eq!(pipeline.counts().unexplained, 0);
}

#[test]
fn event_without_history_is_judged_and_the_gap_is_said() {
    let mut pipeline = started();
    open(&mut pipeline, (150, 5_000), 5_100, 5_200, "/var/run/secrets/cloud/token", 0);
    pipeline.turn_over(Some(5_300), 5_300);
    pipeline.tick(5_400);
    let said = alerts(&mut pipeline);
    assert_eq!(said.len(), 2);
    assert_eq!(said[0].tier, Some(Tier::Identity));
    let gap = said[1].gap.as_ref().unwrap();
    assert_eq!((gap.reason.as_str(), gap.lost), ("unexplained", Some(1)));
    assert_eq!(said[1].worker.as_ref().unwrap().name, "toy.service");
}

#[test]
fn record_that_cannot_be_decoded_is_counted_and_said() {
    let mut pipeline = started();
    pipeline.handle(&[1, 2, 3], 10);
    pipeline.tick(20);
    assert_eq!(pipeline.counts().undecodable.values().sum::<u64>(), 1);
    assert_eq!(alerts(&mut pipeline)[0].gap.as_ref().unwrap().reason, "undecodable");
}

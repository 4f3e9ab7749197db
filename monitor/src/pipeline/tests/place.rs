//! Records of cgroups that were not looked at when they were written.

use monitor_common::map::UNCLASSIFIED;
use monitor_common::record::header_flags;

use super::*;
use crate::worker::Placed;

const CGROUP: u64 = 4711;
const SHELL: (u32, u64) = (102, 3_000);

fn unclassified(kind: Kind, who: (u32, u64), exec_id: u64, time: u64) -> Header {
    Header { label: UNCLASSIFIED, flags: header_flags::PENDING, ..head(kind, who, exec_id, time) }
}

/// A shell and what it reads, before the agent looked; the open first, as the lane it is in is read first.
fn steals(pipeline: &mut Pipeline) {
    let open = unclassified(Kind::Open, SHELL, 3_100, 3_200);
    pipeline.handle(&fixture::open(open, "/var/run/secrets/cloud/token", access::READ, 0), 3_300);
    let exec = unclassified(Kind::Exec, SHELL, 3_100, 3_100);
    pipeline.handle(&fixture::exec(exec, SHELL.1, (1, 1), "/bin/dash", &["sh"]), 3_300);
}

#[test]
fn record_waits_until_its_cgroup_is_known_and_is_judged_in_its_order() {
    let mut pipeline = pipeline_with(FakeProc::default());
    steals(&mut pipeline);
    pipeline.turn_over(Some(4_000), 4_000);
    assert_eq!(alerts(&mut pipeline), []);
    assert!(pipeline.has_unplaced());
    pipeline.workers.place(CGROUP, Placed::Worker(LABEL));
    pipeline.place_waiting(4_000);
    pipeline.turn_over(Some(4_000), 4_000);
    let said = alerts(&mut pipeline);
    let tiers: Vec<_> = said.iter().map(|alert| alert.tier).collect();
    assert_eq!(tiers, [Some(Tier::Boundary), Some(Tier::Identity)], "the exec, then the open");
    for alert in &said {
        assert_eq!(alert.worker.as_ref().unwrap().name, "toy.service");
        assert_eq!(alert.process.as_ref().unwrap().exe.as_deref(), Some("/bin/dash"));
    }
    assert_eq!((pipeline.has_unplaced(), pipeline.counts().unexplained), (false, 0));
}

#[test]
fn record_that_waits_for_its_cgroup_is_not_judged_yet() {
    let mut pipeline = pipeline_with(FakeProc::default());
    steals(&mut pipeline);
    assert_eq!(pipeline.judged(9 * SECOND).until, 3_100, "the first of them");
    assert!(pipeline.judged(9 * SECOND).born < SHELL.1);
    pipeline.workers.place(CGROUP, Placed::Worker(LABEL));
    pipeline.place_waiting(4_000);
    pipeline.turn_over(Some(4_000), 4_000);
    assert_eq!(pipeline.judged(9 * SECOND).until, 9 * SECOND);
}

#[test]
fn record_of_a_cgroup_that_is_nobodys_is_dropped_and_counted() {
    let mut pipeline = pipeline_with(FakeProc::default());
    steals(&mut pipeline);
    pipeline.workers.place(CGROUP, Placed::Nobody);
    pipeline.place_waiting(4_000);
    pipeline.finish(5_000);
    assert_eq!(alerts(&mut pipeline), []);
    assert_eq!(pipeline.counts().no_workers, 2);
}

#[test]
fn record_that_nobody_claims_is_a_gap_after_a_while() {
    let mut pipeline = pipeline_with(FakeProc::default());
    steals(&mut pipeline);
    pipeline.tick(SECOND);
    assert!(pipeline.has_unplaced(), "a look may still find its cgroup");
    pipeline.tick(4 * SECOND);
    assert!(!pipeline.has_unplaced());
    assert_eq!(pipeline.gap_counts().get("unplaced"), Some(&2));
}

#[test]
fn too_many_that_wait_push_out_the_oldest_and_that_is_a_gap() {
    let mut pipeline = pipeline_with(FakeProc::default());
    for number in 0..8_200 {
        let open = unclassified(Kind::Open, SHELL, 3_100, 3_200 + number);
        pipeline.handle(&fixture::open(open, "/var/run/secrets/cloud/token", access::READ, 0), 3_300);
    }
    assert_eq!(pipeline.gap_counts().get("unplaced"), Some(&8));
}

#[test]
fn moved_process_that_is_pushed_out_is_a_gap_too_and_not_forgotten() {
    let mut pipeline = pipeline_with(FakeProc::default());
    pipeline.take_effects();
    for number in 0..8_200 {
        let moved =
            Header { flags: header_flags::MOVED, ..unclassified(Kind::Open, SHELL, 3_100, 3_200 + number) };
        pipeline.handle(&fixture::open(moved, "/var/run/secrets/cloud/token", access::READ, 0), 3_300);
    }
    assert_eq!(pipeline.gap_counts().get("unplaced"), Some(&8));
    assert_eq!(pipeline.take_effects(), []);
}

#[test]
fn process_that_kept_the_label_of_its_birth_is_its_workers_by_its_history() {
    let mut pipeline = started();
    // Its worker is known by now, and it has been moved to where nobody is.
    let moved =
        Header { flags: header_flags::MOVED, cgroup: 9, ..unclassified(Kind::Open, RUNNER, 2_100, 3_000) };
    pipeline.handle(&fixture::open(moved, "/var/run/secrets/cloud/token", access::READ, 0), 3_000);
    let said = alerts(&mut pipeline);
    assert_eq!(said[0].worker.as_ref().unwrap().name, "toy.service");
}

#[test]
fn workers_process_is_followed_in_the_cgroup_that_turns_out_to_be_nobodys() {
    let mut pipeline = started();
    pipeline.take_effects();
    pipeline.workers.place(CGROUP, Placed::Nobody);
    let open = unclassified(Kind::Open, RUNNER, 2_100, 3_000);
    pipeline.handle(&fixture::open(open, "/var/run/secrets/cloud/token", access::READ, 0), 3_000);
    assert_eq!(alerts(&mut pipeline)[0].worker.as_ref().unwrap().name, "toy.service");
    assert!(pipeline.take_effects().contains(&Effect::Follow { cgroup: CGROUP }));
}

#[test]
fn move_to_a_cgroup_that_turns_out_to_be_nobodys_is_an_escape() {
    let mut pipeline = started();
    let header = Header { flags: header_flags::PENDING, ..head(Kind::CgroupMove, RUNNER, 2_100, 3_000) };
    pipeline.handle(&fixture::cgroup_move(header, 9, UNCLASSIFIED), 3_000);
    assert!(pipeline.has_unplaced());
    pipeline.workers.place(9, Placed::Nobody);
    pipeline.take_effects();
    pipeline.place_waiting(3_100);
    assert_eq!(
        pipeline.take_effects(),
        [Effect::Follow { cgroup: 9 }],
        "should the agent have settled it meanwhile"
    );
    pipeline.turn_over(Some(4_000), 4_000);
    assert_eq!(alerts(&mut pipeline)[0].worker.as_ref().unwrap().name, "toy.service");
}

#[test]
fn move_to_a_new_cgroup_of_the_same_worker_is_none() {
    let mut pipeline = started();
    pipeline.take_effects();
    pipeline.workers.place(9, Placed::Worker(LABEL));
    let header = Header { flags: header_flags::PENDING, ..head(Kind::CgroupMove, RUNNER, 2_100, 3_000) };
    pipeline.handle(&fixture::cgroup_move(header, 9, UNCLASSIFIED), 3_000);
    pipeline.turn_over(Some(4_000), 4_000);
    assert_eq!((alerts(&mut pipeline), pipeline.take_effects()), (vec![], vec![]));
    assert!(!pipeline.has_unplaced());
}

#[test]
fn move_of_a_process_of_which_nothing_was_told_is_no_event() {
    let mut pipeline = started();
    // From where it was pending to where nobody is.
    let header = Header { cgroup: 0, flags: 0, ..unclassified(Kind::CgroupMove, (900, 9_000), 9_000, 3_000) };
    pipeline.take_effects();
    pipeline.handle(&fixture::cgroup_move(header, 9, 0), 3_000);
    assert!(pipeline.has_unplaced() && !pipeline.has_unplaced_cgroup(), "no look will tell");
    pipeline.tick(4 * SECOND);
    assert!(!pipeline.has_unplaced());
    assert_eq!(pipeline.counts().no_workers, 1);
    assert_eq!(pipeline.gap_counts().get("unplaced"), None);
    assert_eq!(pipeline.take_effects(), [Effect::Forget { pid: 900 }]);
}

#[test]
fn move_of_a_process_whose_exec_is_still_in_the_other_ring_is_an_escape() {
    let mut pipeline = pipeline_with(FakeProc::default());
    pipeline.workers.place(CGROUP, Placed::Worker(LABEL));
    let header = Header { cgroup: 0, flags: 0, ..unclassified(Kind::CgroupMove, SHELL, 3_100, 3_200) };
    pipeline.handle(&fixture::cgroup_move(header, 9, 0), 3_300);
    let exec = unclassified(Kind::Exec, SHELL, 3_100, 3_100);
    pipeline.handle(&fixture::exec(exec, SHELL.1, (1, 1), "/bin/dash", &["sh"]), 3_300);
    pipeline.turn_over(Some(4_000), 4_000);
    pipeline.place_waiting(4_000);
    pipeline.turn_over(Some(4_000), 4_000);
    let said = alerts(&mut pipeline);
    let findings: Vec<_> = said.iter().filter_map(|alert| alert.finding.as_ref()).collect();
    assert!(format!("{findings:?}").contains("left-worker"), "{findings:?}");
}

#[test]
fn what_a_moved_process_does_of_which_nothing_is_known_is_nobodys_after_a_while() {
    let mut pipeline = started();
    pipeline.take_effects();
    let moved = Header {
        flags: header_flags::MOVED,
        cgroup: 9,
        ..unclassified(Kind::Open, (900, 9_000), 9_000, 3_000)
    };
    pipeline.handle(&fixture::open(moved, "/var/run/secrets/cloud/token", access::READ, 0), 3_000);
    pipeline.tick(4 * SECOND);
    assert_eq!((pipeline.counts().no_workers, pipeline.gap_counts().get("unplaced")), (1, None));
    assert_eq!(pipeline.take_effects(), [Effect::Forget { pid: 900 }]);
}

#[test]
fn announcement_of_another_cgroup_places_nothing() {
    let mut pipeline = pipeline_with(FakeProc::default());
    steals(&mut pipeline);
    assert!(pipeline.has_unplaced_cgroup());
    pipeline.workers.place(CGROUP, Placed::Worker(LABEL));
    pipeline.place_waiting_for(CGROUP + 1, 4_000);
    assert!(pipeline.has_unplaced());
    pipeline.place_waiting_for(CGROUP, 4_000);
    assert!(!pipeline.has_unplaced());
}

#[test]
fn record_that_waited_for_a_stopped_agent_is_placed_before_it_is_given_up() {
    let mut pipeline = pipeline_with(FakeProc::default());
    steals(&mut pipeline);
    pipeline.workers.place(CGROUP, Placed::Worker(LABEL));
    pipeline.tick(10 * SECOND);
    assert_eq!(alerts(&mut pipeline).len(), 2);
    assert_eq!(pipeline.gap_counts().get("unplaced"), None);
}

//! The agent is started again: its incidents go on.

use super::*;
use crate::alert::ClosedBy;
use crate::detect::{GapReport, IDLE, Saved};

/// Everything the first run had, as files hold it: written and read again.
fn files(pipeline: &Pipeline, clean: bool) -> Vec<Saved> {
    let saved = pipeline.detector.last_saved();
    saved
        .into_iter()
        .map(|last| if clean { last } else { pipeline.detector.saved(last.id(), None).unwrap() })
        .map(|saved| Saved::parse(&saved.text().unwrap()).unwrap())
        .collect()
}

pub(super) fn scanned(pid: u32, start: u64, ppid: u32, exe: &str) -> (u32, Scanned) {
    let program = crate::process::Program {
        exe: crate::event::Path { view: exe.into(), ..Default::default() },
        argv: vec![exe.into()],
        argv_truncated: false,
        argv_known: true,
        ..crate::process::Program::unknown(FileId::default())
    };
    let key = ProcessKey { pid, start };
    (pid, Scanned { key, ppid, ns_pid: None, uid: 0, gid: 0, program })
}

/// The second run: the engine and its runner are found in /proc.
fn restarted(files: Vec<Saved>, now: u64) -> Pipeline {
    let proc = FakeProc(
        BTreeMap::from([
            scanned(100, 10_000_000, 1, "/opt/toy-engine"),
            scanned(101, 20_000_000, 100, "/opt/toy-runner"),
        ]),
        Vec::new(),
    );
    let mut pipeline = pipeline_with(proc);
    for saved in files {
        pipeline.detector.resume(saved, now);
    }
    pipeline.worker_found(LABEL, &[100, 101], false, now);
    pipeline
}

const ENGINE_AT: (u32, u64) = (100, 10_000_123);
const RUNNER_AT: (u32, u64) = (101, 20_000_456);

/// The first run: the engine starts, its runner takes the token.
fn first_run() -> (Pipeline, Alert) {
    let mut pipeline = pipeline_with(FakeProc::default());
    pipeline.worker_found(LABEL, &[], true, 500);
    exec(&mut pipeline, ENGINE_AT, ENGINE_AT.1, 10_100_000, (1, 1), "/opt/toy-engine", &["toy-engine"]);
    fork(&mut pipeline, RUNNER_AT, ENGINE_AT, 10_100_000);
    exec(&mut pipeline, RUNNER_AT, RUNNER_AT.1, 20_100_000, ENGINE_AT, "/opt/toy-runner", &["toy-runner"]);
    open(&mut pipeline, RUNNER_AT, 20_100_000, 30_000_000, "/var/run/secrets/cloud/token", 0);
    let alert = alerts(&mut pipeline).remove(0);
    (pipeline, alert)
}

fn second_finding(pipeline: &mut Pipeline) -> Alert {
    let exec_id = crate::process::scanned_exec_id(ProcessKey { pid: 101, start: 20_000_000 });
    open(pipeline, RUNNER_AT, exec_id, 2 * SECOND, "/etc/toy/key", 0);
    alerts(pipeline).remove(0)
}

#[test]
fn incident_goes_on_with_the_next_revision_after_the_agent_ended_in_order() {
    let (pipeline, before) = first_run();
    let mut pipeline = restarted(files(&pipeline, true), SECOND);
    let after = second_finding(&mut pipeline);
    let (a, b) = (before.incident.unwrap(), after.incident.unwrap());
    assert_eq!((&a.id, a.revision + 1, &a.run_key), (&b.id, b.revision, &b.run_key));
    assert_eq!(b.chain.len(), 2);
    assert_eq!(after.blast_radius.unwrap().taken.len(), 2);
    assert!(after.evidence.is_some());
}

#[test]
fn killed_agent_uses_no_revision_twice() {
    let (pipeline, before) = first_run();
    let mut pipeline = restarted(files(&pipeline, false), SECOND);
    let after = second_finding(&mut pipeline);
    let (a, b) = (before.incident.unwrap(), after.incident.unwrap());
    assert_eq!(a.id, b.id);
    assert_eq!(b.revision, a.revision + 2, "one may have been sent that the file does not know");
}

#[test]
fn alert_that_may_not_have_been_sent_is_sent() {
    let (pipeline, before) = first_run();
    let id = before.incident.unwrap().id;
    let saved = pipeline.detector.saved(&id, Some(0)).unwrap();
    let mut pipeline = restarted(vec![saved], SECOND);
    pipeline.tick(2 * SECOND);
    let said = alerts(&mut pipeline);
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].blast_radius.as_ref().unwrap().taken[0].identity, "cloud-token");
}

#[test]
fn incident_of_a_process_whose_scope_cannot_be_told_any_more_goes_on() {
    let (pipeline, before) = first_run();
    let mut files = files(&pipeline, true);
    let text = files.remove(0).text().unwrap().replace("author:", "run:");
    let mut pipeline = restarted(vec![Saved::parse(&text).unwrap()], SECOND);
    let after = second_finding(&mut pipeline).incident.unwrap();
    assert_eq!(after.id, before.incident.unwrap().id, "known by its processes");
    assert!(after.run_key.starts_with("run:"));
}

#[test]
fn incident_that_was_idle_meanwhile_has_ended() {
    let (pipeline, before) = first_run();
    let mut pipeline = restarted(files(&pipeline, true), SECOND + IDLE);
    pipeline.tick(SECOND + IDLE);
    assert_eq!(alerts(&mut pipeline)[0].state, State::Ended);
    let exec_id = crate::process::scanned_exec_id(ProcessKey { pid: 101, start: 20_000_000 });
    open(&mut pipeline, RUNNER_AT, exec_id, 2 * SECOND + IDLE, "/etc/toy/key", 0);
    let after = alerts(&mut pipeline).remove(0);
    assert_ne!(after.incident.unwrap().id, before.incident.unwrap().id);
}

#[test]
fn incident_of_another_boot_has_ended_and_keeps_its_times() {
    let (pipeline, before) = first_run();
    let files: Vec<Saved> = files(&pipeline, true)
        .iter()
        .map(|saved| saved.text().unwrap().replace("\"boot_id\":\"boot\"", "\"boot_id\":\"before\""))
        .map(|text| Saved::parse(&text).unwrap())
        .collect();
    let mut pipeline = restarted(files, SECOND);
    pipeline.detector.envelope.clock = WallClock { boot: 1_000_000_000_000 };
    pipeline.tick(SECOND);
    let said = alerts(&mut pipeline);
    assert_eq!(said.iter().map(|alert| alert.state).collect::<Vec<_>>(), [State::Ended]);
    let (a, b) = (before.incident.unwrap(), said[0].incident.clone().unwrap());
    assert_eq!((a.first, a.last), (b.first, b.last));
    let after = second_finding(&mut pipeline);
    assert_ne!(after.incident.unwrap().id, a.id);
    let closure = crate::alert::Closure { by: "ops".into(), reason: "x".into(), time: "t".into() };
    let closed = pipeline.detector.close(&a.id, closure, SECOND).unwrap();
    assert_eq!(closed.closed_by, Some(ClosedBy::Operator));
}

#[test]
fn digest_goes_on_within_its_hour() {
    let mut pipeline = started();
    connect(&mut pipeline, ENGINE, 1_100, 3_000, 9999);
    let before = alerts(&mut pipeline).remove(0).incident.unwrap().id;
    let mut pipeline = {
        let files = files(&pipeline, true);
        let mut again = started();
        files.into_iter().for_each(|saved| again.detector.resume(saved, SECOND));
        again
    };
    connect(&mut pipeline, ENGINE, 1_100, 2 * SECOND, 9998);
    assert_eq!(alerts(&mut pipeline), [], "the hour was told of already");
    pipeline.finish(3 * SECOND);
    let after = alerts(&mut pipeline).remove(0).incident.unwrap();
    assert_eq!((after.id, after.chain.len()), (before, 2));
}

#[test]
fn what_is_kept_holds_no_secret_of_an_argument() {
    let mut pipeline = started();
    let child = (103, 3_100);
    fork(&mut pipeline, child, RUNNER, 2_100);
    let argv = ["curl", "--header", "Authorization: Bearer hunter2hunter2", "https://me:pass4711@h/"];
    exec(&mut pipeline, child, child.1, 3_200, RUNNER, "/usr/bin/curl", &argv);
    open(&mut pipeline, child, 3_200, 3_300, "/var/run/secrets/cloud/token", 0);
    for saved in pipeline.detector.last_saved() {
        let text = saved.text().unwrap();
        assert!(!text.contains("hunter2") && !text.contains("pass4711"), "{text}");
        assert!(text.contains("/usr/bin/curl"));
    }
}

/// An engine that started before, and a shell below it that began while nobody watched.
fn with_a_shell_from_in_between() -> Pipeline {
    let proc = FakeProc(
        BTreeMap::from([
            scanned(100, 10_000_000, 1, "/opt/toy-engine"),
            scanned(101, 20_000_000, 100, "/opt/toy-runner"),
            scanned(102, 50_000_000, 100, "/bin/dash"),
        ]),
        Vec::new(),
    );
    let mut pipeline = pipeline_with(proc);
    pipeline.worker_found(LABEL, &[100, 101, 102], false, 90_000_000);
    pipeline
}

#[test]
fn process_that_began_while_nobody_watched_is_judged_by_what_it_is_now_and_says_so() {
    let mut pipeline = with_a_shell_from_in_between();
    assert_eq!(alerts(&mut pipeline), [], "a scan alone judges nothing");
    assert_eq!(pipeline.judge_missed(40_000_000, 90_000_000), 1);
    let alert = alerts(&mut pipeline).remove(0);
    let finding = alert.finding.unwrap();
    assert_eq!(finding.id, "shell-from-engine");
    assert_eq!(finding.certainty, "candidate; unknown: history");
}

#[test]
fn run_of_a_process_that_began_while_nobody_watched_is_a_candidate() {
    let proc = FakeProc(
        BTreeMap::from([
            scanned(100, 10_000_000, 1, "/opt/toy-engine"),
            scanned(101, 20_000_000, 100, "/opt/toy-runner"),
            scanned(102, 50_000_000, 101, "/bin/ls"),
        ]),
        Vec::new(),
    );
    let mut pipeline = pipeline_with(proc);
    pipeline.worker_found(LABEL, &[100, 101, 102], false, 90_000_000);
    assert_eq!(pipeline.judge_missed(40_000_000, 90_000_000), 1);
    let run = alerts(&mut pipeline).remove(0).attribution.unwrap().run.unwrap();
    assert_eq!(
        (run.value.as_str(), run.trust.as_str()),
        ("4242", "candidate"),
        "its parent may be another by now"
    );
    // What the probes see of it is its runner's run, as far as that is known.
    let exec_id = crate::process::scanned_exec_id(ProcessKey { pid: 102, start: 50_000_000 });
    open(&mut pipeline, (102, 50_000_123), exec_id, SECOND, "/var/run/secrets/cloud/token", 0);
    let said = alerts(&mut pipeline);
    assert_eq!(said.last().unwrap().attribution.as_ref().unwrap().run.as_ref().unwrap().trust, "scan");
}

#[test]
fn process_that_began_within_the_tick_in_which_watching_ended_is_judged() {
    let mut pipeline = with_a_shell_from_in_between();
    assert_eq!(pipeline.judge_missed(50_000_001, 90_000_000), 1, "/proc rounds its start down");
}

#[test]
fn shell_that_began_while_nobody_watched_is_driven_if_its_descriptors_are_a_connection() {
    for (pid, driven) in [(102, false), (103, true)] {
        let engine = scanned(100, 10_000_000, 1, "/opt/toy-engine");
        let proc =
            FakeProc(BTreeMap::from([engine, scanned(pid, 50_000_000, 100, "/bin/toy-shell")]), Vec::new());
        let mut pipeline = pipeline_with(proc);
        pipeline.worker_found(LABEL, &[100, pid], false, 90_000_000);
        assert_eq!(pipeline.judge_missed(40_000_000, 90_000_000), 1);
        let said = alerts(&mut pipeline);
        assert_eq!(
            said.iter().any(|alert| format!("{alert:?}").contains("driven-shell")),
            driven,
            "{said:#?}"
        );
    }
}

#[test]
fn process_that_was_watched_before_is_not_judged_again() {
    let mut pipeline = with_a_shell_from_in_between();
    assert_eq!(pipeline.judge_missed(60_000_000, 90_000_000), 0);
    assert_eq!(alerts(&mut pipeline), []);
}

#[test]
fn normal_process_that_began_while_nobody_watched_is_no_finding() {
    let mut pipeline = with_a_shell_from_in_between();
    assert_eq!(pipeline.judge_missed(0, 40_000_000), 2);
    let said = alerts(&mut pipeline);
    assert_eq!(said, [], "the engine and its runner are as the profile says");
}

#[test]
fn who_began_while_watching_is_no_part_of_what_was_missed() {
    let pipeline = with_a_shell_from_in_between();
    let missed = |from| pipeline.count_missed(from, 90_000_000);
    assert_eq!((missed(25_000_000), missed(40_000_000), missed(60_000_000)), (2, 1, 0));
}

#[test]
fn at_the_end_in_order_only_who_has_executed_nothing_is_left_to_be_judged() {
    let mut pipeline = pipeline_with(FakeProc::default());
    pipeline.worker_found(LABEL, &[], true, 500);
    let began = 10 * SECOND;
    let (engine, child) = ((100, began), (101, began + 1_000));
    exec(&mut pipeline, engine, engine.1, began + 100, (1, 1), "/opt/toy-engine", &["toy-engine"]);
    let read = began + SECOND / 2;
    pipeline.turn_over(Some(read), read);
    assert_eq!(pipeline.judged(read).born, read - SECOND, "a kill may take an exec that is on its way");
    assert_eq!(pipeline.judged_at_end(read).born, read, "it was judged: not as a candidate once more");
    fork(&mut pipeline, child, engine, began + 100);
    pipeline.turn_over(Some(read), read);
    assert_eq!(pipeline.judged_at_end(read).born, child.1 - 1, "what it executes next is seen by nobody");
}

#[test]
fn gap_that_is_not_said_yet_is_where_the_next_start_begins() {
    let mut pipeline = pipeline_with(FakeProc::default());
    let lost = |from| GapReport { reason: "lost", from, to: from + 5, lost: Some(1), ..GapReport::default() };
    let read = 60 * SECOND;
    pipeline.note_gap(lost(20 * SECOND));
    assert_eq!(pipeline.judged(read).until, 20 * SECOND);
    pipeline.tick(30 * SECOND);
    assert_eq!(alerts(&mut pipeline).len(), 1);
    assert_eq!(pipeline.judged(read).until, read);
    pipeline.note_gap(lost(31 * SECOND));
    pipeline.tick(32 * SECOND);
    assert_eq!(alerts(&mut pipeline), [], "one of this kind was said a moment ago");
    let judged = pipeline.judged(read);
    assert_eq!((judged.until, judged.born), (31 * SECOND, read - SECOND), "a kill would forget it");
    pipeline.tick(41 * SECOND);
    assert_eq!(alerts(&mut pipeline).len(), 1);
    assert_eq!(pipeline.judged(read).until, read);
}

//! How a worker is set up: said once, again when it changes, and over; what it does to its incidents.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::alert::ClosedBy;
use crate::process::WantedVariables;
use crate::profile::{Mounted, Mounts, NamespaceName, Setup};

const POSTURES: &str = "
schema: sandwatch/posture/v1
postures:
  - id: host-processes
    title: shares the host's processes
    match: { shares: pid }
    severity: high
    reaches_host: true
    respond: { review: Take it away. }
    refs: { attack: [T1611] }
  - { id: folder, title: has a folder of the host, match: { mount: { host: /srv/** } }, severity: low }
";

/// How every process is set up, as a test says.
#[derive(Clone, Default)]
struct Told(Rc<RefCell<Option<Setup>>>);

impl Told {
    fn say(&self, shares: bool, folder: bool) {
        let mount = Mounted { point: "/a".into(), host: Some("/srv/a".into()), ..Mounted::default() };
        let all = folder.then_some(mount).into_iter().collect();
        *self.0.borrow_mut() = Some(Setup {
            shares: [(NamespaceName::Pid, shares)].into(),
            mounts: Some(Mounts { all, ..Mounts::default() }),
            ..Setup::default()
        });
    }
}

impl ProcReader for Told {
    fn read(&self, _: u32) -> Option<Scanned> {
        None
    }
    fn environment(&self, _: u32, _: &dyn Fn(&str) -> bool) -> Vec<(Arc<str>, Arc<str>)> {
        Vec::new()
    }
    fn setup(&self, _: u32, _: &WantedVariables<'_>) -> Option<Setup> {
        self.0.borrow().clone()
    }
}

fn started_and_told(told: &Told) -> Pipeline {
    let mut files = RULES.to_vec();
    files.push(("posture.yaml", POSTURES));
    let mut pipeline = pipeline_of(&files, told.clone());
    let unit = Some(Arc::from("toy.service"));
    let path = "/system.slice/toy.service";
    pipeline.workers.insert(Worker::new(LABEL, 4711, path, unit, Assignment::default(), 0));
    pipeline.worker_found(LABEL, &[], true, 500);
    exec(&mut pipeline, ENGINE, ENGINE.1, 1_100, (1, 1), "/opt/toy-engine", &["toy-engine"]);
    pipeline
}

/// The clock goes on to this second, as it does in the agent.
fn until(pipeline: &mut Pipeline, from: u64, to: u64) -> Vec<Alert> {
    for second in from..=to {
        pipeline.look_at_setups(second * SECOND);
        pipeline.tick(second * SECOND);
    }
    alerts(pipeline).into_iter().filter(|alert| alert.kind == AlertKind::Posture).collect()
}

fn shell(pipeline: &mut Pipeline, pid: u32, time: u64) {
    fork(pipeline, (pid, time), ENGINE, 1_100);
    exec(pipeline, (pid, time), time, time + 100, ENGINE, "/bin/dash", &["sh"]);
}

#[test]
fn posture_is_said_once_and_when_it_changes_and_when_it_is_over() {
    let told = Told::default();
    told.say(true, false);
    let mut pipeline = started_and_told(&told);
    let said = until(&mut pipeline, 1, 29);
    let [open] = said.as_slice() else { panic!("{said:#?}") };
    assert_eq!((open.state, open.severity), (State::Open, Severity::High));
    assert_eq!(open.title, "Worker toy.service shares the host's processes");
    let posture = open.posture.as_ref().unwrap();
    assert!(posture.reaches_host);
    assert_eq!(posture.new, ["host-processes"]);
    assert_eq!(posture.findings[0].rule.as_ref().unwrap().file, "posture.yaml");
    assert_eq!((open.respond[0].as_str(), &*open.refs["attack"][0]), ("Review: Take it away.", "T1611"));
    assert_eq!(open.worker.as_ref().unwrap().posture, ["host-processes"]);

    told.say(true, true);
    let said = until(&mut pipeline, 30, 60);
    let [update] = said.as_slice() else { panic!("{said:#?}") };
    let both = update.posture.as_ref().unwrap();
    assert_eq!((update.state, &both.condition), (State::Update, &posture.condition));
    assert_eq!((both.new.clone(), both.over.clone()), (vec!["folder".to_owned()], vec![]));
    assert_ne!(update.id, open.id);

    told.say(false, false);
    let said = until(&mut pipeline, 61, 400);
    let [over] = said.as_slice() else { panic!("{said:#?}") };
    assert_eq!((over.state, over.closed_by), (State::Closed, Some(ClosedBy::Recovered)));
    assert_eq!(over.posture.as_ref().unwrap().condition, posture.condition);
    assert_eq!(over.posture.as_ref().unwrap().over, ["host-processes", "folder"]);
    assert_eq!(until(&mut pipeline, 401, 1000), []);
}

#[test]
fn posture_is_over_with_its_worker() {
    let told = Told::default();
    told.say(true, false);
    let mut pipeline = started_and_told(&told);
    assert_eq!(until(&mut pipeline, 1, 5).len(), 1);
    pipeline.worker_gone(LABEL, 6 * SECOND);
    let over = alerts(&mut pipeline).remove(0);
    assert_eq!(over.state, State::Closed);
    assert_eq!(over.title, "Over: worker toy.service shares the host's processes (the worker has ended)");
}

#[test]
fn what_could_not_be_read_is_said_and_is_not_fine() {
    let told = Told::default();
    *told.0.borrow_mut() = Some(Setup::default());
    let mut pipeline = started_and_told(&told);
    let said = until(&mut pipeline, 1, 5);
    let posture = said[0].posture.as_ref().unwrap();
    assert_eq!(
        (posture.findings.len(), posture.unknown.clone()),
        (0, vec!["host-processes".into(), "folder".into()])
    );
    assert_eq!(
        (said[0].severity, said[0].title.as_str()),
        (Severity::Low, "Worker toy.service could not be looked at")
    );
}

#[test]
fn worker_that_ends_before_it_was_looked_at_is_not_told_of() {
    let told = Told::default();
    let mut pipeline = started_and_told(&told);
    assert_eq!(until(&mut pipeline, 1, 20), []);
}

#[test]
fn who_leaves_a_sandbox_that_reaches_the_host_is_critical_from_the_first_alert_on() {
    let told = Told::default();
    told.say(true, false);
    let mut pipeline = started_and_told(&told);
    until(&mut pipeline, 1, 3);
    shell(&mut pipeline, 102, 4 * SECOND);
    let alert = alerts(&mut pipeline).remove(0);
    assert_eq!((alert.tier, alert.severity), (Some(Tier::Boundary), Severity::Critical));
    assert_eq!(alert.worker.unwrap().posture, ["host-processes"]);
}

#[test]
fn incident_that_began_before_its_worker_was_looked_at_becomes_critical() {
    let told = Told::default();
    told.say(true, false);
    let mut pipeline = started_and_told(&told);
    shell(&mut pipeline, 102, 3_000);
    assert_eq!(alerts(&mut pipeline).remove(0).severity, Severity::High);
    for second in 1..4 {
        pipeline.look_at_setups(second * SECOND);
        pipeline.tick(second * SECOND);
    }
    let said = alerts(&mut pipeline);
    let update = said.iter().find(|alert| alert.kind == AlertKind::Incident).unwrap();
    assert_eq!((update.state, update.severity), (State::Update, Severity::Critical));
    // What is mended later does not undo what was done.
    told.say(false, false);
    until(&mut pipeline, 4, 400);
    shell(&mut pipeline, 103, 401 * SECOND);
    pipeline.tick(402 * SECOND);
    let said = alerts(&mut pipeline);
    assert!(
        said.iter().all(|alert| alert.kind != AlertKind::Incident || alert.severity == Severity::Critical)
    );
}

#[test]
fn remark_lifts_no_incident() {
    let told = Told::default();
    told.say(false, true);
    let mut pipeline = started_and_told(&told);
    assert_eq!(until(&mut pipeline, 1, 3)[0].severity, Severity::Low);
    shell(&mut pipeline, 102, 4 * SECOND);
    assert_eq!(alerts(&mut pipeline).remove(0).severity, Severity::High);
}

#[test]
fn a_thousand_workers_have_their_turns_one_after_the_other() {
    let told = Told::default();
    told.say(false, true);
    let mut pipeline = started_and_told(&told);
    for label in LABEL + 1..LABEL + 100 {
        let path = format!("/lab/{label}");
        let mut worker = Worker::new(label, 5000 + u64::from(label), &path, None, Assignment::default(), 0);
        worker.sealed = true;
        pipeline.workers.insert(worker);
        let who = (1_000 + label, 1_000);
        pipeline.workers.get_mut(label).unwrap().entry = Some(ProcessKey { pid: who.0, start: who.1 });
        let record = fixture::exec(
            Header { exec_id: 1_100, time: 1_100, ..fixture::header(Kind::Exec, who.0, who.1, label) },
            1_000,
            (1, 1),
            "/opt/toy-engine",
            &["toy-engine"],
        );
        pipeline.handle(&record, 1_100);
    }
    until(&mut pipeline, 1, 1);
    let first = until(&mut pipeline, 2, 2).len();
    assert!((1..=8).contains(&first), "{first}");
    assert_eq!(first + until(&mut pipeline, 3, 20).len(), 100);
}

/// The next run of the agent: the same worker, and what was kept.
fn next_run(told: &Told, first: &mut Pipeline) -> Pipeline {
    let kept = first.take_changed_postures().unwrap();
    let kept = serde_json::from_str(&serde_json::to_string(&kept).unwrap()).unwrap();
    let mut second = started_and_told(told);
    second.resume_postures(kept, 900);
    second
}

#[test]
fn posture_is_not_said_again_by_the_next_run_but_its_change_and_its_end_are() {
    let told = Told::default();
    told.say(true, false);
    let mut first = started_and_told(&told);
    let open = until(&mut first, 1, 5).remove(0);
    let mut second = next_run(&told, &mut first);
    assert_eq!(until(&mut second, 1, 5), []);
    assert_eq!(
        second.workers.get(LABEL).unwrap().posture,
        ["host-processes".into()],
        "it is known all the same"
    );
    let mut third = next_run_of(&told, vec![&mut first, &mut second]);
    told.say(true, true);
    let update = until(&mut third, 1, 5).remove(0);
    assert_eq!(update.state, State::Update);
    let (was, is) = (open.posture.unwrap(), update.posture.unwrap());
    assert_eq!((is.condition, is.new), (was.condition, vec!["folder".to_owned()]));
    third.worker_gone(LABEL, 6 * SECOND);
    assert_eq!(alerts(&mut third).remove(0).state, State::Closed);
    assert_eq!(third.take_changed_postures(), Some(Vec::new()));
}

/// What was kept last is what the first of them said: the second changed nothing.
fn next_run_of(told: &Told, mut runs: Vec<&mut Pipeline>) -> Pipeline {
    assert_eq!(runs[1].take_changed_postures(), None, "nothing was said, nothing is written");
    runs[0].postures.changed = true;
    next_run(told, runs[0])
}

#[test]
fn incident_of_the_next_run_that_is_younger_than_its_first_look_becomes_critical() {
    let told = Told::default();
    told.say(true, false);
    let mut first = started_and_told(&told);
    until(&mut first, 1, 5);
    let mut second = next_run(&told, &mut first);
    shell(&mut second, 102, 3_000);
    assert_eq!(alerts(&mut second).remove(0).severity, Severity::High);
    for time in [SECOND, 2 * SECOND, 3 * SECOND] {
        second.look_at_setups(time);
        second.tick(time);
    }
    let said = alerts(&mut second);
    assert!(said.iter().all(|alert| alert.kind != AlertKind::Posture), "that was said before: {said:#?}");
    let update = said.iter().find(|alert| alert.kind == AlertKind::Incident).unwrap();
    assert_eq!((update.state, update.severity), (State::Update, Severity::Critical));
    assert_eq!(update.worker.as_ref().unwrap().posture, ["host-processes"]);
}

#[test]
fn posture_of_a_worker_that_ends_before_the_next_run_looked_at_it_is_over() {
    let told = Told::default();
    told.say(true, false);
    let mut first = started_and_told(&told);
    let open = until(&mut first, 1, 5).remove(0);
    let mut second = next_run(&told, &mut first);
    assert_eq!(until(&mut second, 1, 1), [], "its turn has not come");
    second.worker_gone(LABEL, SECOND + 1);
    let said = alerts(&mut second);
    let [over] = said.as_slice() else { panic!("{said:#?}") };
    assert_eq!(
        (over.kind, over.state, over.closed_by),
        (AlertKind::Posture, State::Closed, Some(ClosedBy::Recovered))
    );
    assert_eq!(over.title, "Over: worker toy.service shares the host's processes (the worker has ended)");
    assert_eq!(over.posture.as_ref().unwrap().condition, open.posture.unwrap().condition);
    assert_eq!(second.take_changed_postures(), Some(Vec::new()), "said once");
}

#[test]
fn posture_of_a_worker_that_ended_between_two_runs_is_over() {
    let told = Told::default();
    told.say(true, false);
    let mut first = started_and_told(&told);
    let open = until(&mut first, 1, 5).remove(0);
    let kept = first.take_changed_postures().unwrap();
    let mut second = pipeline_of(RULES, told.clone());
    second.resume_postures(kept, 900);
    let over = alerts(&mut second).remove(0);
    assert_eq!(
        (over.kind, over.state, over.closed_by),
        (AlertKind::Posture, State::Closed, Some(ClosedBy::Recovered))
    );
    assert_eq!(over.title, "Over: worker toy.service shares the host's processes (the worker has ended)");
    assert_eq!(over.posture.unwrap().condition, open.posture.unwrap().condition);
    assert_eq!(second.take_changed_postures(), Some(Vec::new()), "said once");
}

#[test]
fn posture_of_another_boot_is_over_even_if_a_cgroup_has_that_id_now() {
    let told = Told::default();
    told.say(true, false);
    let mut first = started_and_told(&told);
    until(&mut first, 1, 5);
    let mut kept = first.take_changed_postures().unwrap();
    kept[0].boot = "another".into();
    let mut second = started_and_told(&told);
    second.resume_postures(kept, 900);
    let said = until(&mut second, 1, 5);
    assert_eq!([said[0].state, said[1].state], [State::Closed, State::Open]);
}

/// A container whose first program is this, at this cgroup path.
fn container_of(told: &Told, path: &str, exe: &str, wait: u64) -> Pipeline {
    let mut files = RULES.to_vec();
    files.push(("posture.yaml", POSTURES));
    let mut pipeline = pipeline_of(&files, told.clone());
    pipeline.wait_for_pods(wait);
    pipeline.workers.insert(Worker::new(LABEL, 4711, path, None, Assignment::default(), 0));
    pipeline.worker_found(LABEL, &[], true, 500);
    exec(&mut pipeline, ENGINE, ENGINE.1, 1_100, (1, 1), exe, &[exe]);
    pipeline
}

#[test]
fn container_whose_program_calls_itself_a_sandboxs_has_a_posture_where_no_list_says_that_it_is_one() {
    let told = Told::default();
    told.say(true, false);
    let id = "a".repeat(64);
    let in_pod = format!("/kubepods/burstable/pod6c296cf0-94d7-43f6-bfb0-d99da865208f/{id}");
    for path in [&format!("/docker/{id}"), &in_pod] {
        // Nobody is asked for pods.
        let mut pipeline = container_of(&told, path, "/x/pause", 0);
        assert_eq!(until(&mut pipeline, 1, 5).len(), 1, "{path}");
    }
    // Somebody is asked, and does not answer.
    let mut pipeline = container_of(&told, &in_pod, "/x/pause", 10 * SECOND);
    assert_eq!(until(&mut pipeline, 1, 59), [], "it may still turn out to be one");
    assert_eq!(until(&mut pipeline, 60, 70).len(), 1);
}

#[test]
fn sandbox_that_its_pods_list_makes_one_has_no_posture_and_a_container_of_that_list_has() {
    use crate::metadata::{Pod, PodContainer, Pods};
    let told = Told::default();
    told.say(true, false);
    let (own, other) = ("a".repeat(64), "b".repeat(64));
    let uid = "6c296cf0-94d7-43f6-bfb0-d99da865208f";
    for (listed, said) in [(&other, 0), (&own, 1)] {
        let path = format!("/kubepods/burstable/pod{uid}/{own}");
        let mut pipeline = container_of(&told, &path, "/pause", 10 * SECOND);
        let container =
            PodContainer { name: "x".into(), image: "x".into(), id: Some(listed.as_str().into()) };
        let mut pods = Pods::default();
        pods.update(vec![Pod { uid: uid.into(), containers: vec![container], ..Pod::default() }]);
        assert_eq!(until(&mut pipeline, 1, 10), []);
        pipeline.pods_known(&pods, 11 * SECOND, 11 * SECOND);
        assert_eq!(until(&mut pipeline, 12, 100).len(), said);
    }
}

#[test]
fn posture_of_what_turns_out_to_be_the_sandbox_late_is_over() {
    use crate::metadata::{Pod, PodContainer, Pods};
    let told = Told::default();
    told.say(true, false);
    let uid = "6c296cf0-94d7-43f6-bfb0-d99da865208f";
    let path = format!("/kubepods/burstable/pod{uid}/{}", "a".repeat(64));
    let mut pipeline = container_of(&told, &path, "/pause", 10 * SECOND);
    // One of the pod's containers gets no image for a while.
    let list = |late: Option<String>| {
        let container = |id: Option<String>| PodContainer {
            name: "x".into(),
            image: "x".into(),
            id: id.map(|id| id.as_str().into()),
        };
        let containers = vec![container(Some("b".repeat(64))), container(late)];
        let mut pods = Pods::default();
        pods.update(vec![Pod { uid: uid.into(), containers, ..Pod::default() }]);
        pods
    };
    let mut said = Vec::new();
    for second in 1..100 {
        pipeline.pods_known(&list(None), second * SECOND, second * SECOND);
        said.extend(until(&mut pipeline, second, second));
    }
    assert_eq!(said.iter().map(|alert| alert.state).collect::<Vec<_>>(), [State::Open], "nobody can tell");
    pipeline.pods_known(&list(Some("c".repeat(64))), 100 * SECOND, 100 * SECOND);
    let over = until(&mut pipeline, 100, 900);
    assert_eq!(over.iter().map(|alert| alert.state).collect::<Vec<_>>(), [State::Closed], "{over:#?}");
    assert!(over[0].title.contains("only keeps its pod's namespaces"), "{}", over[0].title);
    let condition = |alert: &Alert| alert.posture.as_ref().unwrap().condition.clone();
    assert_eq!(condition(&over[0]), condition(&said[0]));
    assert!(pipeline.workers.get(LABEL).unwrap().posture.is_empty());
    assert_eq!(pipeline.take_changed_postures(), Some(Vec::new()));
}

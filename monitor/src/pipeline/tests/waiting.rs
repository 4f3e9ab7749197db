//! Workers in pods: what they do waits until it is known which pod it is.

use super::restart::scanned;
use super::*;
use crate::metadata::{Pod, PodContainer, Pods};

const PODS: &[(&str, &str)] = &[
    (
        "profiles/pod.yaml",
        r#"
schema: sandwatch/profile/v1
name: in-pod
engine: toy
title: A toy engine in a pod
select: [{ namespace: flows, container: worker }]
roles:
  - { name: engine, parent: entry, program: toy-engine }
  - { name: runner, parent: engine, program: toy-runner, author: true }
expect:
  entry: { exec: { allow: [{ becomes: engine }], else: boundary } }
  engine: { exec: { allow: [{ becomes: runner }], else: boundary } }
  runner:
    exec: { allow: [], else: boundary }
    identities: { allow: [], else: identity }
"#,
    ),
    ("identities.yaml", RULES[1].1),
    ("detections/exec.yaml", RULES[2].1),
];

const UID: &str = "6c296cf0-94d7-43f6-bfb0-d99da865208f";
const WAIT: u64 = 3 * SECOND;

fn container() -> String {
    "a".repeat(64)
}

/// What the kubelet says; `id`: of the container, if it has seen it run.
fn said(id: Option<String>) -> Pods {
    let worker = PodContainer {
        name: "worker".into(),
        image: "n8nio/n8n:1".into(),
        id: id.map(|id| Arc::from(id.as_str())),
    };
    let pod = Pod {
        uid: UID.into(),
        namespace: "flows".into(),
        name: "n8n-0".into(),
        labels: [("app".to_owned(), "n8n".to_owned())].into(),
        node: Some("node-1".into()),
        containers: vec![worker],
        ..Pod::default()
    };
    let mut pods = Pods::default();
    pods.update(vec![pod]);
    pods
}

/// A pipeline in which a container has just been made, by a kubelet.
fn made(wait: u64) -> Pipeline {
    let mut pipeline = with_container(wait, FakeProc::default());
    pipeline.worker_found(LABEL, &[], true, 500);
    pipeline
}

/// A pipeline with a worker that is a container of the pod, and has not been looked at.
fn with_container(wait: u64, proc: FakeProc) -> Pipeline {
    let mut pipeline = pipeline_of(PODS, proc);
    pipeline.wait_for_pods(wait);
    let path = format!("/kubepods/burstable/pod{UID}/{}", container());
    pipeline.workers.insert(Worker::new(LABEL, 4711, &path, None, Assignment::default(), 0));
    pipeline
}

/// The engine starts its runner, which reads a token.
fn works(pipeline: &mut Pipeline) {
    exec(pipeline, ENGINE, ENGINE.1, 1_100, (1, 1), "/opt/toy-engine", &["toy-engine"]);
    fork(pipeline, RUNNER, ENGINE, 1_100);
    exec(pipeline, RUNNER, RUNNER.1, 2_100, ENGINE, "/opt/toy-runner", &["toy-runner"]);
    steals(pipeline);
}

fn steals(pipeline: &mut Pipeline) {
    open(pipeline, RUNNER, 2_100, 3_000, "/var/run/secrets/cloud/token", 0);
}

fn profile_and_role(alert: &Alert) -> (&str, Option<&str>) {
    (&alert.worker.as_ref().unwrap().profile, alert.process.as_ref().unwrap().role.as_deref())
}

#[test]
fn what_a_new_container_does_is_judged_by_the_profile_of_its_pod() {
    let mut pipeline = made(WAIT);
    works(&mut pipeline);
    assert!(pipeline.wants_pods(3_000));
    assert_eq!(alerts(&mut pipeline), [], "nothing is said before it is known what it is");
    pipeline.pods_known(&said(Some(container())), 4_000, 4_000);
    let said = alerts(&mut pipeline);
    let [theft] = said.as_slice() else { panic!("{said:#?}") };
    assert_eq!(profile_and_role(theft), ("in-pod", Some("runner")));
    let worker = theft.worker.as_ref().unwrap();
    assert_eq!((worker.name.as_str(), worker.node.as_deref()), ("flows/n8n-0/worker", Some("node-1")));
    let pod = worker.pod.as_ref().unwrap();
    assert_eq!((pod.uid.as_str(), pod.labels["app"].as_str()), (UID, "n8n"));
    let image = worker.container.as_ref().and_then(|container| container.image.as_deref());
    assert_eq!(image, Some("n8nio/n8n:1"));
    assert!(!pipeline.wants_pods(5_000), "nothing more is to be learnt");
    assert_eq!((pipeline.unknown_pods(5_000), pipeline.waiting_events().0), ((0, None), 0));
    // From now on nothing waits.
    open(&mut pipeline, RUNNER, 2_100, 5_000, "/etc/toy/key", 0);
    assert_eq!(alerts(&mut pipeline).len(), 1);
}

#[test]
fn events_of_the_two_lanes_wait_in_the_order_in_which_they_happened() {
    let mut pipeline = made(WAIT);
    steals(&mut pipeline);
    works(&mut pipeline);
    pipeline.pods_known(&said(Some(container())), 4_000, 4_000);
    let said = alerts(&mut pipeline);
    assert_eq!(profile_and_role(&said[0]), ("in-pod", Some("runner")), "its exec was read later");
    assert_eq!(pipeline.counts().unexplained, 0);
}

#[test]
fn after_the_wait_it_is_judged_without_and_completed_when_the_pod_is_known() {
    let mut pipeline = made(WAIT);
    works(&mut pipeline);
    pipeline.tick(WAIT - SECOND);
    assert_eq!(alerts(&mut pipeline), []);
    pipeline.tick(WAIT + SECOND);
    let first = alerts(&mut pipeline).into_iter().find(|alert| alert.kind == AlertKind::Incident).unwrap();
    assert_eq!(first.finding.as_ref().unwrap().certainty, "unknown: pod");
    assert_eq!(first.worker.as_ref().unwrap().pod, None);
    // The pod, but not yet which of its containers it is.
    pipeline.pods_known(&said(None), WAIT + 2 * SECOND, WAIT + 2 * SECOND);
    assert!(pipeline.wants_pods(WAIT + 2 * SECOND));
    pipeline.pods_known(&said(Some(container())), WAIT + 2 * SECOND, WAIT + 2 * SECOND);
    pipeline.tick(WAIT + 4 * SECOND);
    let said = alerts(&mut pipeline);
    let update = said.iter().find(|alert| alert.kind == AlertKind::Incident).unwrap();
    let (before, after) = (first.incident.as_ref().unwrap(), update.incident.as_ref().unwrap());
    assert_eq!((&after.id, after.revision), (&before.id, before.revision + 1), "once for both");
    assert_eq!(update.worker.as_ref().unwrap().pod.as_ref().unwrap().name, "n8n-0");
    assert_eq!((update.severity, update.state), (first.severity, State::Update), "nobody is woken twice");
}

#[test]
fn more_events_than_may_wait_are_judged_at_once_and_none_is_dropped() {
    let mut pipeline = made(WAIT);
    works(&mut pipeline);
    for at in 0..2_000 {
        open(&mut pipeline, RUNNER, 2_100, 4_000 + at, "/var/run/secrets/cloud/token", 0);
    }
    assert_eq!(pipeline.counts().events["open"], 2_001);
    pipeline.tick(SECOND);
    // The worker's last events: they were all judged.
    pipeline.pods_known(&said(Some(container())), 2 * SECOND, 2 * SECOND);
    open(&mut pipeline, RUNNER, 2_100, 3 * SECOND, "/etc/toy/key", 0);
    assert_eq!(alerts(&mut pipeline).last().unwrap().worker.as_ref().unwrap().profile, "in-pod");
}

#[test]
fn what_waits_is_not_judged_yet_and_what_began_it_is_not_either() {
    let mut pipeline = made(WAIT);
    works(&mut pipeline);
    let judged = pipeline.judged(9 * SECOND);
    assert_eq!(judged.until, 1_100, "a kill now takes all of it");
    assert!(judged.born < ENGINE.1, "the engine was forked before it was executed");
    pipeline.pods_known(&said(Some(container())), 4_000, 4_000);
    let judged = pipeline.judged(9 * SECOND);
    assert_eq!((judged.until, judged.born), (9 * SECOND, 8 * SECOND));
}

/// A restart finds a container whose engine started a shell meanwhile.
fn restarted(pid: u32, shell: &str) -> Pipeline {
    let engine = scanned(100, 10_000_000, 1, "/opt/toy-engine");
    let proc = FakeProc(BTreeMap::from([engine, scanned(pid, 50_000_000, 100, shell)]), Vec::new());
    let mut pipeline = with_container(WAIT, proc);
    pipeline.worker_found(LABEL, &[100, pid], false, 90_000_000);
    assert_eq!(pipeline.judge_missed(40_000_000, 90_000_000), 1);
    assert_eq!(alerts(&mut pipeline), [], "what it is expected to do is not known yet");
    assert!(pipeline.judged(SECOND).born < 50_000_000, "another kill would miss it again");
    pipeline
}

#[test]
fn process_that_was_missed_in_a_pod_is_judged_by_the_profile_of_its_pod() {
    let mut pipeline = restarted(102, "/bin/dash");
    pipeline.pods_known(&said(Some(container())), 100_000_000, 100_000_000);
    let said = alerts(&mut pipeline);
    let [shell] = said.as_slice() else { panic!("{said:#?}") };
    assert_eq!(profile_and_role(shell).0, "in-pod");
    assert_eq!(shell.tier, Some(Tier::Boundary), "the profile says that the engine starts nothing else");
    assert_eq!(shell.finding.as_ref().unwrap().certainty, "candidate; unknown: history");
    assert_eq!(pipeline.judged(SECOND).born, 0);
}

#[test]
fn process_that_was_missed_in_a_pod_that_nobody_tells_of_is_judged_after_the_wait() {
    let mut pipeline = restarted(103, "/bin/toy-shell");
    pipeline.tick(90_000_000 + WAIT);
    assert!(pipeline.judged(10 * SECOND).born > 50_000_000, "nothing waits any more");
    let said = alerts(&mut pipeline);
    let [shell] = said.as_slice() else { panic!("{said:#?}") };
    let finding = shell.finding.as_ref().unwrap();
    assert_eq!(
        (finding.id.as_str(), finding.certainty.as_str()),
        ("driven-shell", "candidate; unknown: history")
    );
}

const UNLISTED: u64 = 10 * SECOND;

/// A container, and what is known of its pod, whose first program calls itself a sandbox's.
fn paused(exe: &str) -> Pipeline {
    let mut pipeline = made(UNLISTED + WAIT);
    exec(&mut pipeline, ENGINE, ENGINE.1, 1_100, (1, 1), exe, &[exe]);
    pipeline
}

#[test]
fn container_that_its_pods_whole_list_does_not_have_and_whose_program_is_a_sandboxs_is_the_sandbox() {
    let mut pipeline = paused("/pause");
    pipeline.pods_known(&said(Some("b".repeat(64))), 2_000, 2_000);
    let worker = pipeline.workers.get(LABEL).unwrap();
    assert_eq!((&*worker.name, worker.sealed), ("flows/n8n-0", false), "it may be missing because it is new");
    assert!(pipeline.wants_pods(3_000));
    // Time alone is no evidence, and neither is an answer that came late to an early question.
    pipeline.tick(UNLISTED);
    pipeline.pods_known(&said(Some("b".repeat(64))), UNLISTED - 1, UNLISTED + SECOND);
    assert!(!pipeline.workers.get(LABEL).unwrap().sealed, "that list may be older than the container");
    assert!(pipeline.wants_pods(UNLISTED + SECOND), "there is more to learn");
    pipeline.pods_known(&said(Some("b".repeat(64))), UNLISTED, UNLISTED + SECOND);
    let worker = pipeline.workers.get(LABEL).unwrap();
    assert!(worker.sealed, "its exec was taken");
    assert_eq!(alerts(&mut pipeline), [], "no profile of the pod is the sandbox's");
    assert!(!pipeline.wants_pods(UNLISTED + SECOND), "there is nothing more to learn");
}

#[test]
fn container_of_a_pod_whose_program_calls_itself_a_sandboxs_is_judged_as_the_container_it_is() {
    // Its pod is known before its own id is: a container that has just begun, or one that was started again.
    for first in [None, Some("b".repeat(64))] {
        let mut pipeline = paused("/x/pause");
        pipeline.pods_known(&said(first), 2_000, 2_000);
        assert_eq!(alerts(&mut pipeline), []);
        pipeline.pods_known(&said(Some(container())), 2 * SECOND, 2 * SECOND);
        let told = alerts(&mut pipeline);
        assert_eq!(told.len(), 1, "{told:#?}");
        assert_eq!(told[0].worker.as_ref().unwrap().profile, "in-pod");
        assert_eq!(told[0].worker.as_ref().unwrap().name, "flows/n8n-0/worker");
    }
}

#[test]
fn container_that_was_taken_for_the_sandbox_is_corrected_by_any_later_list() {
    let mut pipeline = paused("/x/pause");
    pipeline.pods_known(&said(Some("b".repeat(64))), UNLISTED, UNLISTED);
    assert!(!pipeline.workers.get(LABEL).unwrap().lacks_pod(), "it is taken for the sandbox");
    pipeline.pods_known(&said(Some(container())), UNLISTED + SECOND, UNLISTED + SECOND);
    let worker = pipeline.workers.get(LABEL).unwrap();
    assert!(!worker.is_sandbox());
    assert_eq!(pipeline.rules().profile_name(worker.profile), "in-pod");
}

#[test]
fn a_jobs_own_pause_makes_its_container_no_sandbox() {
    let mut pipeline = made(WAIT);
    works(&mut pipeline);
    exec(&mut pipeline, (300, 3_500), 3_500, 3_600, RUNNER, "/usr/bin/pause", &["pause"]);
    pipeline.pods_known(&said(None), 4_000, 4_000);
    assert_eq!(pipeline.processes().live(LABEL), 0, "it still waits");
}

#[test]
fn a_container_that_has_ended_is_still_learnt_and_asked_for_as_long_as_nobody_answers() {
    let mut pipeline = made(WAIT);
    pipeline.workers.gone(LABEL, 4711, 600);
    assert!(pipeline.wants_pods(500 * SECOND), "nobody has answered yet");
    let found = pipeline.workers.get(LABEL).unwrap().found;
    assert_eq!(pipeline.unknown_pods(500 * SECOND), (1, Some(found)));
    pipeline.pods_known(&Pods::default(), 500 * SECOND, 500 * SECOND);
    assert!(pipeline.wants_pods(559 * SECOND) && !pipeline.wants_pods(561 * SECOND));
    assert_eq!(pipeline.unknown_pods(561 * SECOND), (1, None), "nobody lags: the answers do not name it");
    pipeline.pods_unknown();
    assert!(pipeline.wants_pods(561 * SECOND));
    assert_eq!(
        pipeline.unknown_pods(561 * SECOND),
        (1, Some(500 * SECOND)),
        "one failure after minutes of answers is no lag of minutes"
    );
}

#[test]
fn secrets_are_known_to_the_kernels_filter_while_events_wait() {
    let mut pipeline = made(WAIT);
    assert!(pipeline.kernel_filter().inodes.is_empty());
    exec(&mut pipeline, ENGINE, ENGINE.1, 1_100, (1, 1), "/opt/toy-engine", &["toy-engine"]);
    assert!(!pipeline.kernel_filter().inodes.is_empty(), "the cloud token of its root");
    assert_eq!(pipeline.workers.get(LABEL).unwrap().entry.map(|key| key.pid), Some(ENGINE.0));
}

/// What ran before the pod was known belongs to its run all the same, and the kernel knows who is an author's.
#[test]
fn processes_that_were_judged_without_the_pod_are_taken_up() {
    let mut pipeline = made(SECOND);
    works(&mut pipeline);
    pipeline.tick(2 * SECOND);
    alerts(&mut pipeline);
    pipeline.take_effects();
    pipeline.pods_known(&said(Some(container())), 3 * SECOND, 3 * SECOND);
    let marked = |effect: &Effect| matches!(effect, Effect::MarkAuthor { pid, .. } if *pid == RUNNER.0);
    assert!(pipeline.take_effects().iter().any(marked));
}

#[test]
fn without_anybody_to_ask_nothing_waits() {
    let mut pipeline = made(0);
    works(&mut pipeline);
    assert_eq!(pipeline.processes().live(LABEL), 2);
}

#[test]
fn what_waits_is_judged_at_the_end_and_when_the_worker_is_forgotten() {
    let mut pipeline = made(WAIT);
    works(&mut pipeline);
    pipeline.finish(4_000);
    assert_eq!(pipeline.processes().live(LABEL), 2);
    let mut pipeline = made(WAIT);
    works(&mut pipeline);
    pipeline.worker_forgotten(LABEL, 4_000);
    assert_eq!(pipeline.processes().live(LABEL), 2);
    exec(&mut pipeline, (300, 8_000), 8_000, 9_000, (1, 1), "/bin/true", &["true"]);
    assert_eq!(pipeline.processes().live(LABEL), 3, "another of that label does not wait");
}

/// Shows a run in every environment, as long as it is said to.
struct Fading(std::rc::Rc<std::cell::Cell<bool>>);

impl ProcReader for Fading {
    fn read(&self, _: u32) -> Option<Scanned> {
        None
    }
    fn environment(&self, _: u32, wanted: &dyn Fn(&str) -> bool) -> Vec<(Arc<str>, Arc<str>)> {
        let all = [("RUN_ID", "4242"), ("OTHER", "x")].into_iter();
        all.filter(|(name, _)| self.0.get() && wanted(name))
            .map(|(name, v)| (name.into(), v.into()))
            .collect()
    }
}

#[test]
fn environment_of_what_waits_is_read_when_it_comes() {
    let rules = PODS[0].1.replace("program: toy-runner }", "program: toy-runner, author: true }")
        + "attribution: [{ field: run, from: env, name: RUN_ID, at: author, trust: engine }]\n";
    let there = std::rc::Rc::new(std::cell::Cell::new(true));
    let mut pipeline = pipeline_of(&[("profiles/pod.yaml", &rules), PODS[1]], Fading(there.clone()));
    pipeline.wait_for_pods(WAIT);
    let path = format!("/kubepods/burstable/pod{UID}/{}", container());
    pipeline.workers.insert(Worker::new(LABEL, 4711, &path, None, Assignment::default(), 0));
    pipeline.worker_found(LABEL, &[], true, 500);
    works(&mut pipeline);
    // The process is gone, or has written over it, by the time it is judged.
    there.set(false);
    pipeline.pods_known(&said(Some(container())), SECOND, SECOND);
    let run = alerts(&mut pipeline).remove(0).attribution.unwrap().run.unwrap();
    assert_eq!((run.value.as_str(), run.trust.as_str()), ("4242", "scan"));
}

//! Recording a pipeline at work: what is played again is what was.

use std::cell::RefCell;
use std::io::{self, Cursor, Write};
use std::rc::Rc;
use std::sync::Arc;

use super::file::header;
use crate::alert::Alert;
use crate::detect::{Envelope, HostFacts, WallClock};
use crate::event::{Body, FileId};
use crate::metadata::{Pod, PodContainer, Pods};
use crate::pipeline::Pipeline;
use crate::process::{ProcReader, Scanned, WantedVariables};
use crate::profile::{Environment, NamespaceName, Setup};
use crate::recording::*;
use crate::worker::{FoundFile, RootFiles, Worker};

#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The token lies at inode 77 of every root.
struct Roots;

impl RootFiles for Roots {
    fn resolve(&self, _: u32, paths: &mut dyn Iterator<Item = &str>) -> Vec<Option<FoundFile>> {
        let file = FoundFile { id: FileId { dev: 1, ino: 77 }, generation: 3 };
        paths.map(|path| path.contains("shadow").then_some(file)).collect()
    }
}

struct Proc;

impl ProcReader for Proc {
    fn read(&self, _: u32) -> Option<Scanned> {
        None
    }
    fn environment(&self, _: u32, _: &dyn Fn(&str) -> bool) -> Vec<(Arc<str>, Arc<str>)> {
        Vec::new()
    }
    /// Every process is in the host's pid namespace, in a container, with this setting.
    fn setup(&self, _: u32, _: &WantedVariables<'_>) -> Option<Setup> {
        Some(Setup {
            container: Some(true),
            shares: [(NamespaceName::Pid, true)].into(),
            environment: Some(Environment {
                settings: vec![("MODE".into(), "password=hunter2hunter2".into())],
                ..Environment::default()
            }),
            ..Setup::default()
        })
    }
}

const EVENTS: &str = "
  - exec: { exe: /var/lib/sandwatch/demo-1/toy-engine }
  - { as: sh, from: main, exec: { exe: /bin/dash, given: /bin/sh, argv: [sh, --password, hunter2hunter2] } }
  - { as: sh, open: { path: /var/lib/sandwatch/demo-1/secrets/serviceaccount/token } }
  - { as: sh, open: { path: /harmless } }
";

fn scenario(events: &str) -> Scenario {
    let text = format!(
        "schema: sandwatch/scenario/v1\nabout: A\nbuilt: b\nworker: {{ cgroup: /sandwatch-demo-1 }}\nevents:{events}"
    );
    Scenario::parse(&"s.yaml".into(), &text).unwrap_or_else(|error| panic!("{error}"))
}

/// The events through a pipeline that is recorded: its alerts and the file.
fn record(redaction: Redaction, takes: bool, most: u64) -> (Vec<Alert>, String, Result<Written, WriteError>) {
    record_in("/sandwatch-demo-1", |_, _| {}, redaction, takes, most)
}

/// The same in this cgroup, with what else happens before the last event.
fn record_in(
    cgroup: &str,
    besides: impl Fn(&mut Pipeline, u64),
    redaction: Redaction,
    takes: bool,
    most: u64,
) -> (Vec<Alert>, String, Result<Written, WriteError>) {
    record_of(cgroup, besides, redaction, move |_| takes, most)
}

/// The same of the workers that `takes` takes.
fn record_of(
    cgroup: &str,
    besides: impl Fn(&mut Pipeline, u64),
    redaction: Redaction,
    takes: impl Fn(&Worker) -> bool + 'static,
    most: u64,
) -> (Vec<Alert>, String, Result<Written, WriteError>) {
    let to = Shared::default();
    let header = Header { redaction, ..header() };
    let recorder = Recorder::new(Box::new(to.clone()), header.clone(), takes, most);
    let envelope = Envelope {
        host: HostFacts {
            name: header.host,
            boot_id: header.boot_id,
            kernel: header.kernel,
            ..HostFacts::default()
        },
        cluster: None,
        cgroup_root: "/sys/fs/cgroup".to_owned(),
        environment: None,
        labels: [("replay".to_owned(), "recorded".to_owned())].into(),
        rules: super::demo_rules().digest().to_owned(),
        clock: WallClock { boot: 1_767_225_600_000_000_000 },
    };
    let (proc, roots) = (Box::new(recorder.proc(Proc)), Box::new(recorder.roots(Roots)));
    let mut pipeline = Pipeline::new(super::demo_rules(), envelope, 64, proc, roots);
    pipeline.listen(Box::new(recorder.clone()));
    let scenario = scenario(EVENTS);
    let worker = &WorkerFact { path: cgroup.to_owned(), ..scenario.header.workers[0].clone() };
    pipeline.wait_for_pods(3_000_000_000);
    pipeline.workers.insert(worker.worker());
    pipeline.worker_found(1, &[], true, worker.time);
    let mut now = worker.time;
    for line in scenario.lines {
        let Line::Event(mut event) = line else { continue };
        if let Body::Open(open) = &mut event.body
            && &*open.path.view == "/harmless"
        {
            open.id = FileId { dev: 1, ino: 77 };
        }
        now = event.time;
        if matches!(&event.body, Body::Open(open) if &*open.path.view == "/harmless") {
            besides(&mut pipeline, now);
        }
        pipeline.take(*event, now);
        pipeline.turn_over(Some(now + 1), now);
    }
    pipeline.look_at(1, now);
    pipeline.look_at_every_setup(now + 1);
    pipeline.tick(now + 4_000_000_000);
    while pipeline.look_around(now + 4_000_000_000) {}
    pipeline.finish(now + 6_000_000_000);
    let alerts = std::iter::from_fn(|| pipeline.next_alert()).collect();
    let written = recorder.finish();
    let text = String::from_utf8(to.0.borrow().clone()).unwrap();
    (alerts, text, written)
}

fn play(text: &str) -> Vec<Alert> {
    let mut reader = Reader::new(Cursor::new(text)).unwrap();
    let mut replay = Replay::new(reader.header(), super::demo_rules()).unwrap();
    while let Some(line) = reader.next().unwrap() {
        replay.take(line);
    }
    replay.finish();
    std::iter::from_fn(|| replay.next_alert()).collect()
}

#[test]
fn recording_played_again_gives_the_same_alerts() {
    let (alerts, text, written) = record(Redaction::None, true, u64::MAX);
    let shadow =
        |alert: &Alert| alert.file.as_ref().is_some_and(|file| file.path.as_deref() == Some("/harmless"));
    assert!(alerts.iter().any(shadow), "the file of the root is known by its inode: {alerts:#?}");
    assert_eq!(play(&text), alerts);
    assert_eq!(play(&text), play(&text));
    assert_eq!(written.unwrap().events, 5);
    let posture = alerts.iter().find_map(|alert| alert.posture.as_ref()).unwrap();
    assert_eq!(posture.worst(), Some("host-pid-namespace"), "how it is set up is recorded too");
}

/// What waited for its pod is played as it was judged, whether the pod became known or not.
#[test]
fn recording_of_a_pod_that_was_waited_for_gives_the_same_alerts() {
    let uid = "6c296cf0-94d7-43f6-bfb0-d99da865208f";
    let id = "a".repeat(64);
    let cgroup = format!("/kubepods/burstable/pod{uid}/{id}");
    let container = PodContainer { name: "main".into(), image: "toy:1".into(), id: Some(id.as_str().into()) };
    let pod = Pod { uid: uid.into(), name: "toy-0".into(), containers: vec![container], ..Pod::default() };
    let known = |pipeline: &mut Pipeline, now: u64| {
        let mut pods = Pods::default();
        pods.update(vec![pod.clone()]);
        pipeline.pods_known(&pods, now, now);
    };
    let (alerts, text, _) = record_in(&cgroup, known, Redaction::None, true, u64::MAX);
    assert!(text.contains("\"pod\":{") && text.contains("\"waited\":{"), "{text}");
    assert!(alerts.iter().any(|alert| alert.worker.as_ref().is_some_and(|worker| worker.pod.is_some())));
    assert_eq!(play(&text), alerts);
    let (alerts, text, _) = record_in(&cgroup, |_, _| {}, Redaction::None, true, u64::MAX);
    assert!(text.contains("\"waited\":{"), "{text}");
    assert!(!alerts.is_empty());
    assert_eq!(play(&text), alerts);
}

/// A worker that is wanted by the name of its pod has no such name when it is found.
#[test]
fn worker_that_is_wanted_by_its_pods_name_is_recorded_from_its_first_event_on() {
    let (uid, id) = ("6c296cf0-94d7-43f6-bfb0-d99da865208f", "a".repeat(64));
    let cgroup = format!("/kubepods/burstable/pod{uid}/{id}");
    let container = PodContainer { name: "main".into(), image: "toy:1".into(), id: Some(id.as_str().into()) };
    let pod = |namespace: &str| Pod {
        uid: uid.into(),
        namespace: namespace.into(),
        name: "toy-0".into(),
        containers: vec![container.clone()],
        ..Pod::default()
    };
    let recorded = |namespace: &'static str| {
        let known = move |pipeline: &mut Pipeline, now: u64| {
            let mut pods = Pods::default();
            pods.update(vec![pod(namespace)]);
            pipeline.pods_known(&pods, now, now);
        };
        record_of(&cgroup, known, Redaction::None, |worker| worker.name.starts_with("flows/"), u64::MAX)
    };
    let (alerts, text, written) = recorded("flows");
    assert_eq!((written.as_ref().unwrap().workers, written.unwrap().events), (1, 5), "{text}");
    assert_eq!(play(&text), alerts);
    let (_, text, written) = recorded("other");
    assert_eq!((written.unwrap().workers, text.lines().count()), (0, 1), "{text}");
}

#[test]
fn secrets_are_masked_unless_asked_otherwise() {
    let (_, text, _) = record(Redaction::Secrets, true, u64::MAX);
    assert!(!text.contains("hunter2") && text.contains("[redacted]"), "{text}");
    let findings = |text: &str| {
        let ids = play(text).into_iter().filter_map(|alert| alert.finding.map(|finding| finding.id));
        ids.collect::<Vec<_>>()
    };
    let (_, plain, _) = record(Redaction::None, true, u64::MAX);
    assert!(plain.contains("hunter2"));
    assert_eq!(findings(&text), findings(&plain));
}

#[test]
fn worker_that_is_not_wanted_is_not_recorded() {
    let (_, text, written) = record(Redaction::Secrets, false, u64::MAX);
    assert_eq!((text.lines().count(), written.unwrap().workers), (1, 0));
}

#[test]
fn recording_that_grows_too_large_ends_whole_and_says_so() {
    let (_, text, written) = record(Redaction::Secrets, true, 1000);
    assert!(matches!(written, Err(WriteError::Full(1000))));
    assert!(text.len() > 1000 && text.ends_with("}\n"));
    play(&text);
}

//! Recorded events through the whole pipeline: no kernel, no /proc. Here are the rules, the worker and the records that all of them use.

use std::collections::BTreeMap;
use std::sync::Arc;

use monitor_common::filter::access;
use monitor_common::hook::Kind;
use monitor_common::record::Header;

use super::*;
use crate::alert::{AlertKind, Severity, State};
use crate::detect::{HostFacts, WallClock};
use crate::event::{FileId, ProcessKey, Stdio, fixture};
use crate::process::Scanned;
use crate::profile::{Source, Tier};
use crate::worker::{Assignment, FoundFile};

mod any;
mod incident;
mod judged;
mod leak;
mod notice;
mod order;
mod place;
mod posture;
mod processes;
mod reach;
mod restart;
mod waiting;

pub(super) const RULES: &[(&str, &str)] = &[
    (
        "profiles/toy.yaml",
        r#"
schema: sandwatch/profile/v1
name: toy
title: A toy engine
select: [{ unit: "toy.service" }]
roles:
  - { name: engine, parent: entry, program: toy-engine }
  - { name: runner, parent: engine, program: toy-runner, author: true }
expect:
  entry:
    exec: { allow: [{ becomes: engine }], else: boundary }
  engine:
    exec: { allow: [{ becomes: runner }], else: boundary }
    identities: { allow: [{ id: engine-key }], else: identity }
    connect: { allow: [{ to: "tcp:5432", scope: private }], else: deviation }
  runner:
    exec: { allow: [], else: boundary }
    identities: { allow: [], else: identity }
    connect: { allow: [], else: boundary }
attribution: [{ field: run, from: env, name: RUN_ID, at: author, trust: engine }]
"#,
    ),
    (
        "identities.yaml",
        r#"
schema: sandwatch/identities/v1
identities:
  - id: engine-key
    class: engine
    gives: every stored credential
    paths: ["/etc/toy/key"]
    respond: { rotate: Change the engine's key. }
  - id: cloud-token
    class: cloud
    gives: the cloud account
    paths: ["/var/run/secrets/cloud/token"]
    respond: { revoke: Revoke the token., rotate: Issue a new one. }
"#,
    ),
    (
        "detections/exec.yaml",
        r#"
schema: sandwatch/detections/v1
detections:
  - id: shell-from-engine
    title: The engine started a shell
    on: exec
    roles: [engine, stray]
    match: { program: [sh, dash] }
    tier: boundary
    respond: { contain: Freeze the worker. }
  - id: driven-shell
    title: A shell is driven over a network connection
    on: exec
    match: { program: toy-shell, stdio: inet }
    tier: objective
    respond: { contain: Cut the network. }
  - id: login-after-theft
    title: Another host was logged in to after an identity was taken
    on: connect
    after: identity
    match: { to: "tcp:22" }
    tier: objective
  - id: left-worker
    title: A process left its worker's cgroup
    on: cgroup_move
    match: { to_worker: false }
    tier: boundary
"#,
    ),
];

/// What can be read of each process, and the variables of the engine.
#[derive(Clone, Default)]
pub(super) struct FakeProc(BTreeMap<u32, Scanned>, Vec<&'static str>);

impl ProcReader for FakeProc {
    fn read(&self, pid: u32) -> Option<Scanned> {
        self.0.get(&pid).cloned()
    }

    /// Those of 103 are a connection.
    fn stdio(&self, pid: u32) -> [Stdio; 3] {
        [if pid == 103 { Stdio::Inet } else { Stdio::Char }; 3]
    }

    fn variable_names(&self, pid: u32, wanted: &dyn Fn(&str) -> bool) -> Option<Vec<Arc<str>>> {
        let names = self.1.iter().filter(|name| wanted(name));
        (pid == ENGINE.0 && !self.1.is_empty()).then(|| names.map(|name| Arc::from(*name)).collect())
    }

    /// Every process has run 4242 in its environment.
    fn environment(&self, _: u32, wanted: &dyn Fn(&str) -> bool) -> Vec<(Arc<str>, Arc<str>)> {
        [("RUN_ID".into(), "4242".into())]
            .into_iter()
            .filter(|(name, _): &(Arc<str>, _)| wanted(name))
            .collect()
    }
}

/// The cloud token lies at inode 77 in everyone's root.
struct FakeRoots;

impl RootFiles for FakeRoots {
    fn resolve(&self, _: u32, paths: &mut dyn Iterator<Item = &str>) -> Vec<Option<FoundFile>> {
        let token = FoundFile { id: TOKEN, generation: 0 };
        paths.map(|path| (path == "/var/run/secrets/cloud/token").then_some(token)).collect()
    }
}

const TOKEN: FileId = FileId { dev: 8 << 20, ino: 77 };
const LABEL: u32 = 3;
const ENGINE: (u32, u64) = (100, 1_000);
const RUNNER: (u32, u64) = (101, 2_000);
const SECOND: u64 = 1_000_000_000;

fn rules(files: &[(&str, &str)]) -> Arc<RuleSet> {
    let sources: Vec<Source> = files
        .iter()
        .map(|(file, text)| Source { file: (*file).into(), text: (*text).to_owned(), layer: 0 })
        .collect();
    RuleSet::from_sources(&sources).unwrap_or_else(|error| panic!("{error}"))
}

fn pipeline_with(proc: impl ProcReader + 'static) -> Pipeline {
    let mut pipeline = pipeline_of(RULES, proc);
    let unit = Some(Arc::from("toy.service"));
    let path = "/system.slice/toy.service";
    pipeline.workers.insert(Worker::new(LABEL, 4711, path, unit, Assignment::default(), 0));
    pipeline
}

/// A pipeline with these rules, and no worker yet.
pub(super) fn pipeline_of(files: &[(&str, &str)], proc: impl ProcReader + 'static) -> Pipeline {
    let envelope = Envelope {
        host: HostFacts { name: "node".into(), boot_id: "boot".into(), ..HostFacts::default() },
        cluster: None,
        environment: None,
        labels: BTreeMap::new(),
        rules: String::new(),
        clock: WallClock { boot: 0 },
        cgroup_root: "/sys/fs/cgroup".into(),
    };
    Pipeline::new(rules(files), envelope, 1024, Box::new(proc), Box::new(FakeRoots))
}

/// A pipeline in which the toy engine and its runner have started.
fn started() -> Pipeline {
    started_with(FakeProc::default())
}

fn started_with(proc: FakeProc) -> Pipeline {
    let mut pipeline = pipeline_with(proc);
    pipeline.worker_found(LABEL, &[], true, 500);
    exec(&mut pipeline, ENGINE, ENGINE.1, 1_100, (1, 1), "/opt/toy-engine", &["toy-engine"]);
    fork(&mut pipeline, RUNNER, ENGINE, 1_100);
    exec(&mut pipeline, RUNNER, RUNNER.1, 2_100, ENGINE, "/opt/toy-runner", &["toy-runner"]);
    assert_eq!(alerts(&mut pipeline), []);
    pipeline
}

fn head(kind: Kind, who: (u32, u64), exec_id: u64, time: u64) -> Header {
    Header { exec_id, time, cgroup: 4711, ..fixture::header(kind, who.0, who.1, LABEL) }
}

fn fork(pipeline: &mut Pipeline, child: (u32, u64), parent: (u32, u64), parent_exec_id: u64) {
    pipeline.handle(&fixture::fork(child.0, child.1, parent, parent_exec_id, LABEL), child.1);
}

fn exec(
    pipeline: &mut Pipeline,
    who: (u32, u64),
    old: u64,
    new: u64,
    parent: (u32, u64),
    exe: &str,
    argv: &[&str],
) {
    let record = fixture::exec(head(Kind::Exec, who, new, new), old, parent, exe, argv);
    pipeline.handle(&record, new);
}

fn open(pipeline: &mut Pipeline, who: (u32, u64), exec_id: u64, time: u64, path: &str, error: i32) {
    pipeline.handle(&fixture::open(head(Kind::Open, who, exec_id, time), path, access::READ, error), time);
}

fn connect(pipeline: &mut Pipeline, who: (u32, u64), exec_id: u64, time: u64, port: u16) {
    pipeline.handle(&fixture::connect(head(Kind::Connect, who, exec_id, time), [10, 0, 0, 9], port), time);
}

fn alerts(pipeline: &mut Pipeline) -> Vec<Alert> {
    std::iter::from_fn(|| pipeline.next_alert()).collect()
}

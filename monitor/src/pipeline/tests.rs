//! Recorded events through the whole pipeline: no kernel, no /proc.

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
mod leak;
mod notice;
mod place;
mod posture;
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

#[test]
fn normal_step_gives_no_alert() {
    let mut pipeline = started();
    open(&mut pipeline, ENGINE, 1_100, 3_000, "/etc/toy/key", 0);
    connect(&mut pipeline, ENGINE, 1_100, 3_100, 5432);
    open(&mut pipeline, RUNNER, 2_100, 3_200, "/var/run/secrets/cloud/token", -libc::ENOENT);
    pipeline.finish(4_000);
    assert_eq!(alerts(&mut pipeline), []);
    assert_eq!(pipeline.counts().findings, 0);
}

#[test]
fn shell_then_secret_grow_one_incident() {
    let mut pipeline = started();
    let shell = (102, 3_000);
    fork(&mut pipeline, shell, ENGINE, 1_100);
    exec(&mut pipeline, shell, shell.1, 3_100, ENGINE, "/bin/dash", &["sh", "-c", "id"]);
    pipeline.look_around(3_150);
    open(&mut pipeline, shell, 3_100, 3_200, "/var/run/secrets/cloud/token", 0);
    let said = alerts(&mut pipeline);
    assert_eq!(said.len(), 2);

    let first = &said[0];
    assert_eq!(
        (first.kind, first.state, first.tier),
        (AlertKind::Incident, State::Open, Some(Tier::Boundary))
    );
    assert_eq!(first.severity, Severity::High);
    assert_eq!(first.title, "The engine started a shell");
    let finding = first.finding.as_ref().unwrap();
    assert_eq!((finding.id.as_str(), finding.hook.as_str()), ("shell-from-engine", "tp_btf/exec"));
    let process = first.process.as_ref().unwrap();
    assert_eq!((process.pid, process.role.as_deref()), (102, Some("engine")));
    assert_eq!(process.exe.as_deref(), Some("/bin/dash"));
    assert_eq!(process.argv.as_deref(), Some(&["sh".to_owned(), "-c".to_owned(), "id".to_owned()][..]));
    assert_eq!(process.ancestors[0].exe.as_deref(), Some("/opt/toy-engine"));
    let worker = first.worker.as_ref().unwrap();
    assert_eq!(
        (worker.name.as_str(), worker.profile.as_str(), worker.cgroup.id),
        ("toy.service", "toy", 4711)
    );

    let second = &said[1];
    let (a, b) = (first.incident.as_ref().unwrap(), second.incident.as_ref().unwrap());
    assert_eq!((&a.id, a.revision), (&b.id, b.revision - 1), "one incident that grows");
    assert_ne!(first.id, second.id);
    assert_eq!(
        (second.state, second.tier, second.severity),
        (State::Update, Some(Tier::Identity), Severity::Critical)
    );
    assert!(second.title.starts_with("The engine started a shell, then "), "{}", second.title);
    assert_eq!(b.chain.iter().map(|link| link.tier).collect::<Vec<_>>(), [Tier::Boundary, Tier::Identity]);
    assert_eq!(second.process.as_ref().unwrap().role.as_deref(), Some("stray"));
    let radius = second.blast_radius.as_ref().unwrap();
    assert_eq!(radius.taken[0].identity, "cloud-token");
    assert!(radius.taken[0].respond.contains("Revoke the token."));
    assert_eq!(radius.reachable, ["cloud-token"]);
    assert_eq!(second.file.as_ref().unwrap().identity.as_deref(), Some("cloud-token"));
    let steps: Vec<&str> = second.respond.iter().map(|step| step.split(':').next().unwrap()).collect();
    assert_eq!(steps, ["Contain", "Revoke", "Rotate"], "in the order in which they are done");
}

#[test]
fn author_code_is_marked_in_the_kernel_and_its_findings_share_a_scope() {
    let mut pipeline = started();
    assert!(pipeline.take_effects().contains(&Effect::MarkAuthor {
        pid: RUNNER.0,
        exec_id: 2_100,
        root: 2_100
    }));
    connect(&mut pipeline, RUNNER, 2_100, 3_000, 443);
    let child = (103, 3_100);
    fork(&mut pipeline, child, RUNNER, 2_100);
    open(&mut pipeline, child, child.1, 3_200, "/var/run/secrets/cloud/token", 0);
    let said = alerts(&mut pipeline);
    assert_eq!(said.len(), 2, "{said:#?}");
    let (a, b) = (said[0].incident.as_ref().unwrap(), said[1].incident.as_ref().unwrap());
    assert_eq!(a.id, b.id);
    assert!(a.run_key.starts_with("author:"), "{}", a.run_key);
    assert_eq!(said[1].blast_radius.as_ref().unwrap().contacted, ["10.0.0.9:443"]);
}

#[test]
fn run_of_the_author_root_is_on_what_its_descendants_do() {
    let mut pipeline = started();
    let child = (103, 3_100);
    fork(&mut pipeline, child, RUNNER, 2_100);
    exec(&mut pipeline, child, child.1, 3_200, RUNNER, "/bin/ls", &["ls"]);
    let attribution = alerts(&mut pipeline).remove(0).attribution.unwrap();
    let run = attribution.run.unwrap();
    assert_eq!((run.value.as_str(), run.source.as_str()), ("4242", "env RUN_ID"));
    assert_eq!(run.trust, "scan", "the kernel did not take it at the exec");
    let shell = (104, 4_000);
    fork(&mut pipeline, shell, ENGINE, 1_100);
    exec(&mut pipeline, shell, shell.1, 4_100, ENGINE, "/bin/dash", &["sh"]);
    assert_eq!(alerts(&mut pipeline).remove(0).attribution, None, "the engine is in no run");
}

#[test]
fn denied_read_is_one_tier_lower_and_nothing_is_taken() {
    let mut pipeline = started();
    open(&mut pipeline, RUNNER, 2_100, 3_000, "/var/run/secrets/cloud/token", -libc::EACCES);
    let alert = alerts(&mut pipeline).remove(0);
    assert_eq!(alert.tier, Some(Tier::Boundary));
    assert!(alert.blast_radius.is_none_or(|radius| radius.taken.is_empty()));
}

#[test]
fn secret_under_another_name_is_known_by_its_inode() {
    let mut pipeline = started();
    let mut record = fixture::open(head(Kind::Open, RUNNER, 2_100, 3_000), "/tmp/harmless", access::READ, 0);
    let at = std::mem::offset_of!(monitor_common::record::Open, ino);
    record[at..at + 8].copy_from_slice(&TOKEN.ino.to_ne_bytes());
    pipeline.handle(&record, 3_000);
    let alert = alerts(&mut pipeline).remove(0);
    assert_eq!(alert.file.unwrap().identity.as_deref(), Some("cloud-token"));
    assert!(pipeline.kernel_filter().inodes.iter().any(|file| file.ino == TOKEN.ino));
}

#[test]
fn secret_opened_by_path_is_learnt_for_the_kernel_filter() {
    let mut pipeline = started();
    pipeline.take_effects();
    open(&mut pipeline, ENGINE, 1_100, 3_000, "/etc/toy/key", 0);
    assert!(pipeline.take_effects().contains(&Effect::Filter));
    assert!(pipeline.kernel_filter().inodes.iter().any(|file| file.ino == 4242));
}

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

#[test]
fn process_that_enters_a_sealed_worker_is_an_operator_and_pages_nobody() {
    let mut pipeline = started();
    let shell = (160, 6_000);
    exec(&mut pipeline, shell, shell.1, 6_100, (1, 1), "/bin/dash", &["sh"]);
    connect(&mut pipeline, shell, 6_100, 6_200, 443);
    for alert in alerts(&mut pipeline) {
        assert!(alert.severity <= Severity::Low, "{}", alert.title);
        assert_eq!(alert.process.unwrap().role.as_deref(), Some("operator"));
    }
}

#[test]
fn processes_found_at_start_get_their_roles_from_proc() {
    let scanned = |pid, start, ppid, exe: &str| Scanned {
        key: ProcessKey { pid, start },
        ppid,
        ns_pid: None,
        uid: 0,
        gid: 0,
        program: crate::process::Program {
            exe: crate::event::Path { view: exe.into(), ..Default::default() },
            argv: vec![exe.into()],
            argv_truncated: false,
            argv_known: true,
            ..crate::process::Program::unknown(FileId::default())
        },
    };
    let proc = FakeProc(
        BTreeMap::from([
            (100, scanned(100, 10_000_000, 1, "/opt/toy-engine")),
            (101, scanned(101, 20_000_000, 100, "/opt/toy-runner")),
        ]),
        Vec::new(),
    );
    let mut pipeline = pipeline_with(proc);
    let states = pipeline.worker_found(LABEL, &[101, 100, 999], false, SECOND);
    let pids: Vec<u32> = states.iter().map(|(pid, _)| *pid).collect();
    assert_eq!(pids, [100, 101], "parents first, what is gone left out");
    let runner = (101, 20_000_777);
    let exec_id = crate::process::scanned_exec_id(ProcessKey { pid: 101, start: 20_000_000 });
    open(&mut pipeline, runner, exec_id, SECOND, "/var/run/secrets/cloud/token", 0);
    let alert = alerts(&mut pipeline).remove(0);
    assert_eq!(alert.process.unwrap().role.as_deref(), Some("runner"));
    assert_eq!(
        (states[1].1.exec_id, states[1].1.author_root),
        (exec_id, exec_id),
        "the kernel marks what it forks"
    );
}

#[test]
fn scanned_process_that_a_probe_met_first_keeps_its_role() {
    let scanned = Scanned {
        key: ProcessKey { pid: 100, start: 10_000_000 },
        ppid: 1,
        ns_pid: None,
        uid: 0,
        gid: 0,
        program: crate::process::Program {
            exe: crate::event::Path { view: "/opt/toy-engine".into(), ..Default::default() },
            ..crate::process::Program::unknown(FileId::default())
        },
    };
    let mut pipeline = pipeline_with(FakeProc(BTreeMap::from([(100, scanned)]), Vec::new()));
    pipeline.worker_found(LABEL, &[100], false, SECOND);
    // The probe's own entry: its number is the start time.
    let mut late = head(Kind::Connect, (100, 10_000_555), 10_000_555, SECOND);
    late.proc_flags = proc_flags::LATE;
    pipeline.handle(&fixture::connect(late, [10, 0, 0, 9], 5432), SECOND);
    assert_eq!(alerts(&mut pipeline), []);
    let child = (101, 20_000_000);
    fork(&mut pipeline, child, (100, 10_000_555), 10_000_555);
    connect(&mut pipeline, child, child.1, 2 * SECOND, 5432);
    assert_eq!(alerts(&mut pipeline), []);
}

#[test]
fn reload_chooses_profiles_and_roles_again() {
    let mut pipeline = started();
    let changed = RULES[0].1.replace(
        "identities: { allow: [], else: identity }",
        "identities: { allow: [{ id: cloud-token }], else: identity }",
    );
    pipeline.reload(rules(&[("profiles/toy.yaml", &changed), RULES[1], RULES[2]]), 4_000);
    assert!(pipeline.take_effects().contains(&Effect::Filter));
    open(&mut pipeline, RUNNER, 2_100, 5_000, "/var/run/secrets/cloud/token", 0);
    assert_eq!(alerts(&mut pipeline), [], "allowed by the new rules, and the runner is still the runner");
    open(&mut pipeline, RUNNER, 2_100, 5_100, "/etc/toy/key", 0);
    let alert = alerts(&mut pipeline).remove(0);
    assert_eq!(alert.process.unwrap().role.as_deref(), Some("runner"));
    assert_eq!(alert.agent.rules, pipeline.rules().digest());
}

#[test]
fn worker_whose_processes_all_ended_starts_anew() {
    let mut pipeline = started();
    for who in [(RUNNER, 2_100), (ENGINE, 1_100)] {
        let record = fixture::Build::default().finish(&monitor_common::record::Exit {
            header: head(Kind::Exit, who.0, who.1, 7_000),
            ..monitor_common::record::Exit::ZERO
        });
        pipeline.handle(&record, 7_000);
    }
    assert!(!pipeline.workers.get(LABEL).unwrap().sealed);
    exec(&mut pipeline, (200, 8_000), 8_000, 8_100, (1, 1), "/opt/toy-engine", &["toy-engine"]);
    connect(&mut pipeline, (200, 8_000), 8_100, 8_200, 5432);
    assert_eq!(alerts(&mut pipeline), []);
}

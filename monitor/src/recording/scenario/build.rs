//! From steps to events.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::doc::{ScenarioDoc, ScenarioStep, ScenarioWorker};
use crate::event::{Body, BootNs, Event, Exec, FileId, Fork, Lane, Origin, Path, ProcessKey, Rung, Subject};
use crate::profile::doc::{At, Span};
use crate::profile::rule_test::build::{BadStep, connect_of, exec_of, open_of, socket_of, unix_of};
use crate::profile::rule_test::{EnvFrom, ExecStep, OpenStep};
use crate::profile::{RuleError, suggest};
use crate::recording::format::{
    Facts, FileFact, Header, Line, Made, ProcessFact, RECORDING_SCHEMA, Redaction, WorkerFact,
};
use crate::worker::WorkerPod;

const SECOND: BootNs = 1_000_000_000;
/// Boot time at which a scenario begins.
const BEGIN: BootNs = 86_400 * SECOND;
/// Time between two steps.
const STEP: BootNs = SECOND / 10;
/// The label of the one worker.
const LABEL: u32 = 1;
/// The cgroup of the one worker, and one outside.
const CGROUP: u64 = 4096;
const ELSEWHERE: u64 = 4097;
/// The first process's pid.
const FIRST_PID: u32 = 1000;
/// Most repetitions of one step.
const REPEAT_MAX: u32 = 100_000;

/// A process of the scenario.
#[derive(Clone)]
struct Actor {
    key: ProcessKey,
    exec_id: u64,
    exe: FileId,
    parent: ProcessKey,
    uid: u32,
    cwd: Arc<str>,
    moved: bool,
    ended: bool,
}

struct Build<'a> {
    file: &'a Arc<str>,
    uid: u32,
    now: BootNs,
    actors: BTreeMap<String, Actor>,
    /// Images so far: each gets a number of its own.
    images: u64,
    lines: Vec<Line>,
}

type Wrong = (String, String);

/// The header and lines of a scenario.
pub(super) fn build(file: &Arc<str>, doc: &ScenarioDoc) -> Result<(Header, Vec<Line>), RuleError> {
    let worker =
        worker(&doc.worker).map_err(|(at, what, fix)| error(file, at.line, at.column, (what, fix)))?;
    let header = Header {
        schema: RECORDING_SCHEMA.to_owned(),
        made: Made::Built,
        about: format!("{} Built: {}", doc.about, doc.built),
        by: format!("sandwatch {}", env!("CARGO_PKG_VERSION")),
        host: "scenario".to_owned(),
        boot_id: format!("scenario:{file}"),
        kernel: String::new(),
        boot: "2026-01-01T00:00:00Z".to_owned(),
        cgroup_root: None,
        rungs: BTreeMap::new(),
        redaction: Redaction::None,
        workers: vec![worker],
    };
    let mut build = Build {
        file,
        uid: doc.uid.unwrap_or(1000),
        now: BEGIN,
        actors: BTreeMap::new(),
        images: 0,
        lines: Vec::new(),
    };
    for step in &doc.events {
        build.step(step)?;
    }
    Ok((header, build.lines))
}

fn error(file: &Arc<str>, line: u32, column: u32, (what, fix): Wrong) -> RuleError {
    RuleError { file: file.clone(), line, column, what, fix }
}

fn worker(doc: &ScenarioWorker) -> Result<WorkerFact, (At<String>, String, String)> {
    let path = match (&doc.unit, &doc.cgroup) {
        (Some(unit), Some(_)) => {
            return Err((unit.clone(), "both `unit` and `cgroup` are given".into(), "leave one out".into()));
        }
        (Some(unit), None) => format!("/system.slice/{}", unit.value),
        (None, Some(cgroup)) if !cgroup.value.starts_with('/') => {
            return Err((
                cgroup.clone(),
                format!("`{}` is no cgroup path", cgroup.value),
                "begin it with `/`".into(),
            ));
        }
        (None, Some(cgroup)) => cgroup.value.clone(),
        (None, None) => "/scenario".to_owned(),
    };
    Ok(WorkerFact {
        time: BEGIN,
        label: LABEL,
        cgroup: CGROUP,
        path,
        name: doc.name.clone(),
        profile: doc.profile.clone(),
        image: doc.image.clone(),
        pod_labels: doc.pod_labels.clone(),
        awaits_pod: false,
        pod: pod(doc),
        host: None,
        facts: doc.facts.iter().map(|(name, values)| (name.clone(), values.0.clone())).collect(),
        probes: doc.probes.clone(),
        fresh: true,
        processes: Vec::new(),
        files: doc
            .files
            .iter()
            .map(|path| FileFact { path: path.as_str().into(), id: file_id(path), generation: 0 })
            .collect(),
    })
}

/// Its pod, if more is said of it than labels.
fn pod(doc: &ScenarioWorker) -> Option<WorkerPod> {
    if doc.owner.is_none() && doc.annotations.is_empty() {
        return None;
    }
    let (kind, name) = doc.owner.as_deref().and_then(|owner| owner.split_once('/')).unzip();
    Some(WorkerPod {
        uid: "scenario".to_owned(),
        namespace: "scenario".to_owned(),
        name: "pod".to_owned(),
        labels: doc.pod_labels.clone(),
        annotations: doc.annotations.clone(),
        owner: name.or(doc.owner.as_deref()).map(str::to_owned),
        owner_kind: kind.map(str::to_owned),
        ..WorkerPod::default()
    })
}

/// A file's device and inode in a scenario: the same path is the same file.
fn file_id(path: &str) -> FileId {
    // FNV-1a: the same in every build and on every machine.
    let hash = path.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    FileId { dev: 8 << 20, ino: hash | 1 }
}

impl Build<'_> {
    fn step(&mut self, step: &At<ScenarioStep>) -> Result<(), RuleError> {
        let file = self.file;
        let place = |wrong: Wrong| error(file, step.line, step.column, wrong);
        let doc = &step.value;
        doc.one_event().map_err(|BadStep(what, fix)| place((what, fix)))?;
        let repeat = doc.repeat.unwrap_or(1);
        if !(1..=REPEAT_MAX).contains(&repeat) {
            return Err(place((
                format!("`repeat: {repeat}` is out of range"),
                format!("write 1 to {REPEAT_MAX}"),
            )));
        }
        let name = doc.process.as_ref().map_or("main", |name| &name.value);
        for turn in 0..repeat {
            self.now = self.now.saturating_add(doc.after.map_or(STEP, nanos));
            if turn == 0 {
                self.enter(name, doc).map_err(place)?;
            }
            let processes = self.target(name, doc).map_err(place)?.into_iter().collect();
            let facts = Facts { running: doc.running.clone(), processes, ..Facts::default() };
            if !facts.is_empty() {
                self.lines.push(Line::Facts(facts));
            }
            self.act(name, doc).map_err(place)?;
        }
        Ok(())
    }

    /// Makes the step's process known: it acted before, is forked now, or comes from outside.
    fn enter(&mut self, name: &str, doc: &ScenarioStep) -> Result<(), Wrong> {
        let creator = doc.from.as_ref().or(doc.fork_of.as_ref());
        if doc.joins && creator.is_some() {
            return Err((
                "a process that joins from outside has no creator here".into(),
                "leave one out".into(),
            ));
        }
        if let Some(creator) = creator {
            self.fork(name, &creator.value)?;
        } else if doc.joins || self.actors.is_empty() {
            self.not_there_yet(name)?;
            let key = self.next_key();
            let outside = ProcessKey { pid: 1, start: 1 };
            let (exec_id, uid) = (self.next_image(), self.uid);
            let actor = Actor {
                key,
                exec_id,
                exe: FileId::default(),
                parent: outside,
                uid,
                cwd: "/".into(),
                moved: false,
                ended: false,
            };
            self.actors.insert(name.to_owned(), actor);
            if doc.exec.is_none() {
                // What enters without an exec has no fork here either: the kernel made its entry up.
                return Err((
                    format!("`{name}` enters the worker without an exec"),
                    "begin it with `exec`, or fork it with `from`".into(),
                ));
            }
        }
        if let (Some(uid), Some(actor)) = (doc.uid, self.actors.get_mut(name)) {
            actor.uid = uid;
        }
        self.actor(name).map(|_| ())
    }

    fn act(&mut self, name: &str, doc: &ScenarioStep) -> Result<(), Wrong> {
        if let Some(fork) = &doc.fork {
            return self.fork(&fork.child, name);
        }
        if doc.fork_of.is_some() {
            return Ok(());
        }
        if let Some(exec) = &doc.exec {
            return self.exec(name, exec);
        }
        let actor = self.actor(name)?.clone();
        let body = if let Some(open) = &doc.open {
            self.open(open, &actor)?
        } else if let Some(connect) = &doc.connect {
            Body::Connect(connect_of(connect).map_err(|BadStep(what, fix)| (what, fix))?)
        } else if let Some(unix) = &doc.unix {
            let mut unix = unix_of(unix);
            if !unix.abstract_name {
                unix.id = file_id(&unix.path.view);
            }
            Body::Unix(unix)
        } else if let Some(socket) = &doc.socket {
            Body::Socket(socket_of(socket))
        } else if let Some(moved) = &doc.cgroup_move {
            if let Some(actor) = self.actors.get_mut(name) {
                actor.moved = !moved.to_worker;
            }
            Body::CgroupMove { to: ELSEWHERE, target_pid: actor.key.pid, to_labelled: moved.to_worker }
        } else {
            if let Some(actor) = self.actors.get_mut(name) {
                actor.ended = true;
            }
            Body::Exit { code: u32::from(doc.exit.unwrap_or_default().code) << 8 }
        };
        let degraded = doc.open.as_ref().is_some_and(|open| open.cut || open.unreadable);
        self.event(&actor, body, degraded);
        Ok(())
    }

    fn fork(&mut self, child: &str, parent: &str) -> Result<(), Wrong> {
        self.not_there_yet(child)?;
        let creator = self.actor(parent)?.clone();
        let key = self.next_key();
        let actor =
            Actor { key, exec_id: self.next_image(), parent: creator.key, ended: false, ..creator.clone() };
        let body = Body::Fork(Fork { parent: creator.key, parent_exec_id: creator.exec_id, ns_pid: key.pid });
        self.event(&actor, body, false);
        self.actors.insert(child.to_owned(), actor);
        Ok(())
    }

    fn exec(&mut self, name: &str, step: &ExecStep) -> Result<(), Wrong> {
        let before = self.actor(name)?.clone();
        let mut exec: Exec = exec_of(step, before.uid);
        exec.old_exec_id = before.exec_id;
        exec.parent = before.parent;
        exec.ns_pid = before.key.pid;
        exec.exe_id = file_id(&step.exe);
        if step.cwd.is_none() {
            exec.cwd = Path { view: before.cwd.clone(), ..Path::default() };
        }
        let actor =
            Actor { exec_id: self.next_image(), exe: exec.exe_id, cwd: exec.cwd.view.clone(), ..before };
        if step.env_from == Some(EnvFrom::Proc) {
            let env = std::mem::take(&mut exec.env);
            exec.env_from_kernel = false;
            let process = ProcessFact { env: Some(env), ..ProcessFact::new(actor.key) };
            self.lines.push(Line::Facts(Facts { processes: vec![process], ..Facts::default() }));
        }
        self.event(&actor, Body::Exec(Box::new(exec)), false);
        self.actors.insert(name.to_owned(), actor);
        Ok(())
    }

    /// The process whose /proc entry is opened, with the names of its variables.
    fn target(&self, name: &str, doc: &ScenarioStep) -> Result<Option<ProcessFact>, Wrong> {
        let Some(variables) = &doc.variables else { return Ok(None) };
        let path = doc.open.as_ref().and_then(|open| open.path.strip_prefix("/proc/"));
        let Some(whose) = path.and_then(|path| path.split('/').next()) else {
            return Err((
                "`variables` are those of the process whose /proc entry is opened".into(),
                "give them with `open: { path: \"/proc/<NAME>/environ\" }` or `…/mem`".into(),
            ));
        };
        let named = whose.strip_prefix('<').and_then(|whose| whose.strip_suffix('>'));
        let of = self.known(named.unwrap_or(name))?;
        let names = variables.value.iter().map(|name| name.as_str().into()).collect();
        Ok(Some(ProcessFact { credential_names: Some(names), ..ProcessFact::new(of.key) }))
    }

    fn open(&self, step: &OpenStep, actor: &Actor) -> Result<Body, Wrong> {
        if step.of.is_some() || step.known_as.is_some() {
            return Err((
                "`of` and `known_as` are for single events".into(),
                "name the process in the path (`/proc/<NAME>/mem`), or say `inode_of: PATH`".into(),
            ));
        }
        let mut open = open_of(step);
        open.id = file_id(step.inode_of.as_deref().unwrap_or(&step.path));
        open.proc_pid = None;
        if let Some(rest) = open.path.view.strip_prefix("/proc/") {
            let (whose, tail) =
                rest.split_once('/').map_or((rest, None), |(whose, tail)| (whose, Some(tail)));
            let pid = match whose {
                "self" | "thread-self" => Some(actor.key.pid),
                name => match name.strip_prefix('<').and_then(|name| name.strip_suffix('>')) {
                    Some(name) => Some(self.known(name)?.key.pid),
                    None => name.parse().ok(),
                },
            };
            if let Some(pid) = pid {
                let view = tail.map_or_else(|| format!("/proc/{pid}"), |tail| format!("/proc/{pid}/{tail}"));
                open.id = file_id(&view);
                open.path.view = view.into();
                open.proc_pid = Some(pid);
            }
        }
        Ok(Body::Open(Box::new(open)))
    }

    fn event(&mut self, actor: &Actor, body: Body, degraded: bool) {
        let lane = match body {
            Body::Fork(_) | Body::Exec(_) | Body::Exit { .. } => Lane::Lifecycle,
            _ => Lane::Priority,
        };
        let subject = Subject {
            key: actor.key,
            tid: actor.key.pid,
            label: LABEL,
            cgroup: if actor.moved { ELSEWHERE } else { CGROUP },
            exec_id: actor.exec_id,
            author_root: 0,
            exe: actor.exe,
            uid: actor.uid,
            gid: actor.uid,
            unknown_history: false,
            coarse_start: false,
            moved: actor.moved,
            pending: false,
        };
        let origin = Origin { lane: lane as u16, cpu: 0, seq: 0 };
        let event = Event { time: self.now, rung: Rung::TpBtf, origin, subject, body, degraded };
        self.lines.push(Line::Event(Box::new(event)));
    }

    fn next_key(&self) -> ProcessKey {
        let count = u32::try_from(self.actors.len()).unwrap_or(u32::MAX);
        ProcessKey { pid: FIRST_PID.saturating_add(count), start: self.now }
    }

    fn next_image(&mut self) -> u64 {
        self.images += 1;
        BEGIN + self.images
    }

    fn not_there_yet(&self, name: &str) -> Result<(), Wrong> {
        if self.actors.contains_key(name) {
            return Err((
                format!("there is a process `{name}` already"),
                "give the new one another name".into(),
            ));
        }
        Ok(())
    }

    fn known(&self, name: &str) -> Result<&Actor, Wrong> {
        self.actors.get(name).ok_or_else(|| {
            let known = self.actors.keys().map(String::as_str);
            (
                format!("there is no process `{name}` yet"),
                format!("fork it first with `from`; {}", suggest(name, known)),
            )
        })
    }

    fn actor(&self, name: &str) -> Result<&Actor, Wrong> {
        let actor = self.known(name)?;
        if actor.ended {
            return Err((format!("process `{name}` has ended"), "use another one".into()));
        }
        Ok(actor)
    }
}

fn nanos(span: Span) -> BootNs {
    BootNs::try_from(span.0.as_nanos()).unwrap_or(BootNs::MAX / 2)
}

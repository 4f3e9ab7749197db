//! Events from steps.

use std::net::SocketAddr;
use std::sync::Arc;

use super::doc::{ConnectStep, ExecStep, OpenStep, OutcomeName, SocketStep, Step, UnixStep};
use crate::event::{
    AddressStage, Body, Connect, Event, ExeHome, Exec, FileId, MountRelation, Namespaces, Open, Origin,
    Outcome, Path, ProcessKey, Rung, Socket, Stdio, Subject, Text, Unix,
};
use crate::profile::actor::ProcTarget;
use crate::profile::doc::{AccessName, HomeName, MountName, ProcOf, StdioName};
use crate::profile::model::access_bits;

/// What is wrong with a step.
pub(crate) struct BadStep(pub(crate) String, pub(crate) String);

/// The event of a step; `None` for a fork, which is none to a rule.
pub(super) fn event_of(step: &Step, time: u64, pid: u32, uid: u32) -> Result<Option<Event>, BadStep> {
    step.one_event()?;
    let body = if let Some(exec) = &step.exec {
        Body::Exec(Box::new(exec_of(exec, uid)))
    } else if let Some(open) = &step.open {
        Body::Open(Box::new(open_of(open)))
    } else if let Some(connect) = &step.connect {
        Body::Connect(connect_of(connect)?)
    } else if let Some(unix) = &step.unix {
        Body::Unix(unix_of(unix))
    } else if let Some(socket) = &step.socket {
        Body::Socket(socket_of(socket))
    } else if let Some(moved) = &step.cgroup_move {
        Body::CgroupMove { to: 1, target_pid: pid, to_labelled: moved.to_worker }
    } else {
        return Ok(None);
    };
    let subject = Subject {
        key: ProcessKey { pid, start: 1 },
        tid: pid,
        label: 1,
        cgroup: 1,
        exec_id: 1,
        author_root: 0,
        exe: FileId::default(),
        uid,
        gid: uid,
        unknown_history: false,
        coarse_start: false,
        moved: false,
        pending: false,
    };
    let degraded = step.open.as_ref().is_some_and(|o| o.cut || o.unreadable);
    Ok(Some(Event { time, rung: Rung::Tracepoint, origin: Origin::default(), subject, body, degraded }))
}

fn outcome(name: Option<OutcomeName>, default: Outcome) -> Outcome {
    match name {
        None => default,
        Some(OutcomeName::Ok) => Outcome::Ok,
        Some(OutcomeName::Denied) => Outcome::Denied,
        Some(OutcomeName::Absent) => Outcome::Absent,
        Some(OutcomeName::Attempted) => Outcome::Attempted,
    }
}

fn path(view: &str) -> Path {
    Path { view: view.into(), ..Path::default() }
}

fn text(text: &str) -> Text {
    Text { text: text.into(), ..Text::default() }
}

pub(crate) fn exec_of(step: &ExecStep, uid: u32) -> Exec {
    let has = |home: HomeName| step.home.iter().any(|h| *h == home);
    let given = step.given.as_deref().unwrap_or(&step.exe);
    let mut argv: Vec<Arc<str>> = step.argv.iter().map(|a| a.as_str().into()).collect();
    if argv.is_empty() {
        argv.push(given.into());
    }
    let stdio = |at: usize| match step.stdio.0.get(at).or(step.stdio.0.first()) {
        None | Some(StdioName::Char) => Stdio::Char,
        Some(StdioName::Closed) => Stdio::Closed,
        Some(StdioName::File) => Stdio::File,
        Some(StdioName::Pipe) => Stdio::Pipe,
        Some(StdioName::Socket) => Stdio::Socket,
        Some(StdioName::Inet) => Stdio::Inet,
    };
    Exec {
        old_exec_id: 1,
        parent: ProcessKey { pid: 1, start: 1 },
        ns_pid: 1,
        ruid: uid,
        rgid: uid,
        uid_before: None,
        gid_before: None,
        secureexec: step.gains_privilege,
        exe: path(&step.exe),
        exe_id: FileId { dev: 1, ino: 1 },
        exe_mode: 0o100_755,
        exe_uid: if has(HomeName::Writable) { uid } else { 0 },
        exe_nlink: u32::from(!has(HomeName::Deleted)),
        exe_magic: 0,
        exe_size: step.stamp.unwrap_or(1),
        exe_ctime: step.stamp.unwrap_or(1),
        home: ExeHome {
            memfd: has(HomeName::Memfd),
            tmpfs: has(HomeName::Tmpfs),
            deleted: has(HomeName::Deleted),
            overlay: step.layer_unknown || has(HomeName::OverlayUpper),
            overlay_upper: if step.layer_unknown { None } else { Some(has(HomeName::OverlayUpper)) },
        },
        filename: text(given),
        cwd: path(step.cwd.as_deref().unwrap_or("/")),
        argc: u32::try_from(argv.len()).unwrap_or(u32::MAX),
        argv,
        argv_truncated: step.argv_truncated,
        env: step.env.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect(),
        env_incomplete: step.env_incomplete,
        env_from_kernel: true,
        loader_env: step.loader_env,
        script: None,
        script_id: None,
        ns: Namespaces::default(),
        stdio: [stdio(0), stdio(1), stdio(2)],
    }
}

pub(crate) fn open_of(step: &OpenStep) -> Open {
    let shown = if step.unreadable { "" } else { &step.path };
    let path = Path {
        full: step.full.as_deref().map(Into::into),
        cut: step.cut,
        unreadable: step.unreadable,
        ..path(shown)
    };
    Open {
        path,
        id: FileId { dev: 1, ino: 2 },
        generation: 0,
        magic: 0,
        flags: 0,
        access: access_bits(step.access.unwrap_or(AccessName::Read)),
        outcome: outcome(step.outcome, Outcome::Ok),
        errno: 0,
        mode: 0o100_600,
        nlink: 1,
        task_mnt_ns: 1,
        file_mnt_ns: 1,
        mount: match step.mount {
            None | Some(MountName::Own) => MountRelation::Own,
            Some(MountName::OutsideRoot) => MountRelation::OwnOutsideRoot,
            // Whose namespace it is, the process table knows.
            Some(MountName::Nested | MountName::Foreign) => MountRelation::Foreign,
        },
        proc_pid: None,
        matched: 0,
        uring: false,
    }
}

/// The target of a /proc open.
pub(super) fn target_of(step: &OpenStep) -> Option<ProcTarget> {
    step.of.map(|of| match of {
        ProcOf::Own => ProcTarget::Own,
        ProcOf::Descendant => ProcTarget::Descendant,
        ProcOf::SameRun => ProcTarget::SameRun,
        ProcOf::EngineSide => ProcTarget::EngineSide,
        ProcOf::OtherRun => ProcTarget::OtherRun,
        ProcOf::Outside => ProcTarget::Outside,
    })
}

pub(crate) fn connect_of(step: &ConnectStep) -> Result<Connect, BadStep> {
    let bad = || {
        BadStep(
            format!("`{}` is no protocol, address and port", step.to.value),
            "write tcp:10.0.0.1:5432 or udp:[fd00::1]:53".to_owned(),
        )
    };
    let (protocol, address) = step.to.value.split_once(':').ok_or_else(bad)?;
    let protocol = match protocol {
        "tcp" => 6,
        "udp" => 17,
        "mptcp" => 262,
        _ => return Err(bad()),
    };
    let address: SocketAddr = address.parse().map_err(|_| bad())?;
    Ok(Connect {
        sock: 1,
        addr: address.ip(),
        port: address.port(),
        protocol,
        send: step.send,
        fast_open: false,
        user_memory: false,
        stage: AddressStage::Before,
        outcome: outcome(step.outcome, Outcome::Attempted),
        errno: 0,
        net_ns: 1,
    })
}

pub(crate) fn unix_of(step: &UnixStep) -> Unix {
    Unix {
        path: path(&step.path),
        abstract_name: step.path.starts_with('@'),
        id: FileId::default(),
        sock_type: 1,
        send: false,
        outcome: outcome(step.outcome, Outcome::Ok),
        errno: 0,
    }
}

pub(crate) fn socket_of(step: &SocketStep) -> Socket {
    Socket {
        family: step.family,
        sock_type: step.r#type.unwrap_or(3),
        protocol: step.protocol,
        outcome: outcome(step.outcome, Outcome::Ok),
    }
}

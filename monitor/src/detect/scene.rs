//! What an event took place in.

use crate::event::Event;
use crate::process::{Image, Process, ProcessRef, ProcessTable};
use crate::profile::{ProfileId, RoleId, RoleKind, RuleSet};
use crate::worker::Worker;

/// An event with the process, lineage and worker it belongs to.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The event.
    pub event: &'a Event,
    /// The acting process.
    pub at: ProcessRef,
    /// All processes.
    pub processes: &'a ProcessTable,
    /// The role it acted in (for an exec: the one before).
    pub role: RoleId,
    /// Its worker; `None` if it is not known (any more).
    pub worker: Option<&'a Worker>,
    /// Profile of the worker.
    pub profile: ProfileId,
    /// The rules in force.
    pub rules: &'a RuleSet,
}

impl<'a> Scene<'a> {
    /// What a process of a worker did in a role.
    pub fn new(
        event: &'a Event,
        (at, role): (ProcessRef, RoleId),
        processes: &'a ProcessTable,
        worker: Option<&'a Worker>,
        rules: &'a RuleSet,
    ) -> Self {
        let profile = worker.map_or(ProfileId::GENERIC, |worker| worker.profile);
        Self { event, at, processes, role, worker, profile, rules }
    }

    /// The acting process.
    pub fn process(&self) -> Option<&'a Process> {
        self.processes.get(self.at)
    }

    /// Its worker's cgroup; of an unknown worker the process's own.
    pub fn cgroup(&self) -> u64 {
        self.worker.map_or(self.event.subject.cgroup, |worker| worker.cgroup)
    }

    /// The image that acted (for an exec: the new one).
    pub fn image(&self) -> Option<&'a Image> {
        let process = self.process()?;
        process.image_of(self.event.subject.exec_id).or_else(|| process.image())
    }

    /// Kind of the role it acted in.
    pub fn role_kind(&self) -> RoleKind {
        self.rules.role(self.profile, self.role).kind
    }

    /// What the event was about, in a word: program, path or address.
    pub fn object(&self) -> String {
        use crate::event::Body;
        match &self.event.body {
            Body::Exec(exec) => known_or(&exec.exe, &exec.filename.text),
            Body::Open(open) => known_or(&open.path, "(path not resolved)"),
            Body::Connect(connect) => std::net::SocketAddr::new(connect.addr, connect.port).to_string(),
            Body::Unix(unix) => known_or(&unix.path, "(path not resolved)"),
            Body::Socket(socket) => {
                format!(
                    "socket family {} type {} protocol {}",
                    socket.family, socket.sock_type, socket.protocol
                )
            }
            Body::CgroupMove { to, target_pid, .. } => format!("process {target_pid} to cgroup {to}"),
            Body::Fork(_) | Body::Exit { .. } | Body::ConnectResult { .. } => String::new(),
        }
    }
}

fn known_or(path: &crate::event::Path, other: &str) -> String {
    if path.is_known() && !path.view.is_empty() { path.view.to_string() } else { other.to_owned() }
}

//! What an event took place in.

use crate::event::Event;
use crate::process::{Image, Process, ProcessRef, ProcessTable, Standing};
use crate::profile::{ProfileId, RoleId, RuleSet};
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
    /// Identities known to be readable in the worker, by id.
    pub reachable: &'a [std::sync::Arc<str>],
}

impl<'a> Scene<'a> {
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

    /// What the event's findings have in common with others: the author root, else the nearest process on the engine's
    /// side (of those that share a role by inheritance the first), else the process that joined from outside. The key is made of pid
    /// and start in ticks, so that it is the same after the agent was restarted.
    pub fn scope(&self) -> String {
        let key = |process: &Process| format!("{}:{}", process.key.start / 10_000_000, process.key.pid);
        let root = self.image().map_or(self.event.subject.author_root, |image| image.author_root);
        if root != 0 {
            let process = self.processes.find_exec(root).and_then(|at| self.processes.get(at));
            return process
                .map_or_else(|| format!("author:exec:{root:x}"), |root| format!("author:{}", key(root)));
        }
        let mut top = None;
        // The engine-side role the lineage had last: everything that has it by inheritance belongs together.
        let mut unit: Option<(Standing, &Process)> = None;
        for (_, process) in self.processes.lineage(self.at) {
            let has = |standing: &Standing| process.images.iter().any(|image| image.standing == *standing);
            match &mut unit {
                Some((standing, first)) if has(standing) => *first = process,
                Some(_) => break,
                None => {
                    let engine_side = |image: &&Image| {
                        self.rules.role(self.profile, image.standing.role).kind.engine_side()
                    };
                    unit =
                        process.images.iter().rev().find(engine_side).map(|image| (image.standing, process));
                }
            }
            top = Some(process);
        }
        if let Some((_, first)) = unit {
            return format!("engine:{}", key(first));
        }
        let key = top.map_or_else(
            || format!("{}:{}", self.event.subject.key.start / 10_000_000, self.event.subject.key.pid),
            key,
        );
        format!("lineage:{key}")
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

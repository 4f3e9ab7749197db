//! Processes that began while the agent did not run: what can be said of them is what /proc shows now.
//!
//! Each is judged as if it had just executed its program, by the role of its parent as that is now; in a worker whose pod is not
//! known yet, once it is. What it did, opened and contacted until then stays unknown, and who its parent was may be another by
//! now: every finding is one of a `candidate`.

use monitor_common::hook::Lane;

use super::Pipeline;
use crate::event::{Body, BootNs, Event, ExeHome, Exec, Origin, ProcessKey, Rung, Subject, Text};
use crate::process::{Executed, History, Process, ProcessRef, Standing, TICK};
use crate::profile::{Pin, RoleId};

impl Pipeline {
    /// Judges the processes of workers that began after `from` and not after `to`; returns how many those are. Those of a worker
    /// whose events wait for its pod wait too.
    pub fn judge_missed(&mut self, from: BootNs, to: BootNs) -> usize {
        let mut missed: Vec<(BootNs, ProcessRef, u32)> =
            self.missed(from, to).map(|(at, process)| (process.key.start, at, process.label)).collect();
        missed.sort_unstable();
        for (start, at, label) in &missed {
            if !self.keep_missed(*label, *start, *at) {
                self.judge_as_executed(*at);
            }
        }
        missed.len()
    }

    /// How many processes of workers began after `from` and not after `to`, boot-time ns.
    pub fn count_missed(&self, from: BootNs, to: BootNs) -> usize {
        self.missed(from, to).count()
    }

    fn missed(&self, from: BootNs, to: BootNs) -> impl Iterator<Item = (ProcessRef, &Process)> {
        self.processes
            .iter()
            .filter(|(_, process)| process.history == History::Scanned && process.exited.is_none())
            // /proc has the start in whole ticks, rounded down.
            .filter(move |(_, process)| {
                process.key.start.saturating_add(TICK) > from && process.key.start <= to
            })
    }

    /// Judges one of them by what /proc showed when it was found.
    pub(super) fn judge_as_executed(&mut self, at: ProcessRef) {
        let Some(process) = self.processes.get(at) else { return };
        let Some(now) = process.image() else { return };
        let program = &now.program;
        let parent = process.creator.and_then(|creator| self.processes.get(creator));
        // Where its parent stands now; who has none in the worker is taken for its first process, as by the scan.
        let of_entry =
            Standing { role: RoleId::ENTRY, since: process.key.start, below_author: false, entering: false };
        let before = parent.and_then(Process::image).map_or(of_entry, |image| image.standing);
        let before_id = parent.and_then(Process::image).map_or(0, |image| image.exec_id);
        let parent = parent.map(|parent| parent.key);
        let exec = Exec {
            old_exec_id: before_id,
            parent: parent.unwrap_or(ProcessKey { pid: process.creator_pid.unwrap_or(0), start: 0 }),
            ns_pid: process.ns_pid.unwrap_or(0),
            ruid: process.uid,
            rgid: 0,
            uid_before: None,
            gid_before: None,
            secureexec: false,
            exe: program.exe.clone(),
            exe_id: program.exe_id,
            // As any program of the system's: whether it can be relied on is not known any more, and who only looks at
            // files that are rightly there is not to be woken by a restart of the agent.
            exe_mode: 0o100_755,
            exe_uid: 0,
            exe_nlink: 1,
            exe_magic: 0,
            exe_size: program.stamp.size,
            exe_ctime: program.stamp.ctime,
            home: ExeHome::default(),
            filename: Text { unreadable: true, ..Text::default() },
            cwd: program.cwd.clone(),
            argv: program.argv.clone(),
            argv_truncated: program.argv_truncated,
            argc: u32::try_from(program.argv.len()).unwrap_or(u32::MAX),
            env: Vec::new(),
            env_incomplete: true,
            env_from_kernel: false,
            loader_env: false,
            script: None,
            script_id: None,
            ns: Default::default(),
            // Who is driven over the network still is; nobody drives what is over.
            stdio: self.proc.stdio(process.key.pid),
        };
        let event = Event {
            time: process.key.start,
            rung: Rung::RawTp,
            origin: Origin { lane: Lane::Lifecycle as u16, ..Origin::default() },
            subject: Subject {
                key: process.key,
                tid: process.key.pid,
                label: process.label,
                cgroup: 0,
                exec_id: now.exec_id,
                author_root: now.author_root,
                exe: program.exe_id,
                uid: process.uid,
                gid: 0,
                unknown_history: true,
                coarse_start: true,
                moved: false,
                pending: false,
            },
            body: Body::Exec(Box::new(exec)),
            degraded: true,
        };
        let executed = Executed {
            at,
            before,
            entered: false,
            set_up: false,
            pin: Pin::None,
            loader_before: None,
            author_root: false,
            joined: false,
            scanned: true,
        };
        self.judge(&event, at, before, Some(&executed));
    }
}

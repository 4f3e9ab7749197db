//! Processes that no fork told of: placed by what the record and /proc still show.

use std::sync::Arc;

use super::model::{History, Image, Process, ProcessRef, Program, Standing};
use super::role::{Placing, outsider, same_start};
use super::table::ProcessTable;
use crate::event::{BootNs, Fork, ProcessKey, Subject};
use crate::profile::RoleId;

impl ProcessTable {
    /// A process that no fork told of: below its parent if that one is known in the same worker, else from outside.
    pub(super) fn infer_process(
        &mut self,
        key: ProcessKey,
        exec_id: u64,
        subject: &Subject,
        parent_pid: Option<u32>,
        time: BootNs,
        placing: &Placing<'_>,
    ) -> ProcessRef {
        let read = placing.proc.read(key.pid).filter(|read| same_start(read.key, key));
        let parent_pid = parent_pid.or(read.as_ref().map(|read| read.ppid));
        let creator =
            parent_pid.and_then(|pid| self.find_pid(pid)).filter(|at| self.is_of(*at, subject.label));
        let root = (subject.author_root != 0).then(|| self.find_exec(subject.author_root)).flatten();
        let inherited = root.or(creator).and_then(|at| self.get(at)).and_then(Process::image);
        let (standing, author_root) = match inherited {
            Some(image) => (image.standing, image.author_root),
            // The kernel knows that it is below an author root which is not known here any more.
            None if subject.author_root != 0 => (
                Standing { role: RoleId::DESCENDANT, since: time, below_author: true, entering: false },
                subject.author_root,
            ),
            None => (outsider(placing.outsider, time), 0),
        };
        // Only the program that acted is of use: after an exec, /proc shows the new one.
        let program = read
            .map(|read| read.program)
            .filter(|program| key != subject.key || program.exe_id == subject.exe)
            .unwrap_or_else(|| {
                Program::unknown(if key == subject.key { subject.exe } else { Default::default() })
            });
        self.insert(Process {
            key,
            coarse: false,
            ns_pid: None,
            creator,
            creator_pid: parent_pid,
            label: subject.label,
            uid: subject.uid,
            history: if creator.is_some() { History::Inferred } else { History::Joined },
            exited: None,
            images: vec![Image {
                exec_id,
                since: time,
                program: Arc::new(program),
                standing,
                author_root,
                forked: true,
                acted: None,
            }],
            mounts: 0,
            children: 0,
        })
    }

    pub(super) fn adopt(&mut self, at: ProcessRef, fork: &Fork) {
        let creator = self.find(fork.parent).filter(|creator| *creator != at);
        if let Some(process) = self.get_mut(at) {
            process.ns_pid.get_or_insert(fork.ns_pid);
            process.creator_pid = Some(fork.parent.pid);
            if process.creator.is_none() && creator.is_some() {
                process.creator = creator;
                if let Some(creator) = creator.and_then(|creator| self.get_mut(creator)) {
                    creator.children += 1;
                }
            }
        }
    }
}

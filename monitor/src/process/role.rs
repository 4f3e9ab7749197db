//! How processes enter the table and get their roles: by fork, exec, a record that nothing explained, or the scan.

use std::collections::HashMap;
use std::sync::Arc;

use super::model::{History, Image, Process, ProcessRef, Program, Standing};
use super::scan::{ProcReader, Scanned, scanned_exec_id};
use super::table::ProcessTable;
use crate::event::{BootNs, Event, Exec, Fork, ProcessKey, Subject};
use crate::profile::{ProcTarget, ProfileId, RoleContext, RoleId, RuleSet};

/// By what a process of one worker is given its role.
#[derive(Clone, Copy)]
pub struct Placing<'a> {
    /// The rules in force.
    pub rules: &'a RuleSet,
    /// Profile of the worker.
    pub profile: ProfileId,
    /// Role of a process that joins the worker from outside: entry while the worker is being set up, operator afterwards.
    pub outsider: RoleId,
    /// Where programs are read that no record told of.
    pub proc: &'a dyn ProcReader,
}

/// What an exec did to a process's standing.
#[derive(Clone, Copy, Debug)]
pub struct Executed {
    /// The process.
    pub at: ProcessRef,
    /// Where it stood before: what the exec is judged by.
    pub before: Standing,
    /// It is an author root from now on.
    pub author_root: bool,
    /// It was not known before, and came from outside the worker.
    pub joined: bool,
}

impl ProcessTable {
    /// A process was created.
    pub fn forked(&mut self, event: &Event, fork: &Fork, placing: &Placing<'_>) -> ProcessRef {
        let subject = &event.subject;
        if let Some(at) = self.find(subject.key) {
            // An event of the child was judged before its fork was read: what was inferred is refined.
            self.adopt(at, fork);
            return at;
        }
        let creator = match self.find(fork.parent) {
            Some(at) => Some(at),
            // A creator that the kernel had a number for is the worker's; one without is outside (runc, systemd, a shell).
            None if fork.parent_exec_id != 0 => {
                Some(self.infer_process(fork.parent, fork.parent_exec_id, subject, None, event.time, placing))
            }
            None => None,
        };
        let inherited = creator.and_then(|at| self.get(at)).and_then(|process| {
            let image = process.image_of(fork.parent_exec_id).or_else(|| process.image())?;
            Some((image.program.clone(), image.standing, image.author_root))
        });
        let history = if inherited.is_some() { History::Seen } else { History::Joined };
        let (program, standing, author_root) = inherited.unwrap_or_else(|| {
            (Arc::new(Program::unknown(subject.exe)), outsider(placing.outsider, event.time), 0)
        });
        self.insert(Process {
            key: subject.key,
            coarse: false,
            ns_pid: Some(fork.ns_pid),
            creator,
            creator_pid: Some(fork.parent.pid),
            label: subject.label,
            uid: subject.uid,
            history,
            exited: None,
            images: vec![Image {
                exec_id: subject.exec_id,
                since: event.time,
                program,
                standing,
                author_root,
                forked: true,
            }],
            children: 0,
        })
    }

    /// A process executed something. The caller judges the exec by [`Executed::before`].
    pub fn executed(&mut self, event: &Event, exec: &Exec, placing: &Placing<'_>) -> Executed {
        let subject = &event.subject;
        let known = self.find(subject.key);
        let at = known.unwrap_or_else(|| {
            self.infer_process(
                subject.key,
                exec.old_exec_id,
                subject,
                Some(exec.parent.pid),
                event.time,
                placing,
            )
        });
        let joined = self.get(at).is_some_and(|process| known.is_none() && process.creator.is_none());
        let program = Arc::new(Program::of_exec(exec, subject.uid));
        let (before, author_root) = self.run(at, subject.exec_id, event.time, program, placing);
        if let Some(process) = self.get_mut(at) {
            process.ns_pid = Some(exec.ns_pid);
            process.uid = subject.uid;
            process.creator_pid.get_or_insert(exec.parent.pid);
        }
        Executed { at, before, author_root, joined }
    }

    /// A process ended.
    pub fn ended(&mut self, event: &Event) -> Option<ProcessRef> {
        let at = self.find(event.subject.key)?;
        self.exit(at, event.time);
        Some(at)
    }

    /// A process did something else: makes sure that it and its image are known, as far as they can be.
    pub fn acted(&mut self, event: &Event, placing: &Placing<'_>) -> ProcessRef {
        let subject = &event.subject;
        let at = self.find(subject.key).unwrap_or_else(|| {
            self.infer_process(subject.key, subject.exec_id, subject, None, event.time, placing)
        });
        self.refine(at, subject.key);
        let Some(process) = self.get(at) else { return at };
        match process.image_of(subject.exec_id) {
            // A probe met it before anyone told the kernel of it, and gave it a number of its own: no exec was missed.
            None if subject.unknown_history
                && process.image().is_some_and(|image| same_program(&image.program, subject)) =>
            {
                self.renumber(at, subject.exec_id);
            }
            None => {
                // Its exec was lost: what it runs now can be read as long as it runs it.
                let read = placing
                    .proc
                    .read(subject.key.pid)
                    .filter(|read| same_start(read.key, subject.key) && read.program.exe_id == subject.exe);
                let program = read.map_or_else(|| Program::unknown(subject.exe), |read| read.program);
                self.run(at, subject.exec_id, event.time, Arc::new(program), placing);
            }
            Some(image) if image.forked => {
                if let Some(role) = placing.rules.role_of_fork(placing.profile, image.standing.role) {
                    self.set_role(at, subject.exec_id, role, event.time);
                }
            }
            Some(_) => {}
        }
        at
    }

    /// A process found in /proc. Its creator is its parent there, if that is a worker's process too.
    pub fn scanned(
        &mut self,
        scanned: Scanned,
        label: u32,
        now: BootNs,
        placing: &Placing<'_>,
    ) -> ProcessRef {
        if let Some(at) = self.find_pid(scanned.key.pid)
            && self.get(at).is_some_and(|process| same_start(scanned.key, process.key))
        {
            // Records of it arrived between the attaching and this scan; they know better.
            return at;
        }
        let creator = self.find_pid(scanned.ppid).filter(|at| self.is_of(*at, label));
        let base = creator.and_then(|at| self.get(at)).and_then(Process::image).map_or_else(
            || (outsider(placing.outsider, now), 0),
            |image| (image.standing, image.author_root),
        );
        let exec_id = scanned_exec_id(scanned.key);
        let program = Arc::new(scanned.program);
        let at = self.insert(Process {
            key: scanned.key,
            coarse: true,
            ns_pid: scanned.ns_pid,
            creator,
            creator_pid: Some(scanned.ppid),
            label,
            uid: scanned.uid,
            history: History::Scanned,
            exited: None,
            images: vec![Image {
                exec_id,
                since: scanned.key.start,
                program: program.clone(),
                standing: base.0,
                author_root: base.1,
                forked: true,
            }],
            children: 0,
        });
        // The role that this program takes below its creator, as if it had just been executed.
        self.run(at, exec_id, scanned.key.start, program, placing);
        at
    }

    /// Whose /proc entry `target` is, seen from `actor` at its image `author_root` and standing.
    pub fn proc_target(&self, actor: ProcessRef, target: u32) -> ProcTarget {
        let Some((actor_process, at)) = self.get(actor).zip(self.find_pid(target)) else {
            return ProcTarget::Outside;
        };
        if at == actor {
            return ProcTarget::Own;
        }
        let Some(process) = self.get(at).filter(|process| process.label == actor_process.label) else {
            return ProcTarget::Outside;
        };
        if self.lineage(at).any(|(ancestor, _)| ancestor == actor) {
            return ProcTarget::Descendant;
        }
        let root = |process: &Process| process.image().map_or(0, |image| image.author_root);
        match (root(process), root(actor_process)) {
            (0, _) if process.image().is_none_or(|image| !image.standing.below_author) => {
                ProcTarget::EngineSide
            }
            (0, _) => ProcTarget::OtherRun,
            (target, own) if target == own => ProcTarget::SameRun,
            _ => ProcTarget::OtherRun,
        }
    }

    /// Gives every process its role anew: the rules or a worker's profile changed. `placing` is asked per label, and with
    /// whether the process is one that the worker began with.
    pub fn place_again<'a>(&mut self, mut placing: impl FnMut(u32) -> Option<Placing<'a>>) {
        let mut order: Vec<ProcessRef> = self.iter().map(|(at, _)| at).collect();
        order.sort_unstable();
        let mut by_label: HashMap<u32, Option<Placing<'a>>> = HashMap::new();
        for at in order {
            let Some(process) = self.get(at) else { continue };
            let Some(placing) = *by_label.entry(process.label).or_insert_with_key(|label| placing(*label))
            else {
                continue;
            };
            let creator = process.creator.and_then(|creator| self.get(creator));
            let mut standing = match (creator, process.images.first()) {
                (Some(creator), Some(first)) => creator
                    .images
                    .iter()
                    .rev()
                    .find(|image| image.since <= first.since)
                    .or(creator.images.first())
                    .map(|image| (image.standing, image.author_root)),
                _ => None,
            }
            .or_else(|| {
                // It joined from outside: the fixed role it got then is the same in every set.
                let first = process.images.first()?;
                let role = if first.standing.role == RoleId::OPERATOR || first.standing.role == RoleId::PROBE
                {
                    RoleId::OPERATOR
                } else {
                    RoleId::ENTRY
                };
                Some((outsider(role, first.since), 0))
            });
            let Some(process) = self.get_mut(at) else { continue };
            for image in &mut process.images {
                let Some((before, root)) = standing else { break };
                if image.forked {
                    (image.standing, image.author_root) = (before, root);
                } else {
                    let (after, is_root) = take(&placing, before, image.since, &image.program);
                    image.standing = after;
                    image.author_root = if is_root { image.exec_id } else { root };
                }
                standing = Some((image.standing, image.author_root));
            }
        }
    }

    fn run(
        &mut self,
        at: ProcessRef,
        exec_id: u64,
        time: BootNs,
        program: Arc<Program>,
        placing: &Placing<'_>,
    ) -> (Standing, bool) {
        let (before, root) = self
            .get(at)
            .and_then(Process::image)
            .map_or((outsider(placing.outsider, time), 0), |image| (image.standing, image.author_root));
        let (standing, author_root) = take(placing, before, time, &program);
        let image = Image {
            exec_id,
            since: time,
            program,
            standing,
            author_root: if author_root { exec_id } else { root },
            forked: false,
        };
        // A scanned process has one image: the one it was found with.
        if let Some(process) = self.get_mut(at)
            && let Some(last) = process.images.last_mut()
            && last.exec_id == exec_id
        {
            *last = image;
        } else {
            self.push_image(at, image);
        }
        (before, author_root)
    }

    /// A process that no fork told of: below its parent if that one is known in the same worker, else from outside.
    fn infer_process(
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
            None if subject.author_root != 0 => {
                (Standing { role: RoleId::DESCENDANT, since: time, below_author: true }, subject.author_root)
            }
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
            }],
            children: 0,
        })
    }

    fn adopt(&mut self, at: ProcessRef, fork: &Fork) {
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

    fn set_role(&mut self, at: ProcessRef, exec_id: u64, role: RoleId, time: BootNs) {
        if let Some(process) = self.get_mut(at)
            && let Some(image) = process.images.iter_mut().rev().find(|image| image.exec_id == exec_id)
            && image.standing.role != role
        {
            image.standing.role = role;
            image.standing.since = time;
        }
    }

    fn is_of(&self, at: ProcessRef, label: u32) -> bool {
        self.get(at).is_some_and(|process| process.label == label && process.exited.is_none())
    }
}

fn same_program(program: &Program, subject: &Subject) -> bool {
    program.exe_id == subject.exe
}

fn outsider(role: RoleId, since: BootNs) -> Standing {
    Standing { role, since, below_author: false }
}

fn same_start(scanned: ProcessKey, key: ProcessKey) -> bool {
    scanned.start == key.start / super::table::TICK * super::table::TICK
}

fn take(placing: &Placing<'_>, before: Standing, time: BootNs, program: &Program) -> (Standing, bool) {
    let context = RoleContext {
        profile: placing.profile,
        role: before.role,
        role_since: before.since,
        below_author: before.below_author,
        now: time,
    };
    let taken = placing.rules.role_of_exec(&context, &program.as_image());
    let standing = Standing {
        role: taken.role,
        since: if taken.changed { time } else { before.since },
        below_author: taken.below_author,
    };
    (standing, taken.author_root)
}

#[cfg(test)]
mod tests;

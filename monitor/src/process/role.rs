//! How processes enter the table and get their roles: by fork, exec, or the scan.

use std::sync::Arc;

use super::model::{History, Image, Process, ProcessRef, Program, Standing};
use super::scan::{ProcReader, Scanned, scanned_exec_id};
use super::table::ProcessTable;
use crate::event::{BootNs, Event, Exec, Fork, ProcessKey, Subject};
use crate::profile::{Facts, Pin, ProfileId, RoleContext, RoleId, RoleKind, RuleSet};

/// By what a process of one worker is given its role.
#[derive(Clone, Copy)]
pub struct Placing<'a> {
    /// The rules in force.
    pub rules: &'a RuleSet,
    /// Profile of the worker.
    pub profile: ProfileId,
    /// Role of a process that joins the worker from outside: entry while the worker is being set up, operator afterwards.
    pub outsider: RoleId,
    /// What the site states of the worker.
    pub facts: &'a Facts,
    /// Exact argument lists of health commands that the site names for it.
    pub probes: &'a [Vec<String>],
    /// Where programs are read that no record told of.
    pub proc: &'a dyn ProcReader,
}

/// What an exec did to a process's standing.
#[derive(Clone, Copy, Debug)]
pub struct Executed {
    /// The process.
    pub at: ProcessRef,
    /// Where it stood before: what the exec is judged by. Of one that entered by it: where it stands now.
    pub before: Standing,
    /// It entered the sealed worker from outside by this exec.
    pub entered: bool,
    /// It is the container runtime on its way in: nothing to judge, and nothing executed inside yet.
    pub set_up: bool,
    /// The new executable against what the worker first executed from its path.
    pub pin: Pin,
    /// Whether a loader variable was there before; `None` if that is not known.
    pub loader_before: Option<bool>,
    /// It is an author root from now on.
    pub author_root: bool,
    /// It was not known before, and came from outside the worker.
    pub joined: bool,
    /// Nobody saw the exec: it is what /proc shows.
    pub scanned: bool,
}

/// A process that did something other than execute.
#[derive(Clone, Copy, Debug)]
pub struct Acted {
    /// The process.
    pub at: ProcessRef,
    /// It became an author root by this: a fork that its role makes one, and that executed nothing.
    pub author_root: bool,
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
        if let Some(at) = creator {
            // To fork is to do something, too.
            self.settle(at, fork.parent_exec_id, event.time, placing);
        }
        let inherited = creator.and_then(|at| self.get(at)).and_then(|process| {
            let image = process.image_of(fork.parent_exec_id).or_else(|| process.image())?;
            Some((image.program.clone(), image.standing, image.author_root))
        });
        // What the init process starts in a worker is the unit's own (its commands before, after and for a reload).
        let from = if fork.parent.pid == 1 { RoleId::ENTRY } else { placing.outsider };
        let history = if inherited.is_some() { History::Seen } else { History::Joined };
        let (program, standing, author_root) = inherited
            .unwrap_or_else(|| (Arc::new(Program::unknown(subject.exe)), outsider(from, event.time), 0));
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
                acted: None,
            }],
            mounts: 0,
            children: 0,
        })
    }

    /// A process executed something. The caller judges the exec by [`Executed::before`].
    pub fn executed(&mut self, event: &Event, exec: &Exec, placing: &Placing<'_>) -> Executed {
        let subject = &event.subject;
        let known = self.find(subject.key);
        let sealed = placing.outsider == RoleId::OPERATOR;
        let set_up = self.sets_up(event, exec, sealed, placing.proc);
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
        let program = Program::of_exec(exec, subject.uid);
        let was = self.get(at).and_then(Process::image);
        let loader_before = was.and_then(|image| image.program.loader_env);
        let ran = if set_up {
            self.pass_through(at, subject.exec_id, event.time, program)
        } else {
            self.run(at, subject.exec_id, event.time, program, placing)
        };
        // The host's own mounts are nobody's sandbox, whoever gets there first.
        if exec.ns.mnt != placing.proc.init_mounts() {
            self.note_mounts(at, exec.ns.mnt);
        }
        if let Some(process) = self.get_mut(at) {
            process.ns_pid = Some(exec.ns_pid);
            process.uid = subject.uid;
            process.creator_pid.get_or_insert(exec.parent.pid);
        }
        Executed {
            at,
            before: ran.before,
            entered: ran.entered,
            set_up,
            pin: ran.pin,
            loader_before,
            author_root: ran.author_root,
            joined,
            scanned: false,
        }
    }

    /// Whether an exec is the container runtime's on its way in: from memory or a mount that is gone, by a process that came from
    /// outside and has executed nothing inside. Nobody inside can have made either.
    ///
    /// One that was found in the worker, before anything was executed inside, is on its way in too while it has the host's mounts: it was
    /// there before its copy.
    pub fn sets_up(&self, event: &Event, exec: &Exec, sealed: bool, proc: &dyn ProcReader) -> bool {
        let subject = &event.subject;
        let entering = || match self.find(subject.key) {
            Some(at) => {
                let process = self.get(at);
                let image = process.and_then(Process::image);
                let found = process
                    .is_some_and(|process| process.history == History::Scanned && process.images.len() == 1);
                (!subject.unknown_history && image.is_some_and(|image| image.standing.entering))
                    || (found && !sealed && exec.ns.mnt == proc.init_mounts())
            }
            // It was moved in, which no fork told of. Once somebody is inside it could be theirs, whose fork was lost.
            None => {
                let below = self.find_pid(exec.parent.pid).is_some_and(|at| self.is_of(at, subject.label));
                !sealed && !below && subject.author_root == 0
            }
        };
        exec.is_nowhere() && entering()
    }

    /// A process ended.
    pub fn ended(&mut self, event: &Event) -> Option<ProcessRef> {
        let at = self.find(event.subject.key)?;
        self.exit(at, event.time);
        Some(at)
    }

    /// A process did something else: makes sure that it and its image are known, as far as they can be.
    pub fn acted(&mut self, event: &Event, placing: &Placing<'_>) -> Acted {
        let subject = &event.subject;
        let at = self.find(subject.key).unwrap_or_else(|| {
            self.infer_process(subject.key, subject.exec_id, subject, None, event.time, placing)
        });
        self.refine(at, subject.key);
        let mut author_root = false;
        let Some(process) = self.get(at) else { return Acted { at, author_root } };
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
                self.run(at, subject.exec_id, event.time, program, placing);
            }
            Some(_) => author_root = self.settle(at, subject.exec_id, event.time, placing),
        }
        Acted { at, author_root }
    }

    /// A process found in /proc. Its creator is its parent there, if that is a worker's process too. `set_up`: nothing was
    /// executed inside the worker yet, so a container runtime's copy of itself is still on its way in.
    pub fn scanned(
        &mut self,
        scanned: Scanned,
        label: u32,
        now: BootNs,
        placing: &Placing<'_>,
        set_up: bool,
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
        let program = scanned.program;
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
                program: Arc::new(program.clone()),
                standing: base.0,
                author_root: base.1,
                forked: true,
                acted: None,
            }],
            mounts: 0,
            children: 0,
        });
        if !(set_up && base.0.entering && program.is_nowhere()) {
            // The role that this program takes below its creator, as if it had just been executed.
            self.run(at, exec_id, scanned.key.start, program, placing);
        }
        at
    }

    /// What a process runs from now on, and the role that gives it.
    pub(super) fn run(
        &mut self,
        at: ProcessRef,
        exec_id: u64,
        time: BootNs,
        mut program: Program,
        placing: &Placing<'_>,
    ) -> Ran {
        let process = self.get(at);
        let label = process.map_or(0, |process| process.label);
        let (before, root) = process
            .and_then(Process::image)
            .map_or((outsider(placing.outsider, time), 0), |image| (image.standing, image.author_root));
        if placing.rules.pins(placing.profile, &program.as_image()) {
            program.pin = self.pins.check(label, &program);
        }
        let pin = program.pin;
        let (standing, author_root) = take(placing, before, time, &program);
        let image = Image {
            exec_id,
            since: time,
            program: Arc::new(program),
            standing,
            author_root: if author_root { exec_id } else { root },
            forked: false,
            acted: None,
        };
        self.replace_image(at, image);
        let entered = enters(before);
        Ran { before: if entered { standing } else { before }, entered, pin, author_root }
    }

    /// A process runs something and stays what it is: it is still on its way in.
    fn pass_through(&mut self, at: ProcessRef, exec_id: u64, time: BootNs, program: Program) -> Ran {
        let before = self.get(at).and_then(Process::image).map(|image| image.standing);
        let before = before.filter(|before| before.entering);
        let before = before.unwrap_or_else(|| outsider(RoleId::ENTRY, time));
        let image = Image {
            exec_id,
            since: time,
            program: Arc::new(program),
            standing: before,
            author_root: 0,
            forked: true,
            acted: None,
        };
        self.replace_image(at, image);
        Ran { before, entered: false, pin: Pin::None, author_root: false }
    }

    /// A scanned process has one image, the one it was found with; others get a new one.
    fn replace_image(&mut self, at: ProcessRef, image: Image) {
        if let Some(process) = self.get_mut(at)
            && let Some(last) = process.images.last_mut()
            && last.exec_id == image.exec_id
        {
            *last = image;
        } else {
            self.push_image(at, image);
        }
    }

    /// A process that was forked and executes nothing has done something: it takes the role that its creator's role gives
    /// to such forks. Whether it became an author root by that.
    fn settle(&mut self, at: ProcessRef, exec_id: u64, time: BootNs, placing: &Placing<'_>) -> bool {
        let Some(image) = self
            .get_mut(at)
            .and_then(|process| process.images.iter_mut().rev().find(|image| image.exec_id == exec_id))
            .filter(|image| image.forked && image.acted.is_none() && !image.standing.entering)
        else {
            return false;
        };
        image.acted = Some(time);
        let root = take_by_fork(placing, &mut image.standing, time);
        if root {
            image.author_root = exec_id;
        }
        root
    }

    pub(super) fn is_of(&self, at: ProcessRef, label: u32) -> bool {
        self.get(at).is_some_and(|process| process.label == label && process.exited.is_none())
    }
}

/// What came of running something.
pub(super) struct Ran {
    pub(super) before: Standing,
    pub(super) entered: bool,
    pub(super) pin: Pin,
    pub(super) author_root: bool,
}

pub(super) fn same_program(program: &Program, subject: &Subject) -> bool {
    program.exe_id == subject.exe
}

pub(super) fn outsider(role: RoleId, since: BootNs) -> Standing {
    Standing { role, since, below_author: false, entering: true }
}

pub(super) fn same_start(scanned: ProcessKey, key: ProcessKey) -> bool {
    scanned.start == key.start / super::table::TICK * super::table::TICK
}

/// Whether a process enters a sealed worker by its next exec.
pub(super) fn enters(standing: Standing) -> bool {
    standing.entering && standing.role == RoleId::OPERATOR
}

/// Where an exec leads to, and whether the process becomes an author root by it.
pub(super) fn take(
    placing: &Placing<'_>,
    before: Standing,
    time: BootNs,
    program: &Program,
) -> (Standing, bool) {
    let context = RoleContext {
        profile: placing.profile,
        role: before.role,
        role_since: before.since,
        below_author: before.below_author,
        entering: enters(before),
        facts: placing.facts,
        probes: placing.probes,
        now: time,
    };
    let taken = placing.rules.role_of_exec(&context, &program.as_image());
    let standing = Standing {
        role: taken.role,
        since: if taken.changed { time } else { before.since },
        below_author: taken.below_author,
        entering: false,
    };
    (standing, taken.author_root)
}

/// The role of a fork that executes nothing, if its role gives it one. Whether it is an author root by that.
pub(super) fn take_by_fork(placing: &Placing<'_>, standing: &mut Standing, time: BootNs) -> bool {
    let Some(role) = placing.rules.role_of_fork(placing.profile, standing.role) else { return false };
    let author = placing.rules.role(placing.profile, role).kind == RoleKind::Author;
    let root = author && !standing.below_author;
    *standing =
        Standing { role, since: time, below_author: standing.below_author || author, entering: false };
    root
}

#[cfg(test)]
mod tests;

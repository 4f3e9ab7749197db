//! The process table.

use std::collections::{HashMap, VecDeque};

use super::model::{Image, Process, ProcessRef};
use super::pins::Pins;
use crate::event::{BootNs, ProcessKey, Subject};

/// How long an exited process is kept for late events, ns.
const EXITED_KEEP: BootNs = 10_000_000_000;

/// One tick of the start times in /proc, ns (USER_HZ is 100 on every architecture that matters here).
pub(crate) const TICK: BootNs = 10_000_000;

/// What the table had to do besides keeping processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableCounts {
    /// Exited processes dropped before their time because the table was full.
    pub early: u64,
    /// Live processes dropped because the table was full: their later events have unknown history.
    pub evicted: u64,
    /// Pids that named a new process while the old one's exit had not been seen.
    pub reused: u64,
}

/// Processes of workers by pid and start time, live and lately exited, at most a fixed number.
pub struct ProcessTable {
    processes: HashMap<ProcessRef, Process>,
    by_key: HashMap<ProcessKey, ProcessRef>,
    /// The newest process of a pid.
    by_pid: HashMap<u32, ProcessRef>,
    by_exec: HashMap<u64, ProcessRef>,
    exited: VecDeque<(BootNs, ProcessRef)>,
    /// Live processes per label.
    live: HashMap<u32, u32>,
    /// The first process that executed something in a mount namespace.
    mounts: HashMap<u32, ProcessRef>,
    /// What workers first executed from paths that rules pin.
    pub(super) pins: Pins,
    next: u64,
    /// Images that the kernel knows by another number, old and new.
    renumbered: Vec<(u64, u64)>,
    capacity: usize,
    counts: TableCounts,
}

impl ProcessTable {
    /// A table of at most `capacity` processes.
    pub fn new(capacity: usize) -> Self {
        Self {
            processes: HashMap::new(),
            by_key: HashMap::new(),
            by_pid: HashMap::new(),
            by_exec: HashMap::new(),
            exited: VecDeque::new(),
            live: HashMap::new(),
            mounts: HashMap::new(),
            pins: Pins::default(),
            next: 0,
            renumbered: Vec::new(),
            capacity: capacity.max(1),
            counts: TableCounts::default(),
        }
    }

    /// What it had to do besides keeping processes.
    pub fn counts(&self) -> TableCounts {
        self.counts
    }

    /// Number of processes, exited ones included.
    pub fn len(&self) -> usize {
        self.processes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// Most processes that it keeps.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Number of live processes of a worker.
    pub fn live(&self, label: u32) -> u32 {
        self.live.get(&label).copied().unwrap_or(0)
    }

    /// A process.
    pub fn get(&self, at: ProcessRef) -> Option<&Process> {
        self.processes.get(&at)
    }

    /// A process.
    pub(super) fn get_mut(&mut self, at: ProcessRef) -> Option<&mut Process> {
        self.processes.get_mut(&at)
    }

    /// All processes, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (ProcessRef, &Process)> {
        self.processes.iter().map(|(at, process)| (*at, process))
    }

    /// The process of this pid and start; one that was scanned matches by its start in ticks.
    pub fn find(&self, key: ProcessKey) -> Option<ProcessRef> {
        if let Some(at) = self.by_key.get(&key) {
            return Some(*at);
        }
        let at = *self.by_pid.get(&key.pid)?;
        let process = self.processes.get(&at)?;
        (process.coarse && process.key.start == key.start / TICK * TICK).then_some(at)
    }

    /// The newest process of a pid.
    pub fn find_pid(&self, pid: u32) -> Option<ProcessRef> {
        self.by_pid.get(&pid).copied()
    }

    /// The process that runs, or ran, the image of this number.
    pub fn find_exec(&self, exec_id: u64) -> Option<ProcessRef> {
        self.by_exec.get(&exec_id).copied()
    }

    /// The process and image that a record's subject names; the newest image if that one is not known.
    pub fn subject(&self, subject: &Subject) -> Option<(ProcessRef, &Process, &Image)> {
        let at = self.find(subject.key)?;
        let process = self.processes.get(&at)?;
        let image = process.image_of(subject.exec_id).or_else(|| process.image())?;
        Some((at, process, image))
    }

    /// Whether the very image that the subject names is known: a priority event need not be held.
    pub fn knows(&self, subject: &Subject) -> bool {
        self.find(subject.key)
            .and_then(|at| self.processes.get(&at))
            .is_some_and(|process| process.image_of(subject.exec_id).is_some())
    }

    /// Adds a process. A live one of the same pid has exited unseen.
    pub fn insert(&mut self, process: Process) -> ProcessRef {
        if self.processes.len() >= self.capacity {
            self.make_room();
        }
        if let Some(old) = self.by_pid.get(&process.key.pid).copied()
            && self.processes.get(&old).is_some_and(|old| old.exited.is_none())
        {
            self.counts.reused += 1;
            self.exit(old, process.key.start);
        }
        let at = ProcessRef(self.next);
        self.next += 1;
        self.by_key.insert(process.key, at);
        self.by_pid.insert(process.key.pid, at);
        for image in &process.images {
            self.by_exec.insert(image.exec_id, at);
        }
        if let Some(creator) = process.creator.and_then(|creator| self.processes.get_mut(&creator)) {
            creator.children += 1;
        }
        if process.exited.is_none() {
            *self.live.entry(process.label).or_default() += 1;
        }
        self.processes.insert(at, process);
        at
    }

    /// A scanned process's exact start time is known now.
    pub fn refine(&mut self, at: ProcessRef, key: ProcessKey) {
        if let Some(process) = self.processes.get_mut(&at)
            && process.coarse
        {
            self.by_key.remove(&process.key);
            process.key = key;
            process.coarse = false;
            self.by_key.insert(key, at);
        }
    }

    /// A process executed something.
    pub(super) fn push_image(&mut self, at: ProcessRef, image: Image) {
        let Some(process) = self.processes.get_mut(&at) else { return };
        let first = process.images.first().map(|image| image.exec_id);
        self.by_exec.insert(image.exec_id, at);
        process.push_image(image);
        if let Some(first) = first
            && process.images.first().is_none_or(|image| image.exec_id != first)
        {
            self.by_exec.remove(&first);
        }
    }

    /// The kernel knows a process's newest image by another number.
    pub(super) fn renumber(&mut self, at: ProcessRef, exec_id: u64) {
        let Some(image) = self.processes.get_mut(&at).and_then(|process| process.images.last_mut()) else {
            return;
        };
        let old = std::mem::replace(&mut image.exec_id, exec_id);
        if image.author_root == old {
            image.author_root = exec_id;
        }
        self.by_exec.remove(&old);
        self.by_exec.insert(exec_id, at);
        // Those below name their author root by its number.
        for process in self.processes.values_mut() {
            for image in process.images.iter_mut().filter(|image| image.author_root == old) {
                image.author_root = exec_id;
            }
        }
        self.renumbered.push((old, exec_id));
    }

    /// Images that got another number since the last call: old and new.
    pub fn take_renumbered(&mut self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.renumbered)
    }

    /// A process executed something in this mount namespace; 0 if that is not known.
    pub(super) fn note_mounts(&mut self, at: ProcessRef, mounts: u32) {
        if mounts != 0 && !self.mounts.contains_key(&mounts) && self.processes.contains_key(&at) {
            self.mounts.insert(mounts, at);
            if let Some(process) = self.processes.get_mut(&at) {
                process.mounts = mounts;
            }
        }
    }

    /// The process that was the first to execute something in a mount namespace.
    pub(super) fn home_of(&self, mounts: u32) -> Option<ProcessRef> {
        self.mounts.get(&mounts).copied()
    }

    /// Nothing runs in a worker any more: what starts in it next starts anew.
    pub fn begin_anew(&mut self, label: u32) {
        self.pins.forget(label);
    }

    /// A process ended.
    pub fn exit(&mut self, at: ProcessRef, time: BootNs) {
        if let Some(process) = self.processes.get_mut(&at)
            && process.exited.is_none()
        {
            process.exited = Some(time);
            let label = process.label;
            self.exited.push_back((time, at));
            self.not_live(label);
        }
    }

    /// The process and those it descends from, nearest first.
    pub fn lineage(&self, at: ProcessRef) -> impl Iterator<Item = (ProcessRef, &Process)> {
        std::iter::successors(Some(at), |at| self.processes.get(at)?.creator)
            .map_while(|at| Some((at, self.processes.get(&at)?)))
    }

    /// Drops the processes that exited long enough ago. One that created a process still in the table stays for its lineage.
    pub fn expire(&mut self, now: BootNs) {
        for _ in 0..self.exited.len() {
            let Some((time, at)) = self.exited.front().copied() else { return };
            if now.saturating_sub(time) < EXITED_KEEP {
                return;
            }
            self.exited.pop_front();
            if self.processes.get(&at).is_some_and(|process| process.children > 0) {
                self.exited.push_back((now, at));
            } else {
                self.remove(at);
            }
        }
    }

    fn not_live(&mut self, label: u32) {
        if let Some(live) = self.live.get_mut(&label) {
            *live -= 1;
            if *live == 0 {
                self.live.remove(&label);
            }
        }
    }

    fn make_room(&mut self) {
        if let Some((_, at)) = self.exited.pop_front() {
            self.counts.early += 1;
            return self.remove(at);
        }
        // All live: drop a sixteenth at once, oldest first, so that a fork bomb costs one sort per many forks.
        let mut live: Vec<ProcessRef> = self.processes.keys().copied().collect();
        live.sort_unstable();
        for at in live.into_iter().take(self.capacity.div_ceil(16)) {
            self.counts.evicted += 1;
            self.remove(at);
        }
    }

    fn remove(&mut self, at: ProcessRef) {
        let Some(process) = self.processes.remove(&at) else { return };
        if process.exited.is_none() {
            self.not_live(process.label);
        }
        if self.mounts.get(&process.mounts) == Some(&at) {
            self.mounts.remove(&process.mounts);
        }
        if self.by_key.get(&process.key) == Some(&at) {
            self.by_key.remove(&process.key);
        }
        if self.by_pid.get(&process.key.pid) == Some(&at) {
            self.by_pid.remove(&process.key.pid);
        }
        for image in &process.images {
            if self.by_exec.get(&image.exec_id) == Some(&at) {
                self.by_exec.remove(&image.exec_id);
            }
        }
        if let Some(creator) = process.creator.and_then(|creator| self.processes.get_mut(&creator)) {
            creator.children = creator.children.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests;

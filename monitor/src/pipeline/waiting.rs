//! Events of a worker whose pod is not known yet: they wait, so that the worker's profile is chosen by what it is.
//!
//! A new container's first events come before the kubelet's list has it. They are kept in their order, within bounds of time
//! and number, and judged when the pod is known, when their time is over, or when there are too many: nothing is
//! dropped, and nothing is held against a worker because something was not known. What was said by then is completed later.

use std::collections::BTreeMap;

use super::{Effect, Pipeline, profile};
use crate::event::{Body, BootNs, Event, Exec};
use crate::metadata::{Found, Pods};
use crate::process::ProcessRef;
use crate::worker::{Sandbox, Worker, WorkerPod};

/// Most events kept of one worker, and of all.
const WORKER_MAX: usize = 1024;
const ALL_MAX: usize = 16_384;
/// How long after it was found, and somebody answered, the pod of a worker is asked for. ns.
const ASKED_FOR: BootNs = 60_000_000_000;

/// How long after it was found a container is missing from its pod's list only because it has just begun. ns.
const UNLISTED: BootNs = 10_000_000_000;

/// What is to be done with a worker that may be its pod's sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AsSandbox {
    /// It is no sandbox, or nobody can tell: it is a container like any.
    No,
    /// It calls itself one, and its pod's list will tell soon.
    MayTurnOut,
    /// It is.
    Is,
}

/// The events that wait, by worker.
#[derive(Default)]
pub(super) struct Waiting {
    /// How long; 0: nobody is asked, and nothing waits.
    most: BootNs,
    held: BTreeMap<u32, Held>,
    count: usize,
    /// Since when somebody answers; `None`: nobody has, or not lately.
    answered: Option<BootNs>,
    /// When the last answer came, however long ago.
    last_answer: Option<BootNs>,
}

struct Held {
    until: BootNs,
    events: Vec<Event>,
    /// Processes that began while no agent ran, with their start: they are judged first.
    missed: Vec<(BootNs, ProcessRef)>,
    /// Its pod, of which the container is not known yet.
    half: Option<WorkerPod>,
}

impl Waiting {
    /// The events of a worker do not wait any more; in the order in which they happened.
    fn take(&mut self, label: u32) -> Option<Held> {
        let mut held = self.held.remove(&label)?;
        self.count -= held.events.len();
        // Two lanes were read into it one after the other.
        held.events.sort_by_key(|event| event.time);
        Some(held)
    }

    fn overdue(&self, now: BootNs) -> Vec<u32> {
        self.held.iter().filter(|(_, held)| held.until <= now).map(|(label, _)| *label).collect()
    }
}

impl Pipeline {
    /// From now on the events of a new worker in a pod wait, at most so long, until [`Self::pods_known`] tells what it is.
    pub fn wait_for_pods(&mut self, most: BootNs) {
        self.waiting.most = most;
    }

    /// Whether there are workers in pods of which not everything is known, and may still be learnt. A worker that is gone may:
    /// what it did is still told.
    pub fn wants_pods(&self, now: BootNs) -> bool {
        self.workers.iter().any(|worker| worker.lacks_pod() && self.is_asked_for(worker, now))
    }

    fn is_asked_for(&self, worker: &Worker, now: BootNs) -> bool {
        let since = self.waiting.answered.map(|answered| answered.max(worker.found));
        since.is_none_or(|since| now.saturating_sub(since) < ASKED_FOR)
    }

    /// How many workers are in pods of which not everything is known, and since when nobody has answered for the oldest of those that
    /// may still be learnt, boot-time ns: since it was found, or since the last answer.
    pub fn unknown_pods(&self, now: BootNs) -> (u64, Option<BootNs>) {
        let lacking = || self.workers.iter().filter(|worker| worker.lacks_pod());
        let oldest =
            lacking().filter(|worker| self.is_asked_for(worker, now)).map(|worker| worker.found).min();
        let last = self.waiting.last_answer.unwrap_or(0);
        (lacking().count() as u64, oldest.map(|found| found.max(last)))
    }

    /// How many events wait for pods to be known, and how many may.
    pub fn waiting_events(&self) -> (usize, usize) {
        (self.waiting.count, ALL_MAX)
    }

    /// Nobody tells which pods there are.
    pub fn pods_unknown(&mut self) {
        self.waiting.answered = None;
    }

    /// What is known of the pods on this node now: the newest answer, which was asked for at that time, boot-time ns.
    pub fn pods_known(&mut self, pods: &Pods, asked: BootNs, now: BootNs) {
        self.waiting.answered.get_or_insert(now);
        self.waiting.last_answer = Some(now);
        // Those that were taken for sandboxes too: the list may have them now.
        let lacking = self.workers.iter().filter(|worker| worker.is_unnamed());
        let found: Vec<(u32, Found)> =
            lacking.map(|worker| (worker.label, pods.find(&worker.place))).collect();
        let mut known = Vec::new();
        let mut whole = Vec::new();
        let mut sandboxes = Vec::new();
        for (label, found) in found {
            match found {
                Found::Whole(pod) => {
                    if let Some(worker) = self.workers.get_mut(label) {
                        worker.sandbox = Sandbox::No;
                    }
                    known.push((label, pod));
                    whole.push(label);
                }
                Found::Pod { pod, all } => {
                    let sandbox = self.looks_like_sandbox(label);
                    match self.waiting.held.get_mut(&label) {
                        // Whichever of its containers it is will be known soon.
                        Some(held) if !sandbox => held.half = Some(pod),
                        _ => known.push((label, pod)),
                    }
                    if sandbox && let Some(worker) = self.workers.get_mut(label) {
                        worker.may_be_sandbox();
                        // Who has had the time to get into the list, and is not in it, is none of the pod's containers.
                        if all && asked >= worker.found.saturating_add(UNLISTED) {
                            sandboxes.push(label);
                        }
                    }
                }
                Found::Nothing => {}
            }
        }
        self.learn_pods(known, now);
        for label in whole {
            self.let_go(label, now);
        }
        for label in sandboxes {
            self.is_its_sandbox(label, now);
        }
    }

    /// A worker is its pod's sandbox: its events do not wait, and nothing is said of how it is set up.
    fn is_its_sandbox(&mut self, label: u32, now: BootNs) {
        let Some(worker) = self.workers.get_mut(label).filter(|worker| worker.sandbox != Sandbox::Known)
        else {
            return;
        };
        worker.be_sandbox();
        self.end_posture_of_sandbox(label, now);
        self.let_go(label, now);
    }

    /// What the pods of these workers are: their profiles are chosen again, their processes' roles too, and open incidents
    /// say it.
    pub fn learn_pods(&mut self, known: Vec<(u32, WorkerPod)>, now: BootNs) {
        let mut chosen = Vec::new();
        let mut learnt = Vec::new();
        for (label, pod) in known {
            let Some(worker) = self.workers.get_mut(label) else { continue };
            if !worker.learn(pod) {
                continue;
            }
            tracing::info!(worker = %worker.name, cgroup = %worker.path, "pod known");
            learnt.push(label);
            if self.select(label, now) {
                chosen.push(label);
            }
        }
        // Once for all of them: every process is looked at.
        if !chosen.is_empty() {
            self.place_again();
        }
        for label in chosen {
            self.take_up(label);
        }
        for label in learnt {
            let Some(worker) = self.workers.get(label) else { continue };
            if let Some(tap) = &mut self.tap {
                tap.pod(worker, now);
            }
            self.detector.worker_known(worker, profile(Some(worker)), &self.rules, now);
        }
    }

    /// What runs in a worker that has another profile now: whose run it is, and who is an author's in the kernel's eyes.
    fn take_up(&mut self, label: u32) {
        let live =
            self.processes.iter().filter(|(_, process)| process.label == label && process.exited.is_none());
        let live: Vec<ProcessRef> = live.map(|(at, _)| at).collect();
        for at in live {
            self.take_ids_of_scanned(label, at);
            let Some(process) = self.processes.get(at) else { continue };
            let Some(image) = process.image().filter(|image| image.author_root != 0) else { continue };
            let (pid, exec_id, root) = (process.key.pid, image.exec_id, image.author_root);
            self.effects.push(Effect::MarkAuthor { pid, exec_id, root });
        }
    }

    /// Begins to hold the events of a worker that was just found, if its pod is to be learnt first.
    pub(super) fn may_wait(&mut self, label: u32, now: BootNs) {
        let Some(worker) = self.workers.get_mut(label) else { return };
        if self.waiting.most > 0 && worker.lacks_pod() && worker.assignment.profile.is_none() {
            worker.awaits_pod = true;
            let until = now.saturating_add(self.waiting.most);
            self.waiting
                .held
                .insert(label, Held { until, events: Vec::new(), missed: Vec::new(), half: None });
        }
    }

    /// Reads the environment of an exec that the kernel did not tell: by the time it is judged the process may have written
    /// there, or be gone. Which profile the worker will have is not known yet, so it is whatever some profile asks for.
    fn read_ahead(&self, event: &mut Event) {
        let Body::Exec(exec) = &mut event.body else { return };
        let names = self.rules.env_names();
        if exec.env_from_kernel || !exec.env.is_empty() || names.is_empty() {
            return;
        }
        let wanted = |name: &str| names.iter().any(|known| &**known == name);
        exec.env = self.proc.environment(event.subject.key.pid, &wanted);
    }

    /// Keeps an event whose worker waits; gives back any other.
    pub(super) fn keep_waiting(&mut self, mut event: Event, now: BootNs) -> Option<Event> {
        if self.waiting.held.is_empty() {
            return Some(event);
        }
        let label = event.subject.label;
        let full = self.waiting.count >= ALL_MAX;
        let Some(held) = self.waiting.held.get_mut(&label) else { return Some(event) };
        if full || held.events.len() >= WORKER_MAX {
            self.let_go(label, now);
            return Some(event);
        }
        let entry = first_inside(&held.events).is_none() && inside(&event).is_some();
        self.read_ahead(&mut event);
        // The kernel's filter has to know where its secrets are from the first moment on.
        if entry {
            // Whoever runs in it: a cgroup made below is its own, and no worker beside it.
            if let Some(worker) = self.workers.get_mut(label) {
                worker.entry.get_or_insert(event.subject.key);
            }
            let literals = &self.rules.kernel_filter().literals;
            self.files.look(label, event.subject.key.pid, literals, &*self.roots);
        } else {
            self.learn(&event);
        }
        if let Some(held) = self.waiting.held.get_mut(&label) {
            held.events.push(event);
            self.waiting.count += 1;
        }
        None
    }

    /// Keeps a process that is to be judged as one that was missed, if its worker waits; whether it does.
    pub(super) fn keep_missed(&mut self, label: u32, start: BootNs, at: ProcessRef) -> bool {
        let held = self.waiting.held.get_mut(&label);
        held.map(|held| held.missed.push((start, at))).is_some()
    }

    /// When the first of those began that wait, boot-time ns.
    pub(super) fn first_missed(&self) -> Option<BootNs> {
        self.waiting.held.values().flat_map(|held| &held.missed).map(|(start, _)| *start).min()
    }

    /// The events that wait.
    pub(super) fn held_for_pods(&self) -> impl Iterator<Item = &Event> {
        self.waiting.held.values().flat_map(|held| &held.events)
    }

    /// Judges what waited for too long.
    pub(super) fn let_overdue_go(&mut self, now: BootNs) {
        for label in self.waiting.overdue(now) {
            self.let_go(label, now);
        }
    }

    /// Judges what a worker's events were, and does not hold any more of them.
    pub(super) fn let_go(&mut self, label: u32, now: BootNs) {
        let Some(held) = self.waiting.take(label) else { return };
        if let Some(half) = held.half.filter(|_| self.workers.get(label).is_some_and(Worker::lacks_pod)) {
            self.learn_pods(vec![(label, half)], now);
        }
        if let Some(tap) = &mut self.tap {
            tap.waited(label, now);
        }
        for (_, at) in held.missed {
            self.judge_as_executed(at);
        }
        for event in held.events {
            self.admit(event, now);
        }
    }

    /// Whether a worker is its pod's sandbox, by what is known now.
    pub(super) fn as_sandbox(&self, label: u32, now: BootNs) -> AsSandbox {
        let Some(worker) = self.workers.get(label) else { return AsSandbox::No };
        if worker.sandbox == Sandbox::Known {
            return AsSandbox::Is;
        }
        // Where nobody is asked, or nobody answers, a name alone makes no sandbox.
        let may_be_told = self.waiting.most > 0 && now.saturating_sub(worker.found) < ASKED_FOR;
        match may_be_told && self.looks_like_sandbox(label) {
            true => AsSandbox::MayTurnOut,
            false => AsSandbox::No,
        }
    }

    /// The container that only keeps a pod's namespaces runs one program, which does nothing. So may any other call its own.
    fn looks_like_sandbox(&self, label: u32) -> bool {
        let Some(worker) = self.workers.get(label).filter(|worker| worker.is_unnamed()) else { return false };
        let is_pause = |exe: &str| exe == "/pause" || exe.ends_with("/pause");
        let entry = worker.entry_program.as_ref();
        if let Some(exe) = entry.and_then(|program| program.exe.as_deref()) {
            return is_pause(exe);
        }
        let held = self.waiting.held.get(&label);
        held.and_then(|held| first_inside(&held.events)).is_some_and(|exec| is_pause(&exec.exe.view))
    }
}

/// The exec of a program that is not the runtime's own on its way in.
fn inside(event: &Event) -> Option<&Exec> {
    match &event.body {
        Body::Exec(exec) if !exec.is_nowhere() => Some(exec),
        _ => None,
    }
}

/// The first of them.
fn first_inside(events: &[Event]) -> Option<&Exec> {
    events.iter().find_map(inside)
}

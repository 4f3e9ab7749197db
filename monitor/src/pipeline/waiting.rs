//! Events of a worker whose pod is not known yet: they wait, so that the worker's profile is chosen by what it is.
//!
//! A new container's first events come before the kubelet's list has it. They are kept in their order, within bounds of time
//! and number, and judged when the pod is known, when their time is over, or when there are too many: nothing is
//! dropped, and nothing is held against a worker because something was not known. What was said by then is completed later.

use std::collections::BTreeMap;

use super::{Pipeline, profile};
use crate::event::{Body, BootNs, Event};
use crate::metadata::{Found, Pods};
use crate::worker::{Worker, WorkerPod};

/// Most events kept of one worker, and of all.
const WORKER_MAX: usize = 1024;
const ALL_MAX: usize = 16_384;
/// How long after it was found the pod of a worker is asked for: a sandbox is in no list, ever. ns.
const ASKED_FOR: BootNs = 60_000_000_000;

/// The events that wait, by worker.
#[derive(Default)]
pub(super) struct Waiting {
    /// How long; 0: nobody is asked, and nothing waits.
    most: BootNs,
    held: BTreeMap<u32, Held>,
    count: usize,
}

struct Held {
    until: BootNs,
    events: Vec<Event>,
}

impl Waiting {
    /// The events of a worker do not wait any more; in the order in which they happened.
    fn take(&mut self, label: u32) -> Vec<Event> {
        let Some(held) = self.held.remove(&label) else { return Vec::new() };
        self.count -= held.events.len();
        let mut events = held.events;
        // Two lanes were read into it one after the other.
        events.sort_by_key(|event| event.time);
        events
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

    /// Whether there are workers in pods of which not everything is known, and may still be learnt.
    pub fn wants_pods(&self, now: BootNs) -> bool {
        let young = |worker: &Worker| now.saturating_sub(worker.found) < ASKED_FOR;
        self.workers.iter().any(|worker| worker.gone.is_none() && worker.lacks_pod() && young(worker))
    }

    /// What is known of the pods on this node now.
    pub fn pods_known(&mut self, pods: &Pods, now: BootNs) {
        let lacking = self.workers.iter().filter(|worker| worker.lacks_pod());
        let found: Vec<(u32, Found)> =
            lacking.map(|worker| (worker.label, pods.find(&worker.place))).collect();
        for (label, found) in found {
            match found {
                Found::Whole(pod) => {
                    self.pod_known(label, pod, now);
                    self.let_go(label, now);
                }
                Found::Pod(pod) => {
                    self.pod_known(label, pod, now);
                    if self.is_sandbox(label) {
                        self.let_go(label, now);
                    }
                }
                Found::Nothing => {}
            }
        }
    }

    /// What a worker's pod is: its profile is chosen again, its processes' roles too, and open incidents say it.
    pub fn pod_known(&mut self, label: u32, pod: WorkerPod, now: BootNs) {
        let Some(worker) = self.workers.get_mut(label) else { return };
        if !worker.learn(pod) {
            return;
        }
        tracing::info!(worker = %worker.name, cgroup = %worker.path, "pod known");
        if let (Some(tap), Some(worker)) = (&mut self.tap, self.workers.get(label)) {
            tap.pod(worker, now);
        }
        if self.select(label, now) {
            self.place_again();
        }
        if let Some(worker) = self.workers.get(label) {
            self.detector.worker_known(worker, profile(Some(worker)), &self.rules, now);
        }
    }

    /// Begins to hold the events of a worker that was just found, if its pod is to be learnt first.
    pub(super) fn may_wait(&mut self, label: u32, now: BootNs) {
        let Some(worker) = self.workers.get_mut(label) else { return };
        if self.waiting.most > 0 && worker.lacks_pod() && worker.assignment.profile.is_none() {
            worker.awaits_pod = true;
            let until = now.saturating_add(self.waiting.most);
            self.waiting.held.insert(label, Held { until, events: Vec::new() });
        }
    }

    /// Keeps an event whose worker waits; gives back any other.
    pub(super) fn keep_waiting(&mut self, event: Event, now: BootNs) -> Option<Event> {
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
        let first = held.events.iter().all(|event| !matches!(event.body, Body::Exec(_)));
        let look = matches!(&event.body, Body::Exec(exec) if first && !exec.home.memfd)
            .then_some(event.subject.key.pid);
        held.events.push(event);
        self.waiting.count += 1;
        // The kernel's filter has to know where its secrets are from the first moment on.
        if let Some(pid) = look {
            self.files.look(label, pid, &self.rules.kernel_filter().literals, &*self.roots);
        }
        None
    }

    /// Judges what waited for too long.
    pub(super) fn let_overdue_go(&mut self, now: BootNs) {
        for label in self.waiting.overdue(now) {
            self.let_go(label, now);
        }
    }

    /// Judges what a worker's events were, and does not hold any more of them.
    pub(super) fn let_go(&mut self, label: u32, now: BootNs) {
        for event in self.waiting.take(label) {
            self.admit(event, now);
        }
    }

    /// The container that only keeps a pod's namespaces runs one program, which does nothing.
    fn is_sandbox(&self, label: u32) -> bool {
        let is_pause = |exe: &str| exe == "/pause" || exe.ends_with("/pause");
        let entry = self.workers.get(label).and_then(|worker| worker.entry_program.as_ref());
        let runs = entry.and_then(|program| program.exe.as_deref()).is_some_and(is_pause);
        let events = self.waiting.held.get(&label).map_or(&[][..], |held| &held.events);
        runs || events.iter().any(|event| matches!(&event.body, Body::Exec(exec) if is_pause(&exec.exe.view)))
    }
}

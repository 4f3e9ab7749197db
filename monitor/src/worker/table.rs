//! The workers the agent knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::container::{Place, place_of};
use super::host::HostContainer;
use super::pattern::Assignment;
use super::placed::{Placed, Placements};
use super::pod::{Sandbox, WorkerPod};
use crate::event::{BootNs, ProcessKey};
use crate::profile::{EntryProcess, ProfileId, Selection, WorkerFacts};

static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();

/// A worker: one cgroup subtree that runs workflow steps. Container and pod join it here when their metadata is read.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its label in the kernel's maps.
    pub label: u32,
    /// Its cgroup (v2 hierarchy).
    pub cgroup: u64,
    /// Path below the cgroup2 root, starting with `/`.
    pub path: Arc<str>,
    /// systemd unit, if its path names one.
    pub unit: Option<Arc<str>>,
    /// Container and pod, if its path names them.
    pub place: Place,
    /// Name on alerts: assigned, else the unit, else the container, else the last part of its path.
    pub name: Arc<str>,
    /// What the configuration says of it.
    pub assignment: Assignment,
    /// Its pod was asked for and is not known (yet): what it is expected to do is not either.
    pub awaits_pod: bool,
    /// Whether it is the container that only keeps its pod's namespaces.
    pub sandbox: Sandbox,
    /// What Kubernetes says of it, once that is known.
    pub pod: Option<WorkerPod>,
    /// What its host's container engine says of it, if it is in no pod.
    pub host: Option<HostContainer>,
    /// Image of its container, where that is known.
    pub image: Option<String>,
    /// Labels of its pod, where they are known.
    pub pod_labels: BTreeMap<String, String>,
    /// In which ways it is set up that it should not be, the worst first: ids of posture rules.
    pub posture: Vec<Arc<str>>,
    /// Who leaves its sandbox has the host.
    pub reaches_host: bool,
    /// When it was found, boot-time ns.
    pub found: BootNs,
    /// When its cgroup went away.
    pub gone: Option<BootNs>,
    /// Its first process.
    pub entry: Option<ProcessKey>,
    /// Something was executed inside: what joins from outside now is an operator or a probe.
    pub sealed: bool,
    /// Its profile, in the rules in force.
    pub profile: ProfileId,
    /// How that profile was chosen; `None`: not yet.
    pub selection: Option<Selection>,
    /// Its first program: what selectors by process look at.
    pub entry_program: Option<EntryProcess>,
}

impl Worker {
    /// A worker that was just found.
    pub fn new(
        label: u32,
        cgroup: u64,
        path: &str,
        unit: Option<Arc<str>>,
        assignment: Assignment,
        found: BootNs,
    ) -> Self {
        let place = place_of(path);
        let name = name_of(path, &assignment, unit.as_ref(), &place);
        Self {
            label,
            cgroup,
            path: path.into(),
            unit,
            place,
            name,
            assignment,
            awaits_pod: false,
            sandbox: Sandbox::No,
            pod: None,
            host: None,
            image: None,
            pod_labels: BTreeMap::new(),
            posture: Vec::new(),
            reaches_host: false,
            found,
            gone: None,
            entry: None,
            sealed: false,
            profile: ProfileId::GENERIC,
            selection: None,
            entry_program: None,
        }
    }
}

fn name_of(path: &str, assignment: &Assignment, unit: Option<&Arc<str>>, place: &Place) -> Arc<str> {
    let last = path.rsplit('/').next().unwrap_or(path);
    match (&assignment.name, unit, &place.container) {
        (Some(name), ..) => name.as_str().into(),
        (None, _, Some(container)) => container.short_name().into(),
        (None, Some(unit), None) if unit.ends_with(".service") => unit.clone(),
        _ => last.into(),
    }
}

impl Worker {
    /// The configuration says something else of it now. Its profile is chosen again by the caller.
    pub fn reassign(&mut self, assignment: Assignment) {
        self.name = match &self.pod {
            Some(pod) if assignment.name.is_none() => pod.long_name().into(),
            None if assignment.name.is_none() => {
                match self.host.as_ref().and_then(HostContainer::long_name) {
                    Some(name) => name.into(),
                    None => name_of(&self.path, &assignment, self.unit.as_ref(), &self.place),
                }
            }
            _ => name_of(&self.path, &assignment, self.unit.as_ref(), &self.place),
        };
        self.assignment = assignment;
    }

    /// Takes what Kubernetes says of it; whether that is anything new.
    pub fn learn(&mut self, pod: WorkerPod) -> bool {
        if self.pod.as_ref() == Some(&pod) {
            return false;
        }
        if self.assignment.name.is_none() {
            self.name = pod.long_name().into();
        }
        if pod.image.is_some() {
            self.image.clone_from(&pod.image);
        }
        self.pod_labels.clone_from(&pod.labels);
        self.awaits_pod &= pod.container.is_none();
        self.pod = Some(pod);
        true
    }

    /// Takes what its host's container engine says of it.
    pub fn learn_host(&mut self, host: HostContainer) {
        if let (None, Some(name)) = (&self.assignment.name, host.long_name()) {
            self.name = name.into();
        }
        self.image.clone_from(&host.image);
        self.host = Some(host);
    }

    /// It is its pod's sandbox, of which nothing is expected that its pod's profile says.
    pub fn be_sandbox(&mut self) {
        self.sandbox = Sandbox::Known;
        self.awaits_pod = false;
    }

    /// It calls its program as a sandbox does, and its pod's list does not have it (yet).
    pub fn may_be_sandbox(&mut self) {
        if self.sandbox != Sandbox::Known {
            self.sandbox = Sandbox::Guessed;
        }
    }

    /// It is taken for its pod's sandbox, rightly or not.
    pub fn is_sandbox(&self) -> bool {
        self.sandbox != Sandbox::No
    }

    /// Whether its path says that it is a container of a pod of this node, and which of them is not known.
    pub fn is_unnamed(&self) -> bool {
        let is_container = self.place.pod.is_some() && self.place.container.is_some();
        is_container && !self.place.nested && self.pod.as_ref().is_none_or(|pod| pod.container.is_none())
    }

    /// Whether its path names a pod of which not everything is known, and more can be.
    pub fn lacks_pod(&self) -> bool {
        self.is_unnamed() && self.sandbox != Sandbox::Known
    }

    /// What the rules choose its profile by.
    pub fn facts(&self) -> WorkerFacts {
        let pod = self.pod.as_ref().filter(|_| !self.is_sandbox());
        let labels = if self.is_sandbox() { &NO_LABELS } else { &self.pod_labels };
        WorkerFacts {
            cgroup: self.path.to_string(),
            unit: self.unit.as_deref().map(str::to_owned),
            entry: self.entry_program.clone(),
            assigned: self.assignment.profile.clone(),
            image: self.image.clone(),
            pod_labels: labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            namespace: pod.map(|pod| pod.namespace.clone()),
            owner: pod.and_then(|pod| pod.owner.clone()),
            container: match pod {
                Some(pod) => pod.container.clone(),
                None => self.host.as_ref().and_then(|host| host.name.clone()),
            },
        }
    }
}

/// The workers by label.
#[derive(Debug, Default)]
pub struct Workers {
    by_label: BTreeMap<u32, Worker>,
    placements: Placements,
}

impl Workers {
    /// How long a worker whose cgroup is gone is kept for late events, ns.
    pub const KEEP: BootNs = 30_000_000_000;

    /// Adds a worker.
    pub fn insert(&mut self, worker: Worker) {
        self.by_label.insert(worker.label, worker);
    }

    /// The worker of a label.
    pub fn get(&self, label: u32) -> Option<&Worker> {
        self.by_label.get(&label)
    }

    /// The worker of a label.
    pub fn get_mut(&mut self, label: u32) -> Option<&mut Worker> {
        self.by_label.get_mut(&label)
    }

    /// Removes a worker.
    pub fn remove(&mut self, label: u32) -> Option<Worker> {
        self.by_label.remove(&label)
    }

    /// All of them, by label.
    pub fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.by_label.values()
    }

    /// All of them, by label.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.by_label.values_mut()
    }

    /// Whose the cgroup of this id is, or was lately; `None`: it was not looked at.
    pub fn placed(&self, cgroup: u64) -> Option<Placed> {
        self.placements.get(cgroup)
    }

    /// Remembers whose a cgroup is.
    pub fn place(&mut self, cgroup: u64, placed: Placed) {
        self.placements.set(cgroup, placed);
    }

    /// Whose a cgroup is has to be found out again.
    pub fn unplace(&mut self, cgroup: u64) {
        self.placements.forget(cgroup);
    }

    /// A cgroup, a worker's or not, is gone.
    pub fn left(&mut self, cgroup: u64, now: BootNs) {
        self.placements.left(cgroup, now);
    }

    /// Number of workers whose cgroup exists.
    pub fn present(&self) -> usize {
        self.by_label.values().filter(|worker| worker.gone.is_none()).count()
    }

    /// Notes that `cgroup` is gone; whether it was the worker's own (and not one below it).
    pub fn gone(&mut self, label: u32, cgroup: u64, now: BootNs) -> bool {
        match self.by_label.get_mut(&label) {
            Some(worker) if worker.cgroup == cgroup && worker.gone.is_none() => {
                worker.gone = Some(now);
                true
            }
            _ => false,
        }
    }

    /// Removes the workers that have been gone for [`Self::KEEP`]; returns their labels.
    pub fn expire(&mut self, now: BootNs) -> Vec<u32> {
        self.placements.expire(now);
        let expired: Vec<u32> = self
            .iter()
            .filter(|worker| worker.gone.is_some_and(|gone| now.saturating_sub(gone) >= Self::KEEP))
            .map(|worker| worker.label)
            .collect();
        for label in &expired {
            self.by_label.remove(label);
        }
        expired
    }
}

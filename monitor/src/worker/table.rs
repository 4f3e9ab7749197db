//! The workers the agent knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pattern::Assignment;
use crate::event::{BootNs, ProcessKey};
use crate::profile::{EntryProcess, ProfileId, Selection, WorkerFacts};

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
    /// Name on alerts: assigned, else the unit, else the last part of its path.
    pub name: Arc<str>,
    /// What the configuration says of it.
    pub assignment: Assignment,
    /// Image of its container, where that is known.
    pub image: Option<String>,
    /// Labels of its pod, where they are known.
    pub pod_labels: BTreeMap<String, String>,
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
        let last = path.rsplit('/').next().unwrap_or(path);
        let name = match (&assignment.name, &unit) {
            (Some(name), _) => name.as_str().into(),
            (None, Some(unit)) if unit.ends_with(".service") => unit.clone(),
            _ => last.into(),
        };
        Self {
            label,
            cgroup,
            path: path.into(),
            unit,
            name,
            assignment,
            image: None,
            pod_labels: BTreeMap::new(),
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

impl Worker {
    /// What the rules choose its profile by.
    pub fn facts(&self) -> WorkerFacts {
        WorkerFacts {
            cgroup: self.path.to_string(),
            unit: self.unit.as_deref().map(str::to_owned),
            entry: self.entry_program.clone(),
            assigned: self.assignment.profile.clone(),
            image: self.image.clone(),
            pod_labels: self.pod_labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            ..WorkerFacts::default()
        }
    }
}

/// The workers by label.
#[derive(Debug, Default)]
pub struct Workers {
    by_label: BTreeMap<u32, Worker>,
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

//! What is written of a worker.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{FileFact, ProcessFact};
use crate::event::BootNs;
use crate::profile;
use crate::worker::{Assignment, HostContainer, Worker, WorkerPod, unit_of};

/// A worker, and what was read of the host when it was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerFact {
    /// When it was found.
    pub time: BootNs,
    /// Label of its events.
    pub label: u32,
    /// Id of its cgroup.
    #[serde(default)]
    pub cgroup: u64,
    /// Path of its cgroup.
    pub path: String,
    /// Name the configuration gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Profile the configuration assigns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Its container image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Its pod's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_labels: BTreeMap<String, String>,
    /// Its pod was asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_pod: bool,
    /// Its pod, if that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<WorkerPod>,
    /// What its host's container engine says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostContainer>,
    /// Facts that the configuration states of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, Vec<String>>,
    /// Health commands that the configuration names for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<Vec<String>>,
    /// Its cgroup was made while the agent watched.
    #[serde(default)]
    pub fresh: bool,
    /// Processes that ran in it already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessFact>,
    /// Files of the rules that lie in its root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileFact>,
}

impl WorkerFact {
    /// What is known of a worker, without what was read of its processes and root.
    pub fn of(worker: &Worker, fresh: bool) -> Self {
        Self {
            time: worker.found,
            label: worker.label,
            cgroup: worker.cgroup,
            path: worker.path.to_string(),
            name: worker.assignment.name.clone(),
            profile: worker.assignment.profile.clone(),
            image: worker.image.clone(),
            pod_labels: worker.pod_labels.clone(),
            awaits_pod: worker.awaits_pod,
            pod: worker.pod.clone(),
            host: worker.host.clone(),
            facts: worker.assignment.facts.written(),
            probes: worker.assignment.probes.clone(),
            fresh,
            ..Self::default()
        }
    }

    /// What is wrong with what it states, if something is.
    pub fn check(&self) -> Result<(), String> {
        let facts = profile::Facts::new(&self.facts);
        facts.map(|_| ()).map_err(|error| format!("worker {}: {error}", self.path.escape_default()))
    }

    /// The worker.
    pub fn worker(&self) -> Worker {
        let assignment = Assignment {
            profile: self.profile.clone(),
            name: self.name.clone(),
            // Checked when it was read.
            facts: profile::Facts::new(&self.facts).unwrap_or_default(),
            probes: self.probes.clone(),
        };
        let unit = unit_of(&self.path).map(Arc::from);
        let worker = Worker::new(self.label, self.cgroup, &self.path, unit, assignment, self.time);
        let mut worker = Worker { image: self.image.clone(), pod_labels: self.pod_labels.clone(), ..worker };
        worker.awaits_pod = self.awaits_pod;
        if let Some(host) = &self.host {
            worker.learn_host(host.clone());
        }
        if let Some(pod) = &self.pod {
            worker.learn(pod.clone());
        }
        worker
    }
}

/// What a worker's pod is became known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodFact {
    /// When.
    pub time: BootNs,
    /// Label of the worker.
    pub label: u32,
    /// What it is.
    pub pod: WorkerPod,
    /// It is its pod's sandbox.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sandbox: bool,
    /// What was read of its processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessFact>,
}

/// A worker's root was looked at again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerLook {
    /// When.
    pub time: BootNs,
    /// Label.
    pub label: u32,
    /// What lies in it now.
    pub files: Vec<FileFact>,
}

/// What the process with which an incident began could reach was looked up: after its first alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReachLook {
    /// When.
    pub time: BootNs,
    /// Label of its worker.
    pub label: u32,
    /// The process.
    pub pid: u32,
    /// What was read of it, or of those above it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessFact>,
}

/// How a worker is set up was looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetupLook {
    /// When.
    pub time: BootNs,
    /// Label of the worker.
    pub label: u32,
    /// The process that was looked at.
    pub pid: u32,
    /// What was read of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessFact>,
}

/// A worker's cgroup went away, or its events do not wait any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerGone {
    /// When.
    pub time: BootNs,
    /// Label.
    pub label: u32,
}

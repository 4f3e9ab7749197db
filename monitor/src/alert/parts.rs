//! The parts of an alert: who did it, to what, what it may have cost and where it happened.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The worker: one cgroup subtree that runs workflow steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerInfo {
    /// Its name: assigned, or made from pod, container or unit.
    pub name: String,
    /// Workflow engine, `null` if the profile does not say.
    pub engine: Option<String>,
    /// Profile in force.
    pub profile: String,
    /// Its cgroup.
    pub cgroup: CgroupInfo,
    /// systemd unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Its container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerInfo>,
    /// Its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodInfo>,
    /// Kubernetes node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// In which ways it is set up that it should not be, the worst first: ids of posture rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub posture: Vec<String>,
}

/// A cgroup.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CgroupInfo {
    /// cgroup2 id.
    pub id: u64,
    /// Path below the cgroup2 root.
    pub path: String,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContainerInfo {
    /// Id.
    pub id: String,
    /// Runtime.
    pub runtime: Option<String>,
    /// Image as the runtime names it.
    pub image: Option<String>,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PodInfo {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What owns it, `KIND/NAME`: of a replica set's pod the deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its service account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
}

/// Which workflow run did it, each field with its source and trust.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attribution {
    /// Workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<Attributed>,
    /// Run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Attributed>,
    /// Step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Attributed>,
    /// Actor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Attributed>,
    /// Tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Attributed>,
    /// Values that could not be told apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Attributed>,
}

/// A value of the attribution.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attributed {
    /// The value.
    pub value: String,
    /// Where it was read.
    pub source: String,
    /// `engine`, `controller`, `author`, `candidate` or `scan`.
    pub trust: String,
}

/// The acting process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessInfo {
    /// `<boot id>:<start>:<pid>`.
    pub key: String,
    /// Process id on the host.
    pub pid: u32,
    /// Process id in its innermost namespace.
    pub ns_pid: Option<u32>,
    /// Parent's process id on the host.
    pub ppid: Option<u32>,
    /// Start time, RFC 3339.
    pub start: Option<String>,
    /// Resolved executable.
    pub exe: Option<String>,
    /// Arguments, redacted; `null` if they were not seen.
    pub argv: Option<Vec<String>>,
    /// Working directory.
    pub cwd: Option<String>,
    /// Effective user id.
    pub uid: Option<u32>,
    /// Role in its worker.
    pub role: Option<String>,
    /// From the parent upwards, as far as the worker's first process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<Ancestor>,
}

/// An ancestor of the acting process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ancestor {
    /// Process id on the host.
    pub pid: u32,
    /// Resolved executable.
    pub exe: Option<String>,
    /// Role in its worker.
    pub role: Option<String>,
}

/// A file that was opened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FileInfo {
    /// Path as the worker sees it; `null` if it could not be resolved.
    pub path: Option<String>,
    /// Path on the host, where it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<String>,
    /// How: `read`, `write`, `create`, `path`, …
    pub flags: Vec<String>,
    /// Device and inode, `DEV:INO`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inode: Option<String>,
    /// Identity of the catalogue that the file is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// How its mount relates to the process: `outside` and the like, where it is not the process's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<String>,
    /// Process a procfs file is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_pid: Option<u32>,
}

/// The peer of a connect or send.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkInfo {
    /// `tcp`, `udp`, `unix` or another protocol's name.
    pub protocol: String,
    /// IP address, or the socket's path (an abstract one with a leading `@`).
    pub address: String,
    /// Port, for IP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Entry of the endpoint catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// `before` or `after` service translation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address_stage: Option<String>,
    /// What became of the connect, once it is known: `established`, `refused`, `timeout`, `unreachable`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

/// References into public catalogues, by catalogue: `attack` (MITRE ATT&CK), `owasp_nhi`, `owasp_asi`, `nist_csf`, `alias`.
pub type Refs = BTreeMap<String, Vec<String>>;

/// A time or place where events were, or may have been, missed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GapInfo {
    /// Why: `lost`, `throttled`, `law-broken`, `unhooked`, `held`, …
    pub reason: String,
    /// Id of what is the matter: the same in every alert of it, from `open` to `closed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Signal, if it is one signal's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Ring buffer lane, if it is one lane's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// CPU, if it is one CPU's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// Start, RFC 3339.
    pub from: String,
    /// End, RFC 3339; `null` while it lasts.
    pub to: Option<String>,
    /// Events missed, or alerts that are not delivered; `null` if that cannot be known.
    pub lost: Option<u64>,
    /// Of alerts that are not delivered to this sink: their numbers in its stream (`delivery.seq`), as first and last of
    /// each run. Others that were delivered may lie within a run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sequences: Vec<[u64; 2]>,
    /// More, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The agent's own condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HealthInfo {
    /// Name of the condition, for example `rules-refused`.
    pub condition: String,
    /// What it is about, where several can be in that condition at a time (a worker, an exception): condition and subject are
    /// the same in every alert of it, from `open` to `closed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What is the matter and what to do.
    pub detail: String,
}

/// The host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostInfo {
    /// Host name.
    pub name: String,
    /// `cluster` of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// From /etc/machine-id.
    pub machine_id: Option<String>,
    /// From /proc/sys/kernel/random/boot_id.
    pub boot_id: Option<String>,
    /// Kernel release; left out of heartbeats.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kernel: String,
    /// Whether the kernel says the clock is synchronised.
    pub clock_synced: Option<bool>,
}

/// The agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentInfo {
    /// Version.
    pub version: String,
    /// Digest of the rules in force.
    pub rules: String,
}

/// How this copy was sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// Name of the sink.
    pub sink: String,
    /// Id of this run of the sink.
    pub stream: String,
    /// Number in the stream, from 1: a receiver sees a hole.
    pub seq: u64,
}

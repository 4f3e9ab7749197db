//! The lines of a recording.
//!
//! A recording is NDJSON. The first line is the [`Header`]; each further one is a [`Line`]. Lines are in the order in which
//! the agent took them; times are those of the boot clock, in nanoseconds. Fields that say nothing are left out, unknown
//! ones are refused: a recording of a newer version is not half understood.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::detect::GapReport;
use crate::event::{BootNs, Event, FileId, Lane, Path, ProcessKey, Signal};
use crate::process::{Program, Scanned, Stamp};
use crate::profile::{self, Setup, Trust};
use crate::worker::{Assignment, Execution, FoundFile, Worker, WorkerPod, unit_of};

/// The `schema` of this version's recordings.
pub const RECORDING_SCHEMA: &str = "sandwatch/recording/v1";

/// The first line: where the recording comes from and on what it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`RECORDING_SCHEMA`].
    pub schema: String,
    /// Whether it was recorded or written by hand.
    pub made: Made,
    /// What it shows, or how it was made.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// The program that wrote it.
    pub by: String,
    /// Name of the host.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Id of the boot: every id of an incident or alert is made from it.
    pub boot_id: String,
    /// Kernel release.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kernel: String,
    /// Wall-clock time of boot, RFC 3339: what every `time` counts from.
    pub boot: String,
    /// Where cgroup2 was mounted; `/sys/fs/cgroup` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_root: Option<String>,
    /// By signal, the rung it was seen through.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rungs: BTreeMap<String, String>,
    /// What was taken out.
    pub redaction: Redaction,
    /// The workers known when the recording began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerFact>,
}

/// How a recording came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Made {
    /// By the probes of a running kernel.
    Recorded,
    /// By hand, from what is known of a program.
    Built,
}

impl Made {
    /// The word in the header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Built => "built",
        }
    }
}

/// What was taken out of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Redaction {
    /// Secrets in arguments, paths and captured variables, as in alerts.
    Secrets,
    /// Nothing.
    None,
}

/// A line after the header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// A worker was found.
    Worker(Box<WorkerFact>),
    /// What was read of the host while the next event was judged.
    Facts(Facts),
    /// What a worker's pod is became known.
    Pod(Box<PodFact>),
    /// The events of a worker had waited for that; they follow.
    Waited(WorkerGone),
    /// An event.
    Event(Box<Event>),
    /// A worker's root was looked at again.
    Look(WorkerLook),
    /// What the process of a new incident could reach was looked up.
    Reach(ReachLook),
    /// How a worker is set up was looked at.
    Setup(SetupLook),
    /// A worker's cgroup went away.
    Gone(WorkerGone),
    /// Events were, or may have been, missed.
    Gap(GapFact),
}

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

/// What was read of the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessFact>,
    /// Files of the rules in the root of a worker's process; absent: no root was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<FileFact>>,
    /// What the engine's event log said was running.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub running: Vec<Execution>,
}

impl Facts {
    /// Nothing was read.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.files.is_none() && self.running.is_empty()
    }
}

/// A process as /proc showed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessFact {
    /// Pid, and start in whole ticks.
    pub key: ProcessKey,
    /// What was read of it; absent if only its environment was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<ProgramFact>,
    /// Captured variables; absent if they were not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<(Arc<str>, Arc<str>)>>,
    /// Names of its variables that look like credentials, or carry an identity; absent if they were not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_names: Option<Vec<Arc<str>>>,
    /// The identities it may read; absent if they were not looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readable: Option<ReadableFact>,
    /// How it is set up; absent if that was not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<Setup>,
}

impl ProcessFact {
    /// A process of which nothing was read yet.
    pub fn new(key: ProcessKey) -> Self {
        Self { key, program: None, env: None, credential_names: None, readable: None, setup: None }
    }
}

/// The identities that a process may read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadableFact {
    /// Their ids.
    pub identities: Vec<Arc<str>>,
    /// There may be more.
    #[serde(default)]
    pub cut: bool,
}

/// A process's program as /proc showed it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramFact {
    /// Parent.
    pub ppid: u32,
    /// Pid in its innermost namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ns_pid: Option<u32>,
    /// Effective uid.
    pub uid: u32,
    /// Effective gid.
    pub gid: u32,
    /// Executable.
    pub exe: Path,
    /// Its identity.
    #[serde(default)]
    pub exe_id: FileId,
    /// Arguments; absent if they could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<Arc<str>>>,
    /// Working directory.
    #[serde(default)]
    pub cwd: Path,
    /// Size of the executable, bytes.
    #[serde(default)]
    pub size: u64,
    /// Its change time, ns since the epoch.
    #[serde(default)]
    pub ctime: u64,
}

impl ProgramFact {
    /// As it was read.
    pub fn of(scanned: &Scanned) -> Self {
        let program = &scanned.program;
        Self {
            ppid: scanned.ppid,
            ns_pid: scanned.ns_pid,
            uid: scanned.uid,
            gid: scanned.gid,
            exe: program.exe.clone(),
            exe_id: program.exe_id,
            argv: program.argv_known.then(|| program.argv.clone()),
            cwd: program.cwd.clone(),
            size: program.stamp.size,
            ctime: program.stamp.ctime,
        }
    }

    /// As it is read.
    pub fn scanned(&self, key: ProcessKey) -> Scanned {
        Scanned {
            key,
            ppid: self.ppid,
            ns_pid: self.ns_pid,
            uid: self.uid,
            gid: self.gid,
            program: Program {
                exe: self.exe.clone(),
                given: None,
                argv: self.argv.clone().unwrap_or_default(),
                argv_truncated: self.argv.is_none(),
                argv_known: self.argv.is_some(),
                cwd: self.cwd.clone(),
                trust: Trust::Scanned,
                stamp: Stamp { size: self.size, ctime: self.ctime },
                ..Program::unknown(self.exe_id)
            },
        }
    }
}

/// A file of the rules that lies in a worker's root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileFact {
    /// Its path there.
    pub path: Arc<str>,
    /// Device and inode.
    pub id: FileId,
    /// Inode generation.
    #[serde(default)]
    pub generation: u32,
}

impl FileFact {
    /// The file.
    pub fn found(&self) -> FoundFile {
        FoundFile { id: self.id, generation: self.generation }
    }
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

/// A gap that the agent found while it recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GapFact {
    /// What happened: a [`GapReport`]'s reason.
    pub reason: String,
    /// Start; 0: since the agent's.
    #[serde(default)]
    pub from: BootNs,
    /// End.
    pub to: BootNs,
    /// Events missed; absent: cannot be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// Label of the worker, if it is one worker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<u32>,
    /// Lane and signal, if it is those of one, and CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// Signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// In words.
    #[serde(default)]
    pub detail: String,
}

/// The reasons an agent gives; one that this version does not know is told as the last.
const GAP_REASONS: [&str; 8] = [
    "lost",
    "throttled",
    "law-broken",
    "unwatched",
    "undecodable",
    "history dropped, the process table is full",
    "runs of a probe skipped by the kernel",
    "missed while recording",
];

impl GapFact {
    /// What a report says.
    pub fn of(gap: &GapReport) -> Self {
        Self {
            reason: gap.reason.to_owned(),
            from: gap.from,
            to: gap.to,
            lost: gap.lost,
            label: gap.label,
            lane: gap.lane.map(|lane| lane.name().to_owned()),
            signal: gap.signal.map(|signal| signal.name().to_owned()),
            cpu: gap.cpu,
            detail: gap.detail.clone(),
        }
    }

    /// The report.
    pub fn report(self) -> GapReport {
        let reasons = GAP_REASONS.into_iter();
        GapReport {
            reason: reasons
                .clone()
                .find(|reason| **reason == *self.reason)
                .or(reasons.last())
                .unwrap_or("lost"),
            lane: Lane::ALL.iter().copied().find(|lane| Some(lane.name()) == self.lane.as_deref()),
            signal: Signal::ALL.iter().copied().find(|signal| Some(signal.name()) == self.signal.as_deref()),
            cpu: self.cpu,
            from: self.from,
            to: self.to,
            lost: self.lost,
            label: self.label,
            detail: self.detail,
        }
    }
}

impl Line {
    /// When it was.
    pub fn time(&self) -> Option<BootNs> {
        match self {
            Self::Worker(worker) => Some(worker.time),
            Self::Pod(pod) => Some(pod.time),
            Self::Waited(waited) => Some(waited.time),
            Self::Event(event) => Some(event.time),
            Self::Look(look) => Some(look.time),
            Self::Reach(look) => Some(look.time),
            Self::Setup(look) => Some(look.time),
            Self::Gone(gone) => Some(gone.time),
            Self::Gap(gap) => Some(gap.to),
            Self::Facts(_) => None,
        }
    }
}

//! The lines of a recording.
//!
//! A recording is NDJSON. The first line is the [`Header`]; each further one is a [`Line`]. Lines are in the order in which
//! the agent took them; times are those of the boot clock, in nanoseconds. Fields that say nothing are left out, unknown
//! ones are refused: a recording of a newer version is not half understood. `worker` has what is written of workers, `facts` what was read
//! of the host, `gap` what was missed.

mod facts;
mod gap;
mod worker;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::{BootNs, Event};

pub use facts::{Facts, FileFact, ProcessFact, ProgramFact, ReadableFact};
pub use gap::GapFact;
pub(super) use worker::PodFact;
pub use worker::{ReachLook, SetupLook, WorkerFact, WorkerGone, WorkerLook};

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

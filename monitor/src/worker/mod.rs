//! Workers: which cgroups run workflow steps, and what is known of each.
//!
//! `pattern` compiles what the configuration watches, `discovery` looks for matching cgroups (`tree`), labels them in the
//! kernel with ids from `labels` and enters them into the `table`; `container` reads off the path which container and pod
//! each is; `watch` notices new ones; `secrets` knows where the
//! catalogue's files are in each; `placed` remembers by a cgroup's id whose it is; `outside` finds a worker's processes in
//! cgroups beside it; `reach` says what a process of one could read.

mod container;
mod discovery;
mod executions;
mod host;
mod labels;
mod outside;
mod pattern;
mod placed;
mod pod;
mod reach;
mod secrets;
mod table;
mod tree;
mod watch;

pub use container::{Container, Place, Runtime, place_of};
pub use discovery::{Change, Discovery, LabelMap};
pub use executions::Execution;
pub use host::HostContainer;
pub use outside::{Host, SystemHost, outside};
pub use pattern::{Assignment, CgroupPatterns, PatternError, unit_of};
pub use placed::Placed;
pub use pod::{Sandbox, WorkerPod};
pub use reach::{Reach, is_credential_name};
pub use secrets::{FoundFile, KnownFiles, RootFiles, SystemRoots};
pub use table::{Worker, Workers};
pub use tree::{CgroupTree, MountedTree};
pub use watch::CgroupWatch;

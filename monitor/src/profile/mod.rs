//! Rules: what a worker is expected to do, and what is a sign of escape whoever does it.
//!
//! Rule files (YAML) are read by `doc` (the serde types and their JSON Schema), compiled by `compile` into a [`RuleSet`]
//! (immutable, shared behind an `Arc`, swapped whole on reload), and asked four things: which profile a worker has
//! ([`RuleSet::select`]), which role a process takes ([`RuleSet::role_of_exec`]), what an event breaks
//! ([`RuleSet::judge`]) and which paths the kernel has to report ([`RuleSet::kernel_filter`]); a fifth, asked seldom, is in which
//! ways a worker is set up that it should not be ([`RuleSet::postures`]).
//!
//! Nothing here looks at the host: facts come in as arguments, so every answer can be tested without a kernel.

mod actor;
pub mod attribution;
mod compile;
pub mod doc;
mod error;
mod explain;
mod facts;
mod finding;
mod held;
mod judge;
mod loader;
mod model;
mod pattern;
mod posture;
mod role;
pub mod rule_test;
mod ruleset;
#[cfg(test)]
mod runbooks;
pub mod schema;
mod secret_path;
mod select;
mod setup;
#[cfg(test)]
mod shipped;
#[cfg(test)]
mod tests;

pub(crate) use compile::{parse_yaml, read_file, rule_files};
pub(crate) use error::{nearest, suggest};

pub use actor::{
    Actor, Image, Pin, ProcTarget, ProfileId, Role, RoleContext, RoleId, RoleKind, Trust, WorkerNames,
};
pub use error::{RuleError, RuleErrors};
pub use facts::{FactError, Facts};
pub use finding::{
    Also, BINARY_CHANGED, Certainty, Endpoint, Finding, FindingKind, Identity, LOADER_INJECTION, Leaked,
    OPERATOR_SESSION, ProcessRead, ReadOf, Refs, Respond, RuleRef, Tier,
};
pub use judge::Verdict;
pub use loader::LOADER_VARIABLES;
pub use posture::{PostureFinding, PostureVerdict, SetUp};
pub use ruleset::{
    DetectionInfo, EntryProcess, ExceptionInfo, KernelFilter, LiteralPath, RoleTaken, RuleSet, SelectRank,
    Selection, Source, WatchedKey, WorkerFacts,
};
pub use secret_path::SecretPath;
pub use setup::{Capabilities, Environment, Mounted, Mounts, NamespaceName, Setup};

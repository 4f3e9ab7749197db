//! Events: what a probe's record means, in the agent's own types.
//!
//! `types` has the event and its parts (`exec` what an exec carries, `text` paths and text); `decode` turns a record's bytes
//! into one (and refuses what is malformed with a counted error); `announce` reads the one kind that is no worker's event; `join` puts the two lanes back into one order. Everything
//! after this room works on [`Event`] and never sees wire bytes. Events are written to and read from recordings by serde:
//! fields that say nothing are left out, unknown ones are refused.

mod announce;
mod decode;
mod exec;
#[cfg(test)]
pub(crate) mod fixture;
pub mod join;
mod names;
mod text;
mod types;

pub use announce::{NewCgroup, new_cgroup};
pub use decode::{DecodeError, decode, outcome_of_errno};
pub use exec::{ExeHome, Exec, Namespaces, Stdio};
pub use text::{Path, Text};
pub use types::*;

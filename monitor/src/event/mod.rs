//! Events: what a probe's record means, in the agent's own types.
//!
//! `types` has the event and its parts; `decode` turns a record's bytes into one (and refuses what is malformed with a
//! counted error); `join` puts the two lanes back into one order. Everything after this room works on [`Event`] and
//! never sees wire bytes.

mod decode;
#[cfg(test)]
pub(crate) mod fixture;
pub mod join;
mod types;

pub use decode::{DecodeError, decode, outcome_of_errno};
pub use types::*;

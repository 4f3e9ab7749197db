//! Events: what a probe's record means, in the agent's own types.
//!
//! `types` has the event and its parts; `decode` turns a record's bytes into one (and refuses what is malformed with a
//! counted error). Everything after this room works on [`Event`] and never sees wire bytes.

mod types;

pub use types::*;

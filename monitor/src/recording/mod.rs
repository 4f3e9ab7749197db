//! Recordings: what the probes saw of some workers, in a file that can be played again.
//!
//! `format` has the lines of a recording (NDJSON: a header, then workers, events and what was read of the host while they
//! were judged), `read` and `write` the two ways through a file; `redact` takes out what a file must not hold. `replay` sends
//! a recording through the very pipeline that judges live events, with the recorded clock and without looking at this host
//! (`facts` answers in its place). `scenario` makes a recording from a list of steps written by hand, `expect` holds
//! what came out against what must come out, and `suite` does both for every recording below `tests/recordings` of a rules
//! folder.

mod expect;
mod facts;
mod format;
mod read;
mod redact;
mod replay;
mod scenario;
mod suite;
#[cfg(test)]
mod tests;
mod write;

pub use expect::{ExpectationDoc, ExpectedIncident};
pub use format::{
    Facts, FileFact, GapFact, Header, Line, Made, ProcessFact, ProgramFact, RECORDING_SCHEMA, ReachLook,
    ReadableFact, Redaction, SetupLook, WorkerFact, WorkerGone, WorkerLook,
};
pub use read::{MAX_LINE, ReadError, Reader};
pub use replay::{Replay, Replayed};
pub use scenario::{Scenario, ScenarioDoc};
pub use suite::{SCHEMAS, run_folders, schema_text};
pub use write::{Recorder, WriteError, Written};

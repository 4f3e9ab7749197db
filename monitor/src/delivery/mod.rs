//! From the pipeline to the receivers: what is appended here arrives, or is named as lost.
//!
//! An alert becomes a [`Record`] in the spool and is formatted only when it is sent. The engine gives every sink a thread
//! of its own, so that no receiver delays another, or the agent. A sink that is a log (a file, a SIEM) is a
//! [`Transport`]: it is handed batches in order and answers for each item; cursors, retries and dead letters are the
//! engine's. A sink that is a state (a pager) reads the same records through a [`Consumer`] and keeps one row per incident.
//!
//! `spool` keeps records until every sink has them, `engine` has the threads.

mod clock;
mod consumer;
mod driver;
mod engine;
mod fault;
mod record;
mod secret;
mod spool;
mod transport;

pub use clock::{Clock, SystemClock};
pub use consumer::{Consumer, Stored};
pub use driver::Driver;
#[cfg(test)]
pub(crate) use engine::NoThread;
pub use engine::{Dropped, Engine, Filter, Look, Meter, Setup, SinkStats, SpoolStats, Wanted};
pub(crate) use engine::{Form, ask_replay, count_dead, replay_waits};
pub(crate) use fault::caught;
pub use record::{Class, Record};
pub(crate) use secret::keep_out_of_core_dumps;
pub use secret::{Secret, SecretError};
pub(crate) use spool::is_taken;
pub use spool::scan as scan_segment;
pub use transport::{Item, Limits, Outcome, Promise, Transport};

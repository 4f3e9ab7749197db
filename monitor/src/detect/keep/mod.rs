//! Incidents outlive the agent: each has a file in the state directory.
//!
//! A file is written after each alert of its incident was handed to the sinks (and every few seconds for what only repeats),
//! whole and under another name first, so that a killed agent leaves the old one or the new one. It is not forced to the disk:
//! that would hold up the alerts behind it, and what a power cut takes is the boot those incidents belong to. `saved` is what a
//! file holds, `store` where the files are, `request` how a person's word to close one gets to the running agent, `resume` how
//! the detector goes on.

mod request;
mod resume;
mod saved;
mod store;

pub use request::CloseRequest;
pub use saved::Saved;
pub use store::{Store, StoreError, read_incidents};
pub(crate) use store::{leave_request, request_waits};

//! From findings to incidents to alerts.
//!
//! A finding with its scene (`scene`: the event, the process and its lineage, the worker) joins the incident of its run or
//! lineage (`incident`); `describe` says in an alert's words what the scene shows; `deviation` keeps what is merely unlisted
//! from being said twice; `gap` speaks of what was, or may have been, missed; `envelope` is what every alert carries.

mod describe;
mod deviation;
mod envelope;
mod gap;
mod incident;
mod scene;

pub use envelope::{Envelope, HostFacts, WallClock, boot_now};
pub use gap::{GapReport, Gaps};
pub use incident::{Detector, IDLE, QUIET};
pub use scene::Scene;

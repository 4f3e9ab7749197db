//! The alert: what one looks like, how it is made safe to show, and how it is written.
//!
//! `model`, `incident`, `radius`, `evidence`, `posture` and `parts` are the shape (the contract with every receiver:
//! `rules/schema/alert.json`). An alert enters a
//! format only as a [`SafeAlert`], which is redacted and within its size, so that no
//! format can forget either. [`render`] is the door to the formats: it fits an alert into what a sink takes (`shrink`). [`Level`] is
//! the one table of severities. `detect` fills alerts in, `sink` sends them on; neither formats anything.

mod bound;
mod cef;
pub mod ecs;
pub mod escape;
mod evidence;
mod format;
mod heartbeat;
pub mod human;
mod incident;
pub mod json;
mod model;
mod ocsf;
mod parts;
mod posture;
mod radius;
pub mod redact;
mod schema;
mod severity;
mod shrink;

pub use bound::{MAX_ALERT, SafeAlert};
pub use evidence::*;
pub use format::{LEAST_TEXT, MIN_IN_ENVELOPE, MIN_MAX_BYTES, render};
pub(crate) use heartbeat::shorten as shorten_heartbeat;
pub use heartbeat::{HeartbeatInfo, LostCounts, MAX_HEARTBEAT};
pub use incident::*;
pub use model::*;
pub use parts::*;
pub use posture::*;
pub use radius::*;
pub use schema::schema;
pub use severity::Level;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
pub(crate) use format::tests::hostile_alert;
#[cfg(test)]
pub(crate) mod schema_tests;
#[cfg(test)]
mod tests;

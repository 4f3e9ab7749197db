//! The alert: what one looks like, how it is made safe to show, and how it is written.
//!
//! `model`, `incident`, `radius`, `evidence` and `parts` are the shape (the contract with every receiver:
//! `rules/schema/alert.json`). An alert enters a
//! format only as a [`SafeAlert`], which is redacted and within its size, so that no
//! format can forget either. `detect` fills alerts in, `sink` sends them on; neither formats anything.

mod bound;
pub mod escape;
mod evidence;
pub mod human;
mod incident;
pub mod json;
mod model;
mod parts;
mod radius;
pub mod redact;
mod schema;

pub use bound::{MAX_ALERT, SafeAlert};
pub use evidence::*;
pub use incident::*;
pub use model::*;
pub use parts::*;
pub use radius::*;
pub use schema::schema;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
pub(crate) mod schema_tests;
#[cfg(test)]
mod tests;

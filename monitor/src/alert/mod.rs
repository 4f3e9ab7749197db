//! The alert: what one looks like, how it is made safe to show, and how it is written.
//!
//! `model` and `parts` are the shape (the contract with every receiver: `rules/schema/alert.json`). An alert enters a
//! format only through one door, which redacts arguments and keeps the line within its bound, so no
//! format can forget to. `detect` fills alerts in, `sink` sends them on; neither formats anything.

mod model;
mod parts;

pub use model::*;
pub use parts::*;

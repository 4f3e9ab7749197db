//! The agent's configuration: `/etc/sandwatch/sandwatch.yaml`.
//!
//! `types` and `sink` are the file's shape, `load` reads one and refuses what it does not understand, `check` what cannot work, `size` has the little
//! languages of byte counts and durations. The command line overrides single values after loading; the agent itself
//! only ever sees a [`Config`].

mod check;
mod listen;
mod load;
#[cfg(test)]
mod reference;
mod schema;
mod sink;
mod size;
mod types;

pub use listen::{DEFAULT_LISTEN, listen_address};
pub use load::{ConfigError, load, parse, state_dir_of};
pub use schema::schema;
pub use sink::*;
pub use size::{Bytes, Span};
pub use types::*;

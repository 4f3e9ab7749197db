//! Looking at the agent itself: its log, and the summary line it ends with.
//!
//! The log goes to standard error: standard output is for alerts alone.

mod log;
mod summary;

pub use log::{LogFormat, start_log};
pub use summary::Summary;

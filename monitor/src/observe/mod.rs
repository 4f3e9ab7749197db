//! Looking at the agent itself: its log. It goes to standard error: standard output is for alerts alone.

mod log;

pub use log::{LogFormat, start_log};

//! Looking at the agent itself: its metrics, and its log. That goes to standard error: standard output is for alerts alone.

mod console;
mod log;
pub mod metrics;
mod thread;

pub use console::{complain, say};
pub use log::{LogFormat, start_log};
pub use thread::start_thread;

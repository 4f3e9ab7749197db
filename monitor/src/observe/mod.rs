//! Looking at the agent itself: its log. It goes to standard error: standard output is for alerts alone.

mod console;
mod log;
mod thread;

pub use console::{complain, say};
pub use log::{LogFormat, start_log};
pub use thread::start_thread;

//! `sandwatch demo`: a toy workflow engine leaves its sandbox while the real agent watches, on this very kernel.
//!
//! `stage` makes what the play needs (a cgroup, a folder, a planted secret that is none, a collector) and takes it all
//! away again, whatever happens; `toy` is the engine with its runner and steps, played by this program under other names;
//! `agent` is `sandwatch run` as a child process, as anybody would start it; `tally` holds the alerts against what has to
//! be seen; `play` tells the story, and `recorded` tells it again from a
//! recording, on machines that will not have it.

mod agent;
mod interrupt;
mod play;
mod recorded;
mod stage;
mod tally;
mod toy;

use std::io;
use std::path::PathBuf;

pub use interrupt::catch as catch_signals;
pub use play::{Options, run};
pub use recorded::run_recorded;
pub use tally::Verdict;
pub use toy::main as toy_main;

/// Why the demo could not be played to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Not enough privilege.
    #[error(
        "the probes and a cgroup of its own need root; run it as: sudo sandwatch demo (or see a recording of it: sandwatch demo --recorded)"
    )]
    NotRoot,
    /// A part of the stage could not be made.
    #[error("{what} {}: {source}", path.display())]
    Stage {
        /// What was attempted.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The toy's programs would not be trusted where they have to lie.
    #[error(
        "{} is on {name}: programs there are not trusted to be an engine's, so the demo would show something else; \
         run it where /var/lib is on a disk, on the host itself", path.display()
    )]
    Disk {
        /// The demo's folder.
        path: PathBuf,
        /// The file system.
        name: &'static str,
    },
    /// The collector's socket could not be opened.
    #[error("cannot listen on {address}: {source}; the loopback network has to be up")]
    Collector {
        /// Address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// A process could not be started or talked to.
    #[error("{what}: {source}")]
    Process {
        /// What was attempted.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The agent ended or was not ready in time.
    #[error("the agent {what}{}", Tail(log))]
    Agent {
        /// What it did.
        what: String,
        /// The last lines of its log.
        log: Vec<String>,
        /// Its exit code, if it ended with one.
        code: Option<i32>,
    },
    /// Alerts could not be written.
    #[error("{place}: {source}")]
    Output {
        /// Where to.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// The recording inside the program cannot be played.
    #[error("the recording inside this program cannot be played: {0}")]
    Recording(String),
    /// SIGINT or SIGTERM.
    #[error("interrupted; everything the demo made is removed")]
    Interrupted,
}

struct Tail<'a>(&'a [String]);

impl std::fmt::Display for Tail<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

//! What the running agent answers to whoever may open its socket: how it is, its workers, its coverage, its incidents.
//!
//! The agent's thread puts a [`Snapshot`] on the [`Board`] each second and says with each turn that it moves; a thread of its own
//! (`server`) answers from there, so nobody who asks can hold up the pipeline. What only the agent's thread can tell (workers,
//! incidents) is asked of it through the board's `desk`, one question at a time. `client` is the other end, `words` says a status
//! as people read it.

mod board;
mod client;
mod desk;
mod listed;
mod server;
mod sizes;
mod snapshot;
mod words;

pub use board::Board;
pub use client::{AskError, ask, ask_line};
pub use desk::Question;
pub use listed::{Listed, ListedPosture, ListedProcess, list};
pub use server::{ControlError, Server};
pub use sizes::{ClassSize, PodsState, SpoolState, TableSize};
pub use snapshot::{
    CanaryAge, ConfigState, LaneCount, RulesState, SignalCount, SignalHook, SinkState, Snapshot, Status,
    WorkerCount,
};
pub use words::page;
pub(crate) use words::reasons;

use serde::{Deserialize, Serialize};

/// Name of the socket in the state directory.
pub const SOCKET: &str = "control.sock";

/// Where the socket is: as configured, else in the state directory.
pub fn socket_path(config: &crate::config::Config) -> std::path::PathBuf {
    config.control.clone().unwrap_or_else(|| config.state_dir.join(SOCKET))
}

/// What is asked, as one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// How the agent is: a [`Status`].
    Status,
    /// Its workers: a list of [`Listed`].
    Workers,
    /// Its coverage: a [`DoctorAnswer`].
    Doctor {
        /// With every program.
        #[serde(default)]
        programs: bool,
        /// Columns of the page.
        #[serde(default)]
        width: Option<usize>,
        /// With ANSI colours.
        #[serde(default)]
        color: bool,
    },
    /// The incidents it knows: a list of what their files hold.
    Incidents,
}

/// The coverage of a running agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DoctorAnswer {
    /// `full`, `partial` or `none`.
    pub level: String,
    /// As people read it.
    pub page: String,
    /// As `--json` prints it.
    pub json: serde_json::Value,
}

/// Why there is no answer, in words; what a server says in place of one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// What is the matter.
    pub error: String,
}

#[cfg(test)]
mod tests;

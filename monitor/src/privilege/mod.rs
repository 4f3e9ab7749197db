//! What the agent may still do once its probes are attached: as little as it needs.
//!
//! Capabilities belong to threads, so [`lower`] comes after the last probe and before the first thread. `capabilities` has what
//! is kept and why, `calls` the system calls that are refused from then on, `filter` the program that refuses them, `alone` makes
//! sure that nobody else runs yet, `folders` looks what can no longer be written. What cannot be lowered is said and ends nothing: it watches with more than it needs.

mod alone;
mod calls;
mod capabilities;
mod filter;
mod folders;

use std::fmt;
use std::path::PathBuf;

pub use capabilities::Plan;

/// What was lowered, and what was not.
#[derive(Debug)]
pub struct Lowered {
    /// What is kept and what was given up.
    pub plan: Plan,
    /// What went wrong: each leaves the agent with more than it needs.
    pub shortfalls: Vec<Shortfall>,
}

/// Why the agent has more than it needs.
#[derive(Debug, thiserror::Error)]
pub enum Shortfall {
    /// Threads were started too early.
    #[error(
        "these threads run already and keep every capability: {}; report this with the configuration",
        names.join(", ")
    )]
    Threads {
        /// Their names.
        names: Vec<String>,
    },
    /// The kernel does not tell which capabilities there are, or refuses to lower them.
    #[error("capabilities cannot be given up: {reason}")]
    Capabilities {
        /// Its words.
        reason: String,
    },
    /// System calls are not refused.
    #[error("no seccomp filter can be installed: {reason}; a kernel with CONFIG_SECCOMP_FILTER has them")]
    Filter {
        /// Why.
        reason: String,
    },
}

/// Gives up what only loading and attaching need, and has the kernel refuse the system calls that the agent never makes. For the
/// whole life of the process, and for every thread that is started from now on.
pub fn lower() -> Lowered {
    let mut shortfalls = Vec::new();
    let others = alone::others();
    if !others.is_empty() {
        shortfalls.push(Shortfall::Threads { names: others });
    }
    let held = capabilities::held().unwrap_or_else(|reason| {
        shortfalls.push(Shortfall::Capabilities { reason });
        0
    });
    let plan = Plan::of(held);
    if let Err(reason) = capabilities::keep_only(&plan) {
        shortfalls.push(Shortfall::Capabilities { reason });
    }
    if let Err(reason) = filter::install() {
        shortfalls.push(Shortfall::Filter { reason });
    }
    Lowered { plan, shortfalls }
}

/// How many system calls are refused whatever their arguments; `None` if this kernel has no seccomp filters.
pub fn refused_calls() -> Option<usize> {
    filter::is_available().then(calls::count)
}

impl Lowered {
    /// Says in the log what is kept, what could not be given up, and which of the files that are to be written later can no longer
    /// be.
    pub fn log(&self, files: &[PathBuf]) {
        tracing::info!(
            kept = %Names(&self.plan.kept()),
            given_up = self.plan.given_up().len(),
            "privileges lowered"
        );
        for shortfall in &self.shortfalls {
            tracing::error!("more privileges than needed: {shortfall}");
        }
        for (file, place) in folders::closed(files) {
            tracing::warn!(
                file = %file.display(),
                "cannot be written once it watches, as root alone may not write {} then: make it root's (chown root) or \
                 name another place",
                place.display()
            );
        }
    }
}

/// Names in a row, or `none`.
struct Names<'a>(&'a [&'static str]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(if self.0.is_empty() { "none" } else { "" })?;
        to.write_str(&self.0.join(" "))
    }
}

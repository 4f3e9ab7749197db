//! Threads beside the agent's own: small stacks, and signals left to the agent's thread.

use std::io;
use std::thread::{Builder, JoinHandle};

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

/// Enough for TLS, JSON and the tables of a compressor; touched pages only count.
const STACK: usize = 1 << 20;

/// Starts a thread that no signal is delivered to: the agent's thread waits for them.
///
/// # Errors
/// The system gives none.
pub fn start_thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let mut before = SigSet::empty();
    // Blocked here, so that the new thread never runs without.
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), Some(&mut before))?;
    // The kernel keeps fifteen bytes.
    let name: String = name.chars().take(15).collect();
    let started = Builder::new().name(name).stack_size(STACK).spawn(run);
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    started
}

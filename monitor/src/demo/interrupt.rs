//! SIGINT and SIGTERM end the play early, but never before it has cleaned up.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::DemoError;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: i32) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// From now on SIGINT, SIGTERM and SIGHUP are only noted, and [`super::run`] ends early by them. Child processes start with the default again: exec resets handlers.
pub fn catch() -> Result<(), DemoError> {
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only stores into an atomic, which is async-signal-safe.
        unsafe { sigaction(signal, &action) }
            .map_err(|error| DemoError::Process { what: "cannot catch signals", source: error.into() })?;
    }
    Ok(())
}

/// An error once a signal came.
pub(super) fn check() -> Result<(), DemoError> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err(DemoError::Interrupted) } else { Ok(()) }
}

/// Waits until one of `fds` is readable (or closed) or `until` has come; an error as soon as a signal came.
pub(super) fn wait(fds: &[BorrowedFd<'_>], until: Instant) -> Result<(), DemoError> {
    check()?;
    // Short turns: a signal between the check and the poll would else be noticed late.
    let left = until.saturating_duration_since(Instant::now()).min(Duration::from_millis(50));
    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
    let mut fds: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    match poll(&mut fds, timeout) {
        Ok(_) | Err(Errno::EINTR) => check(),
        Err(error) => Err(DemoError::Process { what: "poll", source: io::Error::from(error) }),
    }
}

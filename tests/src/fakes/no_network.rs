//! A network without anything in it.

use std::io;

/// Runs this on a thread in a network namespace of its own, in which not even loopback is up. Threads that it starts are there too.
///
/// # Errors
/// There is none to be had: that needs root.
///
/// # Panics
/// As `body` does.
pub fn without_network<T: Send>(body: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: takes only flags, and concerns only this thread and what it starts.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(body())
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

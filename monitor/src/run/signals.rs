//! What people tell the agent by signal.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::{RunError, os};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// SIGTERM, SIGINT: end cleanly.
    End,
    /// SIGHUP: load the rules again, reopen files.
    Reload,
    /// SIGUSR1: reopen files.
    Reopen,
}

/// The signals, as something readable. While it lives they do not end or interrupt the process.
pub struct Signals {
    fd: SignalFd,
    mask: SigSet,
}

impl Signals {
    /// Catches SIGTERM, SIGINT, SIGHUP and SIGUSR1. Other threads do not get them (they block every signal).
    ///
    /// To be called before anything is set up in the kernel or on disk: one that comes earlier ends the process in the
    /// middle of it.
    pub fn catch() -> Result<Self, RunError> {
        let mask: SigSet =
            [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1].into_iter().collect();
        mask.thread_block().map_err(os("block signals"))?;
        let fd = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(os("catch signals"))?;
        Ok(Self { fd, mask })
    }

    /// Readable when a signal came.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// What was asked for since the last call.
    pub fn read(&mut self) -> Vec<Wish> {
        let mut wishes = Vec::new();
        while let Ok(Some(signal)) = self.fd.read_signal() {
            let wish = match signal.ssi_signo {
                hup if hup == Signal::SIGHUP as u32 => Wish::Reload,
                usr1 if usr1 == Signal::SIGUSR1 as u32 => Wish::Reopen,
                _ => Wish::End,
            };
            if !wishes.contains(&wish) {
                wishes.push(wish);
            }
        }
        wishes
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // One that still waits would end the process now, in the middle of its clean end.
        self.read();
        if let Err(errno) = self.mask.thread_unblock() {
            tracing::debug!(%errno, "signals stay blocked");
        }
    }
}

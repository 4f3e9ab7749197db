//! The process that acts as the canary of a running agent: it does little and may do next to nothing.
//!
//! A cgroup that was made below the mount itself can only be removed with CAP_DAC_OVERRIDE, as nobody may write to that folder
//! (`cgroup_create`, its mode is 0555); the agent gives that up. So this process keeps it, and clears up when the agent ends, however that ends.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::SigSet;

use super::kept::{Act, HOME, MARKER, WORD};

/// Does what is asked on standard input until that is closed. Port 0: ends at once, as the program that is executed.
///
/// # Errors
/// Privileges cannot be given up.
pub(crate) fn main(port: u16) -> io::Result<()> {
    if port == 0 {
        return Ok(());
    }
    take_signals()?;
    let home = std::env::var_os(HOME).map(PathBuf::from);
    if home.is_none() {
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    }
    nix::sys::prctl::set_no_new_privs()?;
    keep_capabilities(if home.is_some() { DAC_OVERRIDE } else { 0 })?;
    let mut orders = io::stdin().lock();
    let mut order = [0];
    while orders.read(&mut order)? == 1 {
        let [order] = order;
        // What fails is not seen, and that is what is noticed.
        if order == Act::Touch.byte() {
            drop(File::open(format!("/proc/self/{MARKER}")));
            drop(TcpStream::connect(("127.0.0.1", port)));
        } else if order == Act::Execute.byte() {
            let mut command = Command::new("/proc/self/exe");
            drop(command.args([WORD, "0"]).env_clear().stdin(Stdio::null()).status());
        }
    }
    // The other end is closed: the agent ends, or was killed.
    home.map_or(Ok(()), |home| leave(&home))
}

/// The agent blocks the signals that it reads, and a program that it starts inherits that: here nobody reads them.
fn take_signals() -> io::Result<()> {
    Ok(SigSet::empty().thread_set_mask()?)
}

/// Out of the cgroup, which then is empty and can be removed.
fn leave(home: &Path) -> io::Result<()> {
    if let Some(above) = home.parent() {
        fs::write(above.join("cgroup.procs"), "0")?;
    }
    fs::remove_dir(home)
}

/// `CAP_DAC_OVERRIDE` (include/uapi/linux/capability.h).
const DAC_OVERRIDE: u32 = 1 << 1;

/// No others are left, and with `no_new_privs` none comes back by an exec.
fn keep_capabilities(kept: u32) -> io::Result<()> {
    #[repr(C)]
    struct Head {
        version: u32,
        pid: i32,
    }
    /// `_LINUX_CAPABILITY_VERSION_3`.
    const VERSION: u32 = 0x2008_0522;
    let head = Head { version: VERSION, pid: 0 };
    // Effective, permitted and inheritable, in two words of 32 bits each.
    let sets = [kept, kept, 0, 0, 0, 0];
    // SAFETY: both are laid out as capset(2) wants them, and live as long as the call.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const head, sets.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal;

    use super::*;

    #[test]
    fn signals_that_the_agent_blocked_reach_the_helper() {
        let agents = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1];
        agents.into_iter().collect::<SigSet>().thread_block().unwrap();
        take_signals().unwrap();
        assert_eq!(SigSet::thread_get_mask().unwrap(), SigSet::empty());
    }
}

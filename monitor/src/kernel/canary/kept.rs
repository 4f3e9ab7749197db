//! The canary of a running agent: a helper process that does on request what the probes have to see.
//!
//! It is started before the agent gives up its privileges, has none itself, and lives where the first canary lived: in a cgroup of
//! its own with the canary's label, or, where none can be made, labelled itself. What it does: open a file that is always there
//! and hardly ever read, connect to a port on loopback that is kept for it, and fork a process that executes a program.

use std::io::{self, Write};
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use monitor_common::map::{Label, label_state};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, socket};

use super::super::error::KernelError;
use super::super::maps::Maps;
use super::{Canary, Home};

/// First argument of the helper, before the port.
pub(super) const WORD: &str = "canary";

/// Variable with the cgroup that the helper is to remove at its end.
pub(super) const HOME: &str = "SANDWATCH_CANARY_HOME";
/// How long the helper may take to end by itself.
const ENDING: Duration = Duration::from_secs(2);

/// The file that the helper opens, and no other program is likely to: deprecated since Linux 2.6.36 and still there.
pub const MARKER: &str = "oom_adj";

/// What the canary of a running agent can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Open the marker and connect to its port.
    Touch,
    /// Fork a process that executes a program and ends.
    Execute,
}

impl Act {
    /// The byte that asks for it.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Touch => b't',
            Self::Execute => b'x',
        }
    }
}

/// The helper and where it lives. Dropping it ends the one and removes the other.
#[derive(Debug)]
pub(crate) struct Kept {
    child: Child,
    orders: Option<ChildStdin>,
    port: u16,
    /// Nobody listens there, and nobody else can.
    _port: OwnedFd,
    /// After the helper: its cgroup can be removed once nobody is in it.
    home: Home,
}

impl Kept {
    /// Starts the helper in the canary's home, which keeps its label from now on.
    pub(crate) fn start(canary: Canary, maps: &mut Maps) -> Result<Self, KernelError> {
        let failed = |action| move |source| KernelError::Os { action, source };
        let (held, port) = hold_port().map_err(failed("keep a port for the canary"))?;
        let mut command = Command::new("/proc/self/exe");
        command.args([WORD, &port.to_string()]).env_clear();
        if let Home::Own { path, .. } = &canary.home {
            command.env(HOME, path);
        }
        let mut child = command
            .current_dir("/")
            // What a terminal sends to the agent is not for it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed("start the canary that is kept"))?;
        let orders = child.stdin.take();
        let pid = child.id();
        let label = canary.label;
        let Canary { home, .. } = canary;
        // What the canary did while rungs were tried is no event of a running agent.
        maps.forget_tally(label)?;
        let mut kept = Self { child, orders, port, _port: held, home };
        match &mut kept.home {
            Home::Own { procs, id, .. } => {
                procs
                    .write_all(pid.to_string().as_bytes())
                    .map_err(failed("move the canary into its cgroup"))?;
                maps.label(*id, Label { id: label, state: label_state::WORKER })?;
            }
            Home::Shared { id, .. } => {
                let id = *id;
                if maps.label_of(id)?.is_none() {
                    maps.label(id, Label { id: label, state: label_state::CHECK_PROCESS })?;
                }
                super::label_process(maps, label, pid)?;
            }
        }
        Ok(kept)
    }

    /// The port it connects to, on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Asks it for an act, and does not wait for it.
    pub(crate) fn act(&mut self, act: Act) -> Result<(), KernelError> {
        let gone = |source| KernelError::Os { action: "ask the canary's process to act", source };
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(gone(io::Error::other(format!("it ended ({status})"))));
        }
        let orders = self.orders.as_mut().ok_or_else(|| gone(io::ErrorKind::BrokenPipe.into()))?;
        orders.write_all(&[act.byte()]).map_err(gone)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // It ends when it is told nothing more, and removes its cgroup.
        self.orders = None;
        let until = Instant::now() + ENDING;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that a connect to is refused at once: bound, and not listened on.
fn hold_port() -> io::Result<(OwnedFd, u16)> {
    let held = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(held.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0))?;
    let address: SockaddrIn = getsockname(held.as_raw_fd())?;
    Ok((held, SocketAddrV4::from(address).port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_to_the_held_port_is_refused_at_once() {
        let (_held, port) = hold_port().unwrap();
        let error = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}

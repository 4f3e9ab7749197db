//! The process that acts as the canary of a running agent: it may do nothing and does little.

use std::fs::File;
use std::io::{self, Read};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use super::kept::{Act, MARKER, WORD};

/// Does what is asked on standard input until that is closed. Port 0: ends at once, as the program that is executed.
///
/// # Errors
/// Privileges cannot be given up.
pub(crate) fn main(port: u16) -> io::Result<()> {
    if port == 0 {
        return Ok(());
    }
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    nix::sys::prctl::set_no_new_privs()?;
    drop_capabilities()?;
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
            drop(command.args([WORD, "0"]).stdin(Stdio::null()).status());
        }
    }
    Ok(())
}

/// None is left, and with `no_new_privs` none comes back by an exec.
fn drop_capabilities() -> io::Result<()> {
    #[repr(C)]
    struct Head {
        version: u32,
        pid: i32,
    }
    /// `_LINUX_CAPABILITY_VERSION_3`.
    const VERSION: u32 = 0x2008_0522;
    let head = Head { version: VERSION, pid: 0 };
    // Effective, permitted and inheritable, in two words of 32 bits each.
    let none = [0u32; 6];
    // SAFETY: both are laid out as capset(2) wants them, and live as long as the call.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const head, none.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

//! A real receiver, as a child process.

use std::fs::{File, OpenOptions};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A program that listens on loopback; killed when it is dropped.
pub struct Program {
    child: Child,
    said: PathBuf,
}

impl Program {
    /// Starts it with its output in `FOLDER/said`, and waits until somebody listens on `address`.
    ///
    /// # Errors
    /// It does not start, or ends, or does not listen for 60 s: with what it said.
    pub fn start(mut command: Command, folder: &Path, address: SocketAddr) -> Result<Self> {
        let said = folder.join("said");
        let output: File = OpenOptions::new().create(true).append(true).open(&said)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // A test that crashes must not leave it behind.
        let die_with_us = || {
            // SAFETY: a system call with two numbers; takes no lock and allocates nothing.
            match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        };
        // SAFETY: between fork and exec only that call is made.
        unsafe { command.pre_exec(die_with_us) };
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let mut program = Self { child, said };
        let until = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(address).is_err() {
            if let Some(status) = program.child.try_wait()? {
                bail!("{command:?} ended with {status}:\n{}", program.said());
            }
            if Instant::now() > until {
                bail!("{command:?} does not listen on {address}:\n{}", program.said());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(program)
    }

    /// What it printed.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// Kills it as a crash would.
    ///
    /// # Errors
    /// It cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.kill();
    }
}

/// An address on which nobody listens.
///
/// # Errors
/// There is no free port.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

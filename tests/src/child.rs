//! Child processes that act in a cgroup: forked, moved, then a closure of plain system calls, then `_exit`.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// A running child.
#[derive(Debug)]
pub(crate) struct Child {
    /// Its pid.
    pub(crate) pid: u32,
}

impl Child {
    /// Forks, moves the child into `cgroup`, runs `act` there and exits with its result.
    ///
    /// `act` runs in a copy of a single-threaded program, so it may do what any program may.
    pub(crate) fn spawn(cgroup: &Path, act: impl FnOnce() -> i32) -> Result<Self> {
        // SAFETY: this program is single-threaded (`Arguments::test_threads`), so the child may go on normally.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()).context("fork"),
            0 => {
                let code = match join(cgroup) {
                    Ok(()) => act(),
                    Err(_) => 125,
                };
                // SAFETY: ends this process only, without the parent's exit handlers.
                unsafe { libc::_exit(code) }
            }
            pid => Ok(Self { pid: pid as u32 }),
        }
    }

    /// Waits for the end and gives the exit code; a signal is an error.
    pub(crate) fn wait(self) -> Result<i32> {
        let mut status = 0;
        // SAFETY: a child of ours that was not waited for.
        if unsafe { libc::waitpid(self.pid as i32, &mut status, 0) } < 0 {
            return Err(io::Error::last_os_error()).context("waitpid");
        }
        if !libc::WIFEXITED(status) {
            bail!("child {} was ended by signal {}", self.pid, libc::WTERMSIG(status));
        }
        Ok(libc::WEXITSTATUS(status))
    }
}

/// Moves the current process into a cgroup.
pub(crate) fn join(cgroup: &Path) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.procs"), "0")
}

/// Runs on one CPU from here on.
pub(crate) fn pin(cpu: usize) {
    // SAFETY: all zero is an empty set; the set outlives the call.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// A path or text for a system call.
pub(crate) fn c(text: impl AsRef<Path>) -> CString {
    CString::new(text.as_ref().as_os_str().as_bytes()).unwrap_or_default()
}

/// Result of a system call: the value, or the negative errno.
pub(crate) fn sys(result: i64) -> i64 {
    if result >= 0 { result } else { -i64::from(io::Error::last_os_error().raw_os_error().unwrap_or(1)) }
}

/// `execve` with an empty environment but `env`; returns only on failure, with the errno.
pub(crate) fn exec(program: &Path, argv: &[&str], env: &[&str]) -> i32 {
    let program = c(program);
    let argv: Vec<CString> = argv.iter().map(c).collect();
    let env: Vec<CString> = env.iter().map(c).collect();
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv_pointers, env_pointers) = (pointers(&argv), pointers(&env));
    // SAFETY: NUL-terminated strings and null-terminated lists that outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv_pointers.as_ptr(), env_pointers.as_ptr()) };
    io::Error::last_os_error().raw_os_error().unwrap_or(1)
}

/// `openat` and, if it succeeded, `close`: the descriptor or the negative errno.
pub(crate) fn openat(dirfd: i32, path: impl AsRef<Path>, flags: i32) -> i64 {
    let path = c(path);
    // SAFETY: a NUL-terminated path.
    let fd = sys(i64::from(unsafe { libc::openat(dirfd, path.as_ptr(), flags | libc::O_CLOEXEC, 0o600) }));
    if fd >= 0 {
        // SAFETY: opened above.
        unsafe { libc::close(fd as i32) };
    }
    fd
}

/// `open` relative to the working directory.
pub(crate) fn open(path: impl AsRef<Path>, flags: i32) -> i64 {
    openat(libc::AT_FDCWD, path, flags)
}

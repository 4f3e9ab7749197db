//! What the canary does between fork and exec: system calls only, on memory its parent prepared.
//!
//! The agent may have threads by now (tests do), and a child of a threaded process may not allocate or take locks.

use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;

/// Seconds after which a canary that hangs is killed.
const ALARM: u32 = 2;

/// Prepared by the parent.
pub(super) struct Plan {
    /// `cgroup.procs` of the canary's cgroup, open for writing.
    pub(super) cgroup_procs: Option<RawFd>,
    /// A byte comes from here when the label is in place.
    pub(super) go: RawFd,
    /// Where the child writes its own /proc/self/stat.
    pub(super) facts: RawFd,
    /// Program to execute, or -1.
    pub(super) image: RawFd,
    pub(super) tcp: Vec<InetAddress>,
    pub(super) udp: Vec<InetAddress>,
    pub(super) unix: UnixAddress,
}

/// An address as the kernel takes it.
pub(super) struct InetAddress {
    bytes: [u8; 28],
    len: u32,
    family: i32,
}

impl InetAddress {
    /// The wire form of an address: `sockaddr_in` or `sockaddr_in6`.
    pub(super) fn new(address: SocketAddr) -> Self {
        let mut bytes = [0; 28];
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        let (family, len) = match address {
            SocketAddr::V4(v4) => {
                bytes[4..8].copy_from_slice(&v4.ip().octets());
                (libc::AF_INET, 16)
            }
            SocketAddr::V6(v6) => {
                bytes[8..24].copy_from_slice(&v6.ip().octets());
                (libc::AF_INET6, 28)
            }
        };
        bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        Self { bytes, len, family }
    }
}

/// An abstract unix address as the kernel takes it.
pub(super) struct UnixAddress {
    bytes: [u8; 110],
    len: u32,
}

impl UnixAddress {
    /// The wire form of an abstract name (cut to 107 bytes).
    pub(super) fn new(name: &[u8]) -> Self {
        let name = name.get(..107).unwrap_or(name);
        let mut bytes = [0; 110];
        bytes[..2].copy_from_slice(&(libc::AF_UNIX as u16).to_ne_bytes());
        bytes[3..3 + name.len()].copy_from_slice(name);
        Self { bytes, len: 3 + name.len() as u32 }
    }
}

/// Starts the canary: a process that moves into its cgroup, and whose own child acts (so that the fork is seen too).
///
/// Returns the pid of the first; it ends when its child has.
pub(super) fn spawn(plan: &Plan) -> io::Result<u32> {
    match fork() {
        0 => lead(plan),
        pid if pid > 0 => Ok(pid as u32),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A fork without the library's handlers, which may take locks that another thread holds.
fn fork() -> i64 {
    // SAFETY: the arguments of a plain fork; the child only makes system calls on memory prepared before.
    unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) }
}

fn lead(plan: &Plan) -> ! {
    // SAFETY: system calls on descriptors and memory of the plan; the process ends here.
    unsafe {
        libc::alarm(ALARM);
        if let Some(procs) = plan.cgroup_procs {
            libc::write(procs, b"0".as_ptr().cast(), 1);
        }
        let mut byte = 0u8;
        libc::read(plan.go, (&raw mut byte).cast(), 1);
        let pid = fork();
        if pid == 0 {
            act(plan);
        }
        let mut status = 0;
        while libc::waitpid(pid as i32, &raw mut status, 0) == -1 && *libc::__errno_location() == libc::EINTR
        {
        }
        libc::_exit(0);
    }
}

fn act(plan: &Plan) -> ! {
    // SAFETY: system calls on descriptors and memory of the plan; the process ends here.
    unsafe {
        libc::alarm(ALARM);
        tell(plan);
        for to in &plan.tcp {
            connect(to.family, libc::SOCK_STREAM, (to.bytes.as_ptr().cast(), to.len));
        }
        for to in &plan.udp {
            let fd = libc::socket(to.family, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
            libc::sendto(
                fd,
                b"canary".as_ptr().cast(),
                6,
                libc::MSG_DONTWAIT,
                to.bytes.as_ptr().cast(),
                to.len,
            );
            libc::close(fd);
        }
        connect(libc::AF_UNIX, libc::SOCK_STREAM, (plan.unix.bytes.as_ptr().cast(), plan.unix.len));
        let raw = libc::socket(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::IPPROTO_ICMP);
        libc::close(raw);
        execute(plan);
    }
}

/// Opens the marker, and tells the parent what it says.
///
/// # Safety
/// Only in the child.
unsafe fn tell(plan: &Plan) {
    let mut stat = [0u8; 1024];
    // SAFETY: `stat` has room for what is read and written.
    unsafe {
        let fd = libc::open(c"/proc/self/stat".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        let len = libc::read(fd, stat.as_mut_ptr().cast(), stat.len());
        if len > 0 {
            libc::write(plan.facts, stat.as_ptr().cast(), len as usize);
        }
        libc::close(fd);
    }
}

/// # Safety
/// `address` is a pointer to that many readable bytes.
unsafe fn connect(family: i32, kind: i32, address: (*const libc::sockaddr, u32)) {
    // SAFETY: as above. Non-blocking, so a full backlog does not hold us.
    unsafe {
        let fd = libc::socket(family, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0);
        libc::connect(fd, address.0, address.1);
        libc::close(fd);
    }
}

/// # Safety
/// Only in the child.
unsafe fn execute(plan: &Plan) -> ! {
    let argv = [c"sandwatch-canary".as_ptr(), std::ptr::null()];
    let env: [*const libc::c_char; 1] = [std::ptr::null()];
    // SAFETY: NUL-terminated strings and NULL-terminated arrays.
    unsafe {
        if plan.image >= 0 {
            libc::syscall(
                libc::SYS_execveat,
                plan.image,
                c"".as_ptr(),
                argv.as_ptr(),
                env.as_ptr(),
                libc::AT_EMPTY_PATH,
            );
        }
        // Memfds may not be executable here (vm.memfd_noexec).
        for program in [c"/bin/true", c"/usr/bin/true"] {
            libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr());
        }
        libc::_exit(127)
    }
}

//! Why the sensor cannot run, or a map operation failed: what, why, and what to do.

use std::io;
use std::path::PathBuf;

/// An error of this room. Those of [`KernelError::is_host`] mean "cannot run on this host" (exit code 3).
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The running kernel is older than what the probes need.
    #[error(
        "kernel {release} is too old: ring buffers need Linux 5.8 or newer; update the kernel of this node"
    )]
    KernelTooOld {
        /// `uname -r`.
        release: String,
    },
    /// The kernel's type information is missing.
    #[error(
        "no BTF: {path}: {source}; run a kernel built with CONFIG_DEBUG_INFO_BTF=y (all current distributions are)"
    )]
    NoBtf {
        /// File that was tried.
        path: PathBuf,
        /// Why it could not be read.
        source: io::Error,
    },
    /// The kernel's type information could not be understood.
    #[error("BTF in {path} cannot be read: {source}")]
    BadBtf {
        /// File it came from.
        path: PathBuf,
        /// What is wrong with it.
        source: super::btf::BtfError,
    },
    /// Kernel fields every probe needs are missing from BTF.
    #[error(
        "this kernel's BTF lacks fields that every probe reads: {missing}; no default is ever assumed: report the kernel version"
    )]
    MissingOffsets {
        /// The fields.
        missing: String,
    },
    /// The kernel forbids reading kernel memory.
    #[error(
        "kernel lockdown is `confidentiality`: BPF may not read kernel memory; boot with lockdown=integrity or none to run here"
    )]
    Lockdown,
    /// A capability is missing.
    #[error(
        "missing capabilities: {missing}; run as root, or grant CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH and, for the cgroup hooks, CAP_NET_ADMIN (kernels before 5.8: CAP_SYS_ADMIN)"
    )]
    MissingCapabilities {
        /// Names of those missing.
        missing: String,
    },
    /// The capability is there, and the system call is refused all the same.
    #[error(
        "the system call bpf is refused although CAP_BPF is there{}",
        if *.filtered {
            ": a seccomp filter is in force, that of the container runtime or the service. Some default profiles (Docker before 23, CRI-O) keep bpf \
             for CAP_SYS_ADMIN: set `seccompProfile: { type: Unconfined }` (docker: --security-opt seccomp=unconfined); \
             the agent installs a narrower filter of its own once it watches"
        } else {
            ", and by no seccomp filter: look for what a security module (SELinux, AppArmor) denied in the kernel's log"
        }
    )]
    BpfRefused {
        /// A seccomp filter is in force.
        filtered: bool,
    },
    /// The agent runs in a pid namespace of its own.
    #[error(
        "this process is in a pid namespace of its own: process ids would not be those of the kernel; run it on the host, or with hostPID: true (docker: --pid=host)"
    )]
    PidNamespace,
    /// No cgroup v2 hierarchy is mounted.
    #[error(
        "this host has no cgroup2 mount (/proc/self/mountinfo): with cgroup v1 alone the probes cannot tell one worker from another, so \
         nothing would be seen of any: no exec, no open, no connect. A cgroup2 hierarchy can stand beside v1: mkdir -p \
         /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified, then start the container runtime and its \
         containers again, which put themselves into it only at their start"
    )]
    NoCgroup2,
    /// The BPF object was refused as a whole.
    #[error("the probes' object cannot be loaded: {reason}")]
    Object {
        /// The loader's message.
        reason: String,
    },
    /// The object that was built in does not match this agent.
    #[error("the built-in probes do not match this agent: {reason}; build both from one source tree")]
    ObjectMismatch {
        /// What differs.
        reason: String,
    },
    /// No signal at all could be watched.
    #[error("no signal can be watched on this host:\n{}", coverage.unwatched())]
    NothingWatched {
        /// What was tried.
        coverage: Box<super::coverage::Coverage>,
    },
    /// What the probes report of the agent's own process differs from /proc.
    #[error(
        "self-check failed: the probes report {field} {reported} for this process, /proc says {actual}; the kernel's layout is not what its BTF says, so nothing the probes report could be trusted"
    )]
    SelfCheck {
        /// Field that differs.
        field: &'static str,
        /// What the probes said.
        reported: String,
        /// What /proc says.
        actual: String,
    },
    /// A rung was asked for that a signal does not have, or a word is no rung.
    #[error("--hooks: {0}")]
    Hooks(String),
    /// A file of the host could not be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An operation on a map failed.
    #[error("BPF map {map}: {action}: {reason}")]
    Map {
        /// Name of the map.
        map: &'static str,
        /// What was attempted.
        action: &'static str,
        /// The kernel's or the loader's message.
        reason: String,
    },
    /// A filter has more entries than its map, or a key that does not fit.
    #[error("the kernel filter cannot hold {what}: {reason}")]
    Filter {
        /// Which part.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// A system call of the agent itself failed.
    #[error("{action}: {source}")]
    Os {
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl KernelError {
    /// Whether it means that sandwatch cannot run on this host at all (exit code 3), rather than a wrong option or one failed
    /// operation.
    pub fn is_host(&self) -> bool {
        !matches!(self, Self::Hooks(_) | Self::Map { .. } | Self::Filter { .. } | Self::Os { .. })
    }
}

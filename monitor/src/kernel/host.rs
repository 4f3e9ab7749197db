//! What this host offers to probes.

use std::path::PathBuf;

use serde::Serialize;

/// Facts about the host, found once at start.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Host {
    /// `uname -r`.
    pub kernel: String,
    /// Version as numbers.
    #[serde(skip)]
    pub version: (u32, u32, u32),
    /// Where cgroup v2 is mounted.
    pub cgroup2: Option<PathBuf>,
    /// Whether that mount shows the root of the hierarchy (else the agent lives in a cgroup namespace of its own).
    pub cgroup2_is_root: bool,
    /// Where tracefs is mounted.
    pub tracefs: Option<PathBuf>,
    /// Active LSMs; `None` if they could not be read.
    pub lsm: Option<Vec<String>>,
    /// Lockdown mode in force; `None` if the kernel has none.
    pub lockdown: Option<String>,
    /// `kernel.perf_event_paranoid`.
    pub perf_event_paranoid: Option<i32>,
    /// Effective capabilities, as bits.
    pub capabilities: u64,
    /// Whether the kernel runs 32-bit system calls; `None` if it cannot be told.
    pub ia32: Option<bool>,
    /// Number of possible CPUs.
    pub cpus: u32,
}

//! How a worker is set up: what was read of its entry process, every part of which may be unknown.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use super::doc::NamespaceName;

/// What was read of a worker's set-up. A part that could not be read is absent: it is not known, which is not "fine".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// It has a root of its own: it is in a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<bool>,
    /// By namespace: whether it is the host's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shares: BTreeMap<NamespaceName, bool>,
    /// Effective user id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Capabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// A seccomp filter holds for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<bool>,
    /// Its mounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mounts: Option<Mounts>,
    /// Names of the block devices in its `/dev`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_devices: Option<Vec<Arc<str>>>,
    /// Its environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
}

/// Capabilities, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    /// Those in effect, or that it may put into effect.
    pub held: u64,
    /// The most that a program of it can get.
    pub bounding: u64,
    /// It cannot get more than it has by executing a program.
    #[serde(default)]
    pub no_new_privileges: bool,
    /// The most on this host.
    pub host: u64,
}

impl Capabilities {
    /// What its code may come to.
    pub fn usable(&self) -> u64 {
        if self.no_new_privileges { self.held } else { self.bounding | self.held }
    }
}

/// The mounts of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mounts {
    /// Each.
    pub all: Vec<Mounted>,
    /// There are more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// The host's own mounts are not known, and so nothing's path on the host is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub host_unknown: bool,
}

/// A mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mounted {
    /// Where the worker sees it.
    pub point: Arc<str>,
    /// What it is on the host; absent: no mount of the host shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Arc<str>>,
    /// Type of the file system.
    #[serde(default)]
    pub kind: Arc<str>,
    /// The worker may write to it, if the files' modes allow that.
    #[serde(default)]
    pub writable: bool,
}

/// What rules ask of an environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Variables whose names look like those of credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<Arc<str>>,
    /// Variables that rules name, with their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<(Arc<str>, Arc<str>)>,
    /// There are more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// Names of the capabilities by number (include/uapi/linux/capability.h), as rules write them.
pub(super) const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// The names of these capabilities.
pub(super) fn names(bits: u64) -> impl Iterator<Item = &'static str> {
    CAPABILITIES.into_iter().enumerate().filter(move |(at, _)| bits & (1 << at) != 0).map(|(_, name)| name)
}

/// Names of the capabilities, for tests and rules.
pub(super) fn bit(name: &str) -> Option<u64> {
    CAPABILITIES.iter().position(|known| *known == name).map(|at| 1 << at)
}

//! An exec: what was executed, by whom, with what.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::names::is_default;
use super::text::{Path, Text};
use super::types::{FileId, ProcessKey};

/// Where an executable lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExeHome {
    /// memfd.
    #[serde(default, skip_serializing_if = "is_default")]
    pub memfd: bool,
    /// tmpfs or ramfs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tmpfs: bool,
    /// No links.
    #[serde(default, skip_serializing_if = "is_default")]
    pub deleted: bool,
    /// overlayfs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub overlay: bool,
    /// Upper (writable) layer of an overlay; `None` if unknown.
    #[serde(default, skip_serializing_if = "is_default")]
    pub overlay_upper: Option<bool>,
}

/// What a standard descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Stdio {
    /// Not read.
    #[default]
    Unknown,
    /// Closed.
    Closed,
    /// Regular file.
    File,
    /// Pipe.
    Pipe,
    /// Socket of another family than the Internet's (unix, …), or of one that could not be read.
    Socket,
    /// Internet socket.
    Inet,
    /// Character device.
    Char,
    /// Something else.
    Other,
}

/// An exec.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// Image before.
    #[serde(default, skip_serializing_if = "is_default")]
    pub old_exec_id: u64,
    /// Parent process.
    pub parent: ProcessKey,
    /// Pid in the innermost namespace.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ns_pid: u32,
    /// Real uid.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ruid: u32,
    /// Real gid.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rgid: u32,
    /// Effective uid before, if a hook showed it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub uid_before: Option<u32>,
    /// Effective gid before.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gid_before: Option<u32>,
    /// AT_SECURE.
    #[serde(default, skip_serializing_if = "is_default")]
    pub secureexec: bool,
    /// Resolved executable.
    pub exe: Path,
    /// Executable's identity.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exe_id: FileId,
    /// Mode bits.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exe_mode: u32,
    /// Owner.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exe_uid: u32,
    /// Links.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exe_nlink: u32,
    /// File system magic.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exe_magic: u64,
    /// Size.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exe_size: u64,
    /// Change time, ns since the epoch; 0 if unknown.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exe_ctime: u64,
    /// Where it lives.
    #[serde(default, skip_serializing_if = "is_default")]
    pub home: ExeHome,
    /// File name as given.
    #[serde(default, skip_serializing_if = "is_default")]
    pub filename: Text,
    /// Working directory.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cwd: Path,
    /// Arguments.
    #[serde(default, skip_serializing_if = "is_default")]
    pub argv: Vec<Arc<str>>,
    /// There were more, or they were longer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub argv_truncated: bool,
    /// argc as the kernel knows it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub argc: u32,
    /// Captured environment pairs (only names that rules ask for).
    #[serde(default, skip_serializing_if = "is_default")]
    pub env: Vec<(Arc<str>, Arc<str>)>,
    /// The scan did not reach the end, or a name was there twice: lowers trust.
    #[serde(default, skip_serializing_if = "is_default")]
    pub env_incomplete: bool,
    /// The environment was read by the kernel at exec (else by the agent from /proc, later).
    #[serde(default, skip_serializing_if = "is_default")]
    pub env_from_kernel: bool,
    /// A loader variable is present.
    #[serde(default, skip_serializing_if = "is_default")]
    pub loader_env: bool,
    /// Script file, when an interpreter was started through `#!`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub script: Option<Text>,
    /// Script's identity.
    #[serde(default, skip_serializing_if = "is_default")]
    pub script_id: Option<FileId>,
    /// Namespaces.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ns: Namespaces,
    /// stdin, stdout, stderr.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stdio: [Stdio; 3],
}

impl Exec {
    /// Whether the program has a path in nobody's root: it is in memory, or was reached through a mount that was taken away at once. So
    /// container runtimes enter, with a copy of themselves.
    pub fn is_nowhere(&self) -> bool {
        self.home.memfd || self.exe.none || &*self.exe.view == "/"
    }
}

/// Namespace inode numbers; 0 if unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Namespaces {
    /// Mount.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mnt: u32,
    /// Pid (of children).
    #[serde(default, skip_serializing_if = "is_default")]
    pub pid: u32,
    /// Network.
    #[serde(default, skip_serializing_if = "is_default")]
    pub net: u32,
    /// User.
    #[serde(default, skip_serializing_if = "is_default")]
    pub user: u32,
    /// Cgroup.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cgroup: u32,
}

//! The event and its parts.

use std::net::IpAddr;

pub use monitor_common::hook::{Kind, Lane, Rung, Signal};
use serde::{Deserialize, Serialize};

use super::exec::Exec;
use super::names::is_default;
use super::text::Path;

/// Boot-time nanoseconds (`CLOCK_BOOTTIME`), as kernel records carry them.
pub type BootNs = u64;

/// A process on this boot: pid reuse is told by the start time of the thread group leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessKey {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// `start_boottime` of the leader, ns. Coarse (10 ms ticks) when it came from /proc: see [`Subject::coarse_start`].
    pub start: BootNs,
}

/// A file by device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileId {
    /// Device, kernel encoding (major << 20 | minor).
    pub dev: u32,
    /// Inode number.
    pub ino: u64,
}

/// What happened, to whom the kernel ascribes it, and how it was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When, boot-time ns.
    pub time: BootNs,
    /// Through which rung.
    #[serde(with = "super::names::rung")]
    pub rung: Rung,
    /// Which lane carried it, on which CPU, with which number.
    #[serde(default, skip_serializing_if = "is_default")]
    pub origin: Origin,
    /// The acting process.
    pub subject: Subject,
    /// What happened.
    pub body: Body,
    /// Parts of it could not be read. Which, each part says itself (`unreadable`, `cut`), and by that it is judged, as unknown;
    /// here is only that the record was not whole.
    #[serde(default, skip_serializing_if = "is_default")]
    pub degraded: bool,
}

/// Where in its stream a record stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// 0 priority, 1 lifecycle.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lane: u16,
    /// CPU.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cpu: u16,
    /// Sequence number in lane and CPU.
    #[serde(default, skip_serializing_if = "is_default")]
    pub seq: u64,
}

/// The acting process, as the kernel's process map knew it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Process.
    pub key: ProcessKey,
    /// Thread.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tid: u32,
    /// Label of its worker.
    pub label: u32,
    /// Cgroup it was in.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cgroup: u64,
    /// Current image.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exec_id: u64,
    /// Image of the author root above, 0 if none is known to the kernel.
    #[serde(default, skip_serializing_if = "is_default")]
    pub author_root: u64,
    /// Executable.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exe: FileId,
    /// Effective uid.
    #[serde(default, skip_serializing_if = "is_default")]
    pub uid: u32,
    /// Effective gid.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gid: u32,
    /// The kernel map had no entry: the fork was not seen.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unknown_history: bool,
    /// The start time came from /proc (10 ms ticks).
    #[serde(default, skip_serializing_if = "is_default")]
    pub coarse_start: bool,
    /// It was moved out of its worker's cgroup and kept the label.
    #[serde(default, skip_serializing_if = "is_default")]
    pub moved: bool,
    /// Its cgroup is not classified yet.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pending: bool,
}

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    /// It succeeded.
    Ok,
    /// Refused (EACCES, EPERM, ECONNREFUSED by policy, …).
    Denied,
    /// There is no such object (ENOENT, ENOTDIR).
    Absent,
    /// Seen on the way in; the result is not known (also: failed for another reason).
    Attempted,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Body {
    /// A process was created; the subject is the child.
    Fork(Fork),
    /// A program was executed.
    Exec(Box<Exec>),
    /// The process ended.
    Exit {
        /// Wait status.
        code: u32,
    },
    /// A file was opened, or failed to be.
    Open(Box<Open>),
    /// A connect or unconnected send.
    Connect(Connect),
    /// What became of a connect.
    ConnectResult {
        /// Socket, as in [`Connect::sock`].
        sock: u64,
        /// Result.
        outcome: Outcome,
        /// errno, 0 for established.
        #[serde(default, skip_serializing_if = "is_default")]
        errno: i32,
    },
    /// A connect to a unix socket.
    Unix(Unix),
    /// An uncommon socket was created.
    Socket(Socket),
    /// The process was moved to another cgroup.
    CgroupMove {
        /// Where to.
        to: u64,
        /// Who was moved.
        target_pid: u32,
        /// The destination is a worker's too.
        #[serde(default, skip_serializing_if = "is_default")]
        to_labelled: bool,
    },
}

/// A fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fork {
    /// Creating process.
    pub parent: ProcessKey,
    /// Image of the creating process.
    #[serde(default, skip_serializing_if = "is_default")]
    pub parent_exec_id: u64,
    /// Child's pid in its innermost namespace.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ns_pid: u32,
}

/// How the opened file's mount relates to the opener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum MountRelation {
    /// Not determined.
    #[default]
    Unknown,
    /// Own mount namespace, below the root.
    Own,
    /// Own mount namespace, outside the root directory (chroot).
    OwnOutsideRoot,
    /// Another real mount namespace.
    Foreign,
    /// Internal or detached mount.
    None,
}

/// An open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// Resolved path.
    pub path: Path,
    /// Identity; zero for failed opens.
    #[serde(default, skip_serializing_if = "is_default")]
    pub id: FileId,
    /// Inode generation.
    #[serde(default, skip_serializing_if = "is_default")]
    pub generation: u32,
    /// File system magic.
    #[serde(default, skip_serializing_if = "is_default")]
    pub magic: u64,
    /// O_* flags.
    #[serde(default, skip_serializing_if = "is_default")]
    pub flags: u32,
    /// `monitor_common::filter::access` bits.
    pub access: u32,
    /// What became of it.
    pub outcome: Outcome,
    /// errno (positive), 0 if none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub errno: i32,
    /// `i_mode`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: u32,
    /// Links.
    #[serde(default, skip_serializing_if = "is_default")]
    pub nlink: u32,
    /// Mount namespace of the opener.
    #[serde(default, skip_serializing_if = "is_default")]
    pub task_mnt_ns: u32,
    /// Mount namespace of the file's mount.
    #[serde(default, skip_serializing_if = "is_default")]
    pub file_mnt_ns: u32,
    /// Relation of the two.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mount: MountRelation,
    /// For procfs: whose entry, as pid in the initial namespace.
    #[serde(default, skip_serializing_if = "is_default")]
    pub proc_pid: Option<u32>,
    /// Which kernel filter passed it (`monitor_common::filter::matched`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub matched: u32,
    /// Seen at io_uring submission, not at the open.
    #[serde(default, skip_serializing_if = "is_default")]
    pub uring: bool,
}

/// Stage at which an address was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum AddressStage {
    /// As the process gave it, before service translation.
    Before,
    /// Other cgroup programs may have rewritten it.
    After,
}

/// A connect or an unconnected send over IP. A v4-mapped IPv6 address is given as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connect {
    /// Socket (opaque), 0 if the hook has none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sock: u64,
    /// Address.
    pub addr: IpAddr,
    /// Port.
    pub port: u16,
    /// IP protocol number (6 TCP, 17 UDP, 262 MPTCP).
    pub protocol: u16,
    /// An unconnected send.
    #[serde(default, skip_serializing_if = "is_default")]
    pub send: bool,
    /// TCP fast open.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fast_open: bool,
    /// Read from user memory at entry.
    #[serde(default, skip_serializing_if = "is_default")]
    pub user_memory: bool,
    /// Which side of service translation.
    pub stage: AddressStage,
    /// What became of it, as far as this hook knows.
    pub outcome: Outcome,
    /// errno (positive), 0 if none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub errno: i32,
    /// Network namespace, 0 if unknown.
    #[serde(default, skip_serializing_if = "is_default")]
    pub net_ns: u32,
}

/// A connect to a unix socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unix {
    /// Socket file or abstract name (shown with a leading `@`).
    pub path: Path,
    /// Abstract name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub abstract_name: bool,
    /// Identity of the socket file.
    #[serde(default, skip_serializing_if = "is_default")]
    pub id: FileId,
    /// Socket type.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sock_type: u32,
    /// A datagram send without a connect.
    #[serde(default, skip_serializing_if = "is_default")]
    pub send: bool,
    /// What became of it.
    pub outcome: Outcome,
    /// errno (positive), 0 if none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub errno: i32,
}

/// An uncommon socket was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Socket {
    /// Address family.
    pub family: u32,
    /// Type.
    pub sock_type: u32,
    /// Protocol.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protocol: u32,
    /// What became of it.
    pub outcome: Outcome,
}

//! The event and its parts.

use std::net::IpAddr;
use std::sync::Arc;

pub use monitor_common::hook::{Kind, Lane, Rung, Signal};

/// Boot-time nanoseconds (`CLOCK_BOOTTIME`), as kernel records carry them.
pub type BootNs = u64;

/// A process on this boot: pid reuse is told by the start time of the thread group leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessKey {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// `start_boottime` of the leader, ns. Coarse (10 ms ticks) when it came from /proc: see [`Subject::coarse_start`].
    pub start: BootNs,
}

/// A file by device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct FileId {
    /// Device, kernel encoding (major << 20 | minor).
    pub dev: u32,
    /// Inode number.
    pub ino: u64,
}

/// What happened, to whom the kernel ascribes it, and how it was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When, boot-time ns.
    pub time: BootNs,
    /// Through which rung.
    pub rung: Rung,
    /// Which lane carried it, on which CPU, with which number.
    pub origin: Origin,
    /// The acting process.
    pub subject: Subject,
    /// What happened.
    pub body: Body,
    /// Parts of it could not be read: judged by the "three values" rule, never dropped.
    pub degraded: bool,
}

/// Where in its stream a record stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Origin {
    /// 0 priority, 1 lifecycle.
    pub lane: u16,
    /// CPU.
    pub cpu: u16,
    /// Sequence number in lane and CPU.
    pub seq: u64,
}

/// The acting process, as the kernel's process map knew it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Process.
    pub key: ProcessKey,
    /// Thread.
    pub tid: u32,
    /// Label of its worker.
    pub label: u32,
    /// Cgroup it was in.
    pub cgroup: u64,
    /// Current image.
    pub exec_id: u64,
    /// Image of the author root above, 0 if none is known to the kernel.
    pub author_root: u64,
    /// Executable.
    pub exe: FileId,
    /// Effective uid.
    pub uid: u32,
    /// Effective gid.
    pub gid: u32,
    /// The kernel map had no entry: the fork was not seen.
    pub unknown_history: bool,
    /// The start time came from /proc (10 ms ticks).
    pub coarse_start: bool,
    /// It was moved out of its worker's cgroup and kept the label.
    pub moved: bool,
    /// Its cgroup is not classified yet.
    pub pending: bool,
    /// A 32-bit system call.
    pub compat: bool,
}

/// Text from the kernel with what is known of its completeness. Bytes that are not UTF-8 are replaced for matching and
/// output; `raw` text never reaches a terminal unescaped.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Text {
    /// The text, lossily UTF-8.
    pub text: Arc<str>,
    /// It was longer.
    pub truncated: bool,
    /// It could not be read.
    pub unreadable: bool,
    /// It was read from memory the process can change.
    pub user_memory: bool,
}

/// A resolved path.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Path {
    /// Path in the view of the process's root (what the worker calls it); the whole path when it lies outside the root.
    pub view: Arc<str>,
    /// Path from the top of the mount tree, when it differs from `view`.
    pub full: Option<Arc<str>>,
    /// The head is missing.
    pub cut: bool,
    /// Could not be read.
    pub unreadable: bool,
    /// The object has no path (memfd, pipe, detached mount).
    pub none: bool,
    /// Deleted.
    pub deleted: bool,
    /// Outside the process's root directory.
    pub outside_root: bool,
    /// From memory the process can change.
    pub user_memory: bool,
}

impl Path {
    /// Whether the path can be relied on to match a pattern (not cut, unreadable or absent).
    pub fn is_known(&self) -> bool {
        !(self.cut || self.unreadable || self.none)
    }
}

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
#[derive(Clone, Debug, PartialEq)]
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
        to_labelled: bool,
    },
}

/// A fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    /// Creating process.
    pub parent: ProcessKey,
    /// Image of the creating process.
    pub parent_exec_id: u64,
    /// Child's pid in its innermost namespace.
    pub ns_pid: u32,
}

/// Where an executable lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ExeHome {
    /// memfd.
    pub memfd: bool,
    /// tmpfs or ramfs.
    pub tmpfs: bool,
    /// No links.
    pub deleted: bool,
    /// overlayfs.
    pub overlay: bool,
    /// Upper (writable) layer of an overlay; `None` if unknown.
    pub overlay_upper: Option<bool>,
}

/// What a standard descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
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
#[derive(Clone, Debug, PartialEq)]
pub struct Exec {
    /// Image before.
    pub old_exec_id: u64,
    /// Parent process.
    pub parent: ProcessKey,
    /// Pid in the innermost namespace.
    pub ns_pid: u32,
    /// Real uid.
    pub ruid: u32,
    /// Real gid.
    pub rgid: u32,
    /// Effective uid before, if a hook showed it.
    pub uid_before: Option<u32>,
    /// Effective gid before.
    pub gid_before: Option<u32>,
    /// AT_SECURE.
    pub secureexec: bool,
    /// Resolved executable.
    pub exe: Path,
    /// Executable's identity.
    pub exe_id: FileId,
    /// Mode bits.
    pub exe_mode: u32,
    /// Owner.
    pub exe_uid: u32,
    /// Links.
    pub exe_nlink: u32,
    /// File system magic.
    pub exe_magic: u64,
    /// Size.
    pub exe_size: u64,
    /// Change time, ns since the epoch; 0 if unknown.
    pub exe_ctime: u64,
    /// Where it lives.
    pub home: ExeHome,
    /// File name as given.
    pub filename: Text,
    /// Working directory.
    pub cwd: Path,
    /// Arguments.
    pub argv: Vec<Arc<str>>,
    /// There were more, or they were longer.
    pub argv_truncated: bool,
    /// argc as the kernel knows it.
    pub argc: u32,
    /// Captured environment pairs (only names that rules ask for).
    pub env: Vec<(Arc<str>, Arc<str>)>,
    /// The scan did not reach the end, or a name was there twice: lowers trust.
    pub env_incomplete: bool,
    /// The environment was read by the kernel at exec (else by the agent from /proc, later).
    pub env_from_kernel: bool,
    /// A loader variable is present.
    pub loader_env: bool,
    /// Script file, when an interpreter was started through `#!`.
    pub script: Option<Text>,
    /// Script's identity.
    pub script_id: Option<FileId>,
    /// Namespaces.
    pub ns: Namespaces,
    /// stdin, stdout, stderr.
    pub stdio: [Stdio; 3],
}

/// Namespace inode numbers; 0 if unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Namespaces {
    /// Mount.
    pub mnt: u32,
    /// Pid (of children).
    pub pid: u32,
    /// Network.
    pub net: u32,
    /// User.
    pub user: u32,
    /// Cgroup.
    pub cgroup: u32,
}

/// How the opened file's mount relates to the opener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
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
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// Resolved path.
    pub path: Path,
    /// Identity; zero for failed opens.
    pub id: FileId,
    /// Inode generation.
    pub generation: u32,
    /// File system magic.
    pub magic: u64,
    /// O_* flags.
    pub flags: u32,
    /// `monitor_common::filter::access` bits.
    pub access: u32,
    /// What became of it.
    pub outcome: Outcome,
    /// errno (positive), 0 if none.
    pub errno: i32,
    /// `i_mode`.
    pub mode: u32,
    /// Links.
    pub nlink: u32,
    /// Mount namespace of the opener.
    pub task_mnt_ns: u32,
    /// Mount namespace of the file's mount.
    pub file_mnt_ns: u32,
    /// Relation of the two.
    pub mount: MountRelation,
    /// For procfs: whose entry, as pid in the initial namespace.
    pub proc_pid: Option<u32>,
    /// Which kernel filter passed it (`monitor_common::filter::matched`).
    pub matched: u32,
    /// Seen at io_uring submission, not at the open.
    pub uring: bool,
}

/// Stage at which an address was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressStage {
    /// As the process gave it, before service translation.
    Before,
    /// Other cgroup programs may have rewritten it.
    After,
}

/// A connect or an unconnected send over IP. A v4-mapped IPv6 address is given as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Socket (opaque), 0 if the hook has none.
    pub sock: u64,
    /// Address.
    pub addr: IpAddr,
    /// Port.
    pub port: u16,
    /// IP protocol number (6 TCP, 17 UDP, 262 MPTCP).
    pub protocol: u16,
    /// An unconnected send.
    pub send: bool,
    /// TCP fast open.
    pub fast_open: bool,
    /// Read from user memory at entry.
    pub user_memory: bool,
    /// Which side of service translation.
    pub stage: AddressStage,
    /// What became of it, as far as this hook knows.
    pub outcome: Outcome,
    /// errno (positive), 0 if none.
    pub errno: i32,
    /// Network namespace, 0 if unknown.
    pub net_ns: u32,
}

/// A connect to a unix socket.
#[derive(Clone, Debug, PartialEq)]
pub struct Unix {
    /// Socket file or abstract name (shown with a leading `@`).
    pub path: Path,
    /// Abstract name.
    pub abstract_name: bool,
    /// Identity of the socket file.
    pub id: FileId,
    /// Socket type.
    pub sock_type: u32,
    /// A datagram send without a connect.
    pub send: bool,
    /// What became of it.
    pub outcome: Outcome,
    /// errno (positive), 0 if none.
    pub errno: i32,
}

/// An uncommon socket was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Address family.
    pub family: u32,
    /// Type.
    pub sock_type: u32,
    /// Protocol.
    pub protocol: u32,
    /// What became of it.
    pub outcome: Outcome,
}

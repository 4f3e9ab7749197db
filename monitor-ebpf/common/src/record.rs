//! The records that probes write into the ring buffers.
//!
//! A record is a fixed struct that starts with [`Header`], followed by a data area. Strings lie in the data area and are
//! named by a [`Slice`] whose offset counts from the end of the fixed struct. `Header::len` is the whole length.

use crate::wire;

/// Longest path a record carries, bytes.
pub const PATH_MAX: usize = 4096;
/// Longest argument vector a record carries, bytes (NUL-separated).
pub const ARGV_MAX: usize = 8192;
/// Most bytes of captured environment pairs (NUL-separated `NAME=value`) an exec record carries.
pub const ENV_MAX: usize = 4096 + 512;
/// Longest value of one captured environment variable, bytes.
pub const ENV_VALUE_MAX: usize = 256;
/// Most names of environment variables captured at once.
pub const ENV_NAMES_MAX: usize = 64;
/// Longest name of a captured environment variable, bytes.
pub const ENV_NAME_MAX: usize = 32;

wire! {
    /// A run of bytes in a record's data area.
    pub struct Slice {
        /// Offset from the end of the fixed struct.
        pub off: u16,
        /// Length in bytes.
        pub len: u16,
        /// [`slice_flags`].
        pub flags: u32,
    } size 8
}

/// Flags of a [`Slice`].
pub mod slice_flags {
    /// The text was longer than what the record carries.
    pub const TRUNCATED: u32 = 1;
    /// The kernel could not read it (fault, race); the slice may be empty.
    pub const UNREADABLE: u32 = 2;
    /// It was read from user memory the process can change (never from kernel objects).
    pub const USER_MEMORY: u32 = 4;
    /// A path whose head is missing: the walk ended before the root.
    pub const CUT: u32 = 8;
    /// The object has no path (memfd, pipe, socket, detached mount).
    pub const NO_PATH: u32 = 16;
    /// The dentry is unhashed: the file was deleted.
    pub const DELETED: u32 = 32;
    /// Never passed the process's own root directory on the way up: it lies outside a chroot, or in another mount namespace.
    pub const OUTSIDE_ROOT: u32 = 64;
    /// The scan stopped at its bound (environment: 1,024 strings or 64 KiB).
    pub const INCOMPLETE: u32 = 128;
    /// From this bit on: offset in the path at which the view of the process's own root begins (below [`super::PATH_MAX`]).
    pub const VIEW_SHIFT: u32 = 16;
}

wire! {
    /// The head of every record: where it stands in its stream, and who acted.
    ///
    /// The subject part comes from the process map kept in the kernel, so a record can be judged alone.
    pub struct Header {
        /// [`crate::ABI_VERSION`].
        pub abi: u16,
        /// [`crate::hook::Kind`].
        pub kind: u16,
        /// Length of the whole record, bytes.
        pub len: u32,
        /// Number of this record in its lane and on its CPU, from 0; taken before the output attempt, so a hole is a loss.
        pub seq: u64,
        /// `bpf_ktime_get_boot_ns`.
        pub time: u64,
        /// CPU the probe ran on.
        pub cpu: u16,
        /// [`crate::hook::Lane`].
        pub lane: u16,
        /// [`crate::hook::Rung`].
        pub rung: u16,
        /// [`crate::hook::Signal`].
        pub signal: u16,
        /// [`header_flags`].
        pub flags: u32,
        /// Label of the worker (index given by the agent).
        pub label: u32,
        /// Id of the cgroup (v2 hierarchy) the task was in.
        pub cgroup: u64,
        /// Process id in the initial namespace.
        pub pid: u32,
        /// Thread id in the initial namespace.
        pub tid: u32,
        /// Start of the thread group leader, boot-time ns (`task_struct::start_boottime`).
        pub start: u64,
        /// Number of the process's current image; unique on this boot (see `ProcState::exec_id`).
        pub exec_id: u64,
        /// `exec_id` of the author root above, or 0.
        pub author_root: u64,
        /// Inode of the executable.
        pub exe_ino: u64,
        /// Device of the executable, kernel encoding (`MKDEV`, major << 20 | minor).
        pub exe_dev: u32,
        /// Effective user id.
        pub uid: u32,
        /// Effective group id.
        pub gid: u32,
        /// [`crate::map::proc_flags`] of the process.
        pub proc_flags: u32,
    } size 104
}

/// Flags of a [`Header`].
pub mod header_flags {
    /// Some part could not be read; the event must be judged as degraded.
    pub const DEGRADED: u32 = 1;
    /// No entry in the kernel's process map: the subject part comes from the task alone.
    pub const NO_PROC: u32 = 2;
    /// No scratch buffer was free: the record carries no strings.
    pub const NO_SCRATCH: u32 = 4;
    /// The cgroup was a pending one (not yet classified).
    pub const PENDING: u32 = 8;
    /// The task's cgroup is not a worker's; the process kept its label from before (it was moved).
    pub const MOVED: u32 = 16;
}

wire! {
    /// A new process (never a thread). The header's subject is the *child*.
    pub struct Fork {
        /// Head.
        pub header: Header,
        /// Start of the creating process's leader.
        pub parent_start: u64,
        /// `exec_id` of the creating process.
        pub parent_exec_id: u64,
        /// Creating process (the `parent` argument of `sched_process_fork`, not `real_parent`).
        pub parent_pid: u32,
        /// Child's pid in its innermost pid namespace.
        pub ns_pid: u32,
    } size 128
}

wire! {
    /// A program was executed; read after the point of no return.
    pub struct Exec {
        /// Head; `exec_id` is the new one.
        pub header: Header,
        /// `exec_id` before this exec.
        pub old_exec_id: u64,
        /// Start of the parent process's leader.
        pub parent_start: u64,
        /// Parent process id in the initial namespace.
        pub parent_pid: u32,
        /// Pid in the innermost pid namespace.
        pub ns_pid: u32,
        /// Real uid.
        pub ruid: u32,
        /// Real gid.
        pub rgid: u32,
        /// Effective uid before the exec; `u32::MAX` if no hook shows it.
        pub uid_before: u32,
        /// Effective gid before the exec; `u32::MAX` if no hook shows it.
        pub gid_before: u32,
        /// `exec_flags`.
        pub flags: u32,
        /// Mode bits of the executable (`i_mode`).
        pub exe_mode: u32,
        /// Owner of the executable.
        pub exe_uid: u32,
        /// Link count of the executable.
        pub exe_nlink: u32,
        /// Super block magic of the executable's file system.
        pub exe_magic: u64,
        /// Size of the executable, bytes.
        pub exe_size: u64,
        /// Change time of the executable, ns since the epoch; 0 if unknown.
        pub exe_ctime: u64,
        /// Inode of the script (`#!`), 0 if none or unknown.
        pub script_ino: u64,
        /// Device of the script.
        pub script_dev: u32,
        /// Mount namespace (inode number).
        pub mnt_ns: u32,
        /// Pid namespace of children.
        pub pid_ns: u32,
        /// Network namespace.
        pub net_ns: u32,
        /// User namespace.
        pub user_ns: u32,
        /// Cgroup namespace.
        pub cgroup_ns: u32,
        /// What file descriptors 0, 1, 2 are ([`stdio`]), and one byte of padding.
        pub stdio: [u8; 4],
        /// Number of arguments (`argc`), if known.
        pub argc: u32,
        /// Inode numbers of descriptors 0, 1, 2.
        pub stdio_ino: [u64; 3],
        /// Path of the executable (`mm->exe_file`) in the view of the process's root.
        pub exe: Slice,
        /// File name as given to execve.
        pub filename: Slice,
        /// Working directory in the view of the process's root.
        pub cwd: Slice,
        /// Arguments, NUL-separated, from the new mm.
        pub argv: Slice,
        /// Captured environment pairs, NUL-separated, from the new mm.
        pub env: Slice,
        /// Interpreted script path (`bprm->interp` differs from filename), if known.
        pub script: Slice,
    } size 296
}

/// Flags of [`Exec::flags`].
pub mod exec_flags {
    /// `AT_SECURE`: set-uid, set-gid or file capabilities took effect.
    pub const SECUREEXEC: u32 = 1;
    /// The executable lives in a memfd (internal shm mount, no links).
    pub const MEMFD: u32 = 2;
    /// The executable's file system is tmpfs or ramfs.
    pub const TMPFS: u32 = 4;
    /// The executable was deleted (no links).
    pub const DELETED: u32 = 8;
    /// The file system is overlayfs.
    pub const OVERLAY: u32 = 16;
    /// On overlayfs, and the file lives in the upper (writable) layer.
    pub const OVERLAY_UPPER: u32 = 32;
    /// On overlayfs, and which layer is unknown.
    pub const OVERLAY_UNKNOWN: u32 = 64;
    /// A loader variable (LD_PRELOAD, NODE_OPTIONS, …) is present in the environment.
    pub const LOADER_ENV: u32 = 128;
    /// Several values for one captured name.
    pub const ENV_DUPLICATE: u32 = 256;
    /// The environment was read by the kernel (else by the agent from /proc).
    pub const ENV_KERNEL: u32 = 512;
    /// uid or gid changed by this exec (known only where `uid_before` is).
    pub const ID_CHANGED: u32 = 1024;
}

/// Kinds of [`Exec::stdio`].
pub mod stdio {
    /// Unknown or not read.
    pub const UNKNOWN: u8 = 0;
    /// Closed.
    pub const CLOSED: u8 = 1;
    /// Regular file.
    pub const FILE: u8 = 2;
    /// Pipe or FIFO.
    pub const PIPE: u8 = 3;
    /// Socket of another family than the Internet's (unix, …), or of a family that could not be read. Node.js gives its
    /// children a unix socket pair where others use pipes, so this alone says nothing about a remote peer.
    pub const SOCKET: u8 = 4;
    /// Character device.
    pub const CHAR: u8 = 5;
    /// Anything else.
    pub const OTHER: u8 = 6;
    /// Internet socket (`skc_family` `AF_INET` or `AF_INET6`): a remote peer drives the process.
    pub const INET: u8 = 7;
}

wire! {
    /// The last thread of a process ended.
    pub struct Exit {
        /// Head.
        pub header: Header,
        /// `task_struct::exit_code` (wait status).
        pub code: u32,
        /// Zero.
        pub pad: u32,
    } size 112
}

wire! {
    /// An open.
    pub struct Open {
        /// Head.
        pub header: Header,
        /// Inode.
        pub ino: u64,
        /// Device, kernel encoding (`super_block::s_dev`).
        pub dev: u32,
        /// Inode generation.
        pub generation: u32,
        /// Super block magic.
        pub magic: u64,
        /// `file::f_flags` (O_*).
        pub open_flags: u32,
        /// [`crate::filter::access`] bits.
        pub access: u32,
        /// 0, or the negative errno.
        pub error: i32,
        /// `i_mode`.
        pub mode: u32,
        /// Link count.
        pub nlink: u32,
        /// Mount namespace of the opening task (inode number).
        pub task_mnt_ns: u32,
        /// Mount namespace the file's mount belongs to (inode number); 0 if it has none.
        pub file_mnt_ns: u32,
        /// [`mount_rel`].
        pub mount_rel: u32,
        /// For procfs files below /proc/PID: the target's pid in the initial namespace, else 0.
        pub proc_pid: u32,
        /// Which filter let it pass ([`crate::filter::matched`]).
        pub matched: u32,
        /// Path from the top of the mount tree walked.
        pub path: Slice,
        /// Offset in `path` where the view of the process's root begins; equal to 0 if it is the same.
        pub view: u32,
        /// Return value of the system call, where the rung has it (a descriptor), else 0.
        pub ret: i32,
        /// For failed opens: the directory descriptor given (`AT_FDCWD` is -100).
        pub dirfd: i32,
        /// System call or io_uring opcode number, if known.
        pub opcode: u32,
        /// For failed opens: path of the directory a relative name starts from.
        pub dir: Slice,
    } size 200
}

/// How the opened file's mount relates to the opener ([`Open::mount_rel`]).
pub mod mount_rel {
    /// Not determined.
    pub const UNKNOWN: u32 = 0;
    /// The opener's own mount namespace, below its root.
    pub const OWN: u32 = 1;
    /// The opener's own mount namespace, but outside its root directory.
    pub const OWN_OUTSIDE_ROOT: u32 = 2;
    /// Another real mount namespace: reached from outside the sandbox.
    pub const FOREIGN: u32 = 3;
    /// No namespace: internal or detached mount (pipe, nsfs, memfd, …).
    pub const NONE: u32 = 4;
}

wire! {
    /// A connect or an unconnected UDP send over IPv4 or IPv6.
    pub struct Connect {
        /// Head.
        pub header: Header,
        /// `struct sock` pointer, joins [`ConnectResult`]; 0 if the hook has none. Opaque.
        pub sock: u64,
        /// Address, network order; IPv4 in the first four bytes.
        pub addr: [u8; 16],
        /// `AF_INET` or `AF_INET6`, as the address is (v4-mapped addresses are AF_INET6 here and normalised by the agent).
        pub family: u16,
        /// Port, host order.
        pub port: u16,
        /// IP protocol (6 TCP, 17 UDP, 262 MPTCP).
        pub protocol: u16,
        /// Socket type (SOCK_STREAM, …).
        pub sock_type: u16,
        /// 0, negative errno, or [`CONNECT_ATTEMPTED`].
        pub error: i32,
        /// Network namespace (inode number), 0 if unknown.
        pub net_ns: u32,
        /// [`connect_flags`].
        pub flags: u32,
        /// Zero.
        pub pad: u32,
    } size 152
}

/// [`Connect::error`] of a connect whose result is not known at the hook.
pub const CONNECT_ATTEMPTED: i32 = i32::MIN;

/// Flags of a [`Connect`].
pub mod connect_flags {
    /// An unconnected send (sendto, sendmsg), not a connect.
    pub const SEND: u32 = 1;
    /// The address was read from user memory at syscall entry.
    pub const USER_MEMORY: u32 = 2;
    /// The address is the socket's: what cgroup programs made of the one that was asked for.
    pub const AFTER_TRANSLATION: u32 = 4;
    /// TCP fast open.
    pub const FAST_OPEN: u32 = 8;
}

wire! {
    /// What became of a TCP connect (`inet_sock_set_state`).
    pub struct ConnectResult {
        /// Head (the subject of the connect, not of the softirq that ran).
        pub header: Header,
        /// As in [`Connect::sock`].
        pub sock: u64,
        /// 0 established, or the negative errno (`sk_err`), e.g. refused or timed out.
        pub error: i32,
        /// New TCP state.
        pub state: u32,
    } size 120
}

wire! {
    /// A connect to a unix socket.
    pub struct Unix {
        /// Head.
        pub header: Header,
        /// Inode of the socket file; 0 for abstract names.
        pub ino: u64,
        /// Device of the socket file.
        pub dev: u32,
        /// Socket type.
        pub sock_type: u32,
        /// 0, negative errno, or [`CONNECT_ATTEMPTED`].
        pub error: i32,
        /// [`unix_flags`].
        pub flags: u32,
        /// Path of the socket file as the kernel resolved it, or the name of an abstract socket (without the leading NUL).
        pub path: Slice,
    } size 136
}

/// Flags of a [`Unix`] record.
pub mod unix_flags {
    /// An abstract name.
    pub const ABSTRACT: u32 = 1;
    /// `path` is the bound name (`sun_path`), not a resolved path.
    pub const SUN_PATH: u32 = 2;
    /// A datagram send without connect.
    pub const SEND: u32 = 4;
}

wire! {
    /// A raw, packet, vsock or other uncommon socket was created.
    pub struct Socket {
        /// Head.
        pub header: Header,
        /// Address family.
        pub family: u32,
        /// Type, without the `SOCK_CLOEXEC`/`SOCK_NONBLOCK` bits.
        pub sock_type: u32,
        /// Protocol.
        pub protocol: u32,
        /// 0, negative errno, or [`CONNECT_ATTEMPTED`].
        pub error: i32,
    } size 120
}

wire! {
    /// A cgroup was made in a folder that hands down. The header's `cgroup` is the new one; who made it is its subject.
    pub struct CgroupNew {
        /// Head.
        pub header: Header,
        /// Id of the cgroup it was made in.
        pub parent: u64,
        /// Its path from the root of the hierarchy; empty if it could not be told.
        pub path: Slice,
    } size 120
}

wire! {
    /// A labelled process was moved to another cgroup.
    pub struct CgroupMove {
        /// Head; `cgroup` is the one it came from, if known; pending: the destination is.
        pub header: Header,
        /// Cgroup it was moved to (id in the v2 hierarchy).
        pub to: u64,
        /// Process that was moved (subject is the same process when it moved itself).
        pub target_pid: u32,
        /// Whether the destination is labelled too.
        pub to_label: u32,
    } size 120
}

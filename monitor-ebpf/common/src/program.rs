//! Every BPF program, once: its function name in the object, how it is attached, to what, and for which signal and rung.
//!
//! The number indexes the per-program [`crate::map::Tally`] array.

use crate::hook::{Rung, Signal};
use crate::offset::Group;

/// How a program is loaded and attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// BPF LSM hook of this name.
    Lsm(&'static str),
    /// fentry on this kernel function.
    Fentry(&'static str),
    /// kprobe on this kernel function.
    Kprobe(&'static str),
    /// BTF-typed raw tracepoint.
    TpBtf(&'static str),
    /// Raw tracepoint.
    RawTp(&'static str),
    /// Perf tracepoint: category and name.
    Tracepoint(&'static str, &'static str),
    /// `cgroup/…` sock_addr program on the cgroup2 root.
    CgroupSockAddr,
    /// `cgroup/sock_create` program on the cgroup2 root.
    CgroupSock,
}

/// A program of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramSpec {
    /// Function name in the object.
    pub name: &'static str,
    /// Attach point.
    pub attach: Attach,
    /// Signal it serves; `None` for upkeep (cgroup creation, …).
    pub signal: Option<Signal>,
    /// Rung it belongs to.
    pub rung: Rung,
    /// Offsets it needs besides [`Group::Core`].
    pub group: Group,
    /// The rung counts without it: its absence is a gap, not a failure (IPv6 twin, rare system call, …).
    pub optional: bool,
}

macro_rules! programs {
    ($($(#[$meta:meta])* $id:ident = $index:literal, $name:literal, $attach:expr, $signal:expr, $rung:ident, $group:ident, $optional:literal;)*) => {
        $($(#[$meta])* pub const $id: u32 = $index;)*
        /// The programs with their numbers.
        pub const PROGRAMS: &[(u32, ProgramSpec)] = &[$(($index, ProgramSpec {
            name: $name, attach: $attach, signal: $signal, rung: Rung::$rung, group: Group::$group, optional: $optional,
        })),*];
    };
}

use Attach::{CgroupSock, CgroupSockAddr, Fentry, Kprobe, Lsm, RawTp, TpBtf, Tracepoint};

programs! {
    /// fork, BTF rung.
    BTF_FORK = 0, "btf_fork", TpBtf("sched_process_fork"), Some(Signal::Fork), TpBtf, Exec, false;
    /// fork, raw rung.
    RAW_FORK = 1, "raw_fork", RawTp("sched_process_fork"), Some(Signal::Fork), RawTp, Exec, false;
    /// exec, BTF rung.
    BTF_EXEC = 2, "btf_exec", TpBtf("sched_process_exec"), Some(Signal::Exec), TpBtf, Exec, false;
    /// exec, raw rung.
    RAW_EXEC = 3, "raw_exec", RawTp("sched_process_exec"), Some(Signal::Exec), RawTp, Exec, false;
    /// exit, BTF rung.
    BTF_EXIT = 4, "btf_exit", TpBtf("sched_process_exit"), Some(Signal::Exit), TpBtf, Exec, false;
    /// exit, raw rung.
    RAW_EXIT = 5, "raw_exit", RawTp("sched_process_exit"), Some(Signal::Exit), RawTp, Exec, false;
    /// New cgroups inherit their parent's label.
    CGROUP_MKDIR = 6, "cgroup_mkdir", RawTp("cgroup_mkdir"), None, RawTp, Cgroup, false;
    /// Removed cgroups lose theirs.
    CGROUP_RMDIR = 7, "cgroup_rmdir", RawTp("cgroup_rmdir"), None, RawTp, Cgroup, false;
    /// A task moves.
    CGROUP_ATTACH = 8, "cgroup_attach", RawTp("cgroup_attach_task"), None, RawTp, Cgroup, false;
    /// Credentials and script before an exec (kernels with `sched_prepare_exec`).
    BTF_PREPARE_EXEC = 9, "btf_prep_exec", TpBtf("sched_prepare_exec"), Some(Signal::Exec), TpBtf, Bprm, true;
    /// The same through LSM.
    LSM_BPRM_COMMITTING = 10, "lsm_bprm", Lsm("bprm_committing_creds"), Some(Signal::Exec), Lsm, Bprm, true;
    /// open.
    LSM_FILE_OPEN = 11, "lsm_open", Lsm("file_open"), Some(Signal::Open), Lsm, Open, false;
    /// open.
    FENTRY_FILE_OPEN = 12, "fentry_open", Fentry("security_file_open"), Some(Signal::Open), Fentry, Open, false;
    /// open.
    KPROBE_FILE_OPEN = 13, "kprobe_open", Kprobe("security_file_open"), Some(Signal::Open), Kprobe, Open, false;
    /// open.
    TP_EXIT_OPEN = 14, "tp_exit_open", Tracepoint("syscalls", "sys_exit_open"), Some(Signal::Open), Tracepoint, Open, true;
    /// open.
    TP_EXIT_OPENAT = 15, "tp_exit_openat", Tracepoint("syscalls", "sys_exit_openat"), Some(Signal::Open), Tracepoint, Open, false;
    /// open.
    TP_EXIT_OPENAT2 = 16, "tp_exit_openat2", Tracepoint("syscalls", "sys_exit_openat2"), Some(Signal::Open), Tracepoint, Open, true;
    /// open.
    TP_EXIT_CREAT = 17, "tp_exit_creat", Tracepoint("syscalls", "sys_exit_creat"), Some(Signal::Open), Tracepoint, Open, true;
    /// open by handle.
    TP_EXIT_BY_HANDLE = 18, "tp_exit_handle", Tracepoint("syscalls", "sys_exit_open_by_handle_at"), Some(Signal::Open), Tracepoint, Open, true;
    /// io_uring opens on the tracepoint rung, kernels >= 6.4.
    BTF_URING_REQ = 19, "btf_uring_req", TpBtf("io_uring_submit_req"), Some(Signal::Open), TpBtf, Uring, true;
    /// The same before 6.4.
    BTF_URING_SQE = 20, "btf_uring_sqe", TpBtf("io_uring_submit_sqe"), Some(Signal::Open), TpBtf, Uring, true;
    /// connect.
    CG_CONNECT4 = 21, "cg_connect4", CgroupSockAddr, Some(Signal::Connect), Cgroup, Net, false;
    /// connect.
    CG_CONNECT6 = 22, "cg_connect6", CgroupSockAddr, Some(Signal::Connect), Cgroup, Net, false;
    /// unconnected send.
    CG_SENDMSG4 = 23, "cg_sendmsg4", CgroupSockAddr, Some(Signal::Send), Cgroup, Net, false;
    /// unconnected send.
    CG_SENDMSG6 = 24, "cg_sendmsg6", CgroupSockAddr, Some(Signal::Send), Cgroup, Net, false;
    /// connect (all families; unix too on rungs that share the function).
    LSM_CONNECT = 25, "lsm_connect", Lsm("socket_connect"), Some(Signal::Connect), Lsm, Net, false;
    /// connect.
    FENTRY_CONNECT = 26, "fentry_connect", Fentry("security_socket_connect"), Some(Signal::Connect), Fentry, Net, false;
    /// connect.
    KPROBE_CONNECT = 27, "kprobe_connect", Kprobe("security_socket_connect"), Some(Signal::Connect), Kprobe, Net, false;
    /// connect.
    TP_EXIT_CONNECT = 28, "tp_exit_connect", Tracepoint("syscalls", "sys_exit_connect"), Some(Signal::Connect), Tracepoint, Net, false;
    /// unconnected send.
    LSM_SENDMSG = 29, "lsm_sendmsg", Lsm("socket_sendmsg"), Some(Signal::Send), Lsm, Net, false;
    /// unconnected send.
    FENTRY_SENDMSG = 30, "fentry_sendmsg", Fentry("security_socket_sendmsg"), Some(Signal::Send), Fentry, Net, false;
    /// unconnected send.
    KPROBE_SENDMSG = 31, "kprobe_sendmsg", Kprobe("security_socket_sendmsg"), Some(Signal::Send), Kprobe, Net, false;
    /// unconnected send.
    TP_ENTER_SENDTO = 32, "tp_enter_sendto", Tracepoint("syscalls", "sys_enter_sendto"), Some(Signal::Send), Tracepoint, Net, false;
    /// unconnected send.
    TP_ENTER_SENDMSG = 33, "tp_ent_sendmsg", Tracepoint("syscalls", "sys_enter_sendmsg"), Some(Signal::Send), Tracepoint, Net, true;
    /// unconnected send.
    TP_ENTER_SENDMMSG = 34, "tp_ent_sendmmsg", Tracepoint("syscalls", "sys_enter_sendmmsg"), Some(Signal::Send), Tracepoint, Net, true;
    /// Result of a TCP connect.
    RAW_SOCK_STATE = 35, "raw_sock_state", RawTp("inet_sock_set_state"), Some(Signal::Connect), RawTp, Net, true;
    /// unix connect.
    LSM_UNIX = 36, "lsm_unix", Lsm("unix_stream_connect"), Some(Signal::Unix), Lsm, Unix, false;
    /// unix datagram send or connect.
    LSM_UNIX_SEND = 37, "lsm_unix_send", Lsm("unix_may_send"), Some(Signal::Unix), Lsm, Unix, true;
    /// unix connect.
    FENTRY_UNIX = 38, "fentry_unix", Fentry("security_unix_stream_connect"), Some(Signal::Unix), Fentry, Unix, false;
    /// unix connect.
    KPROBE_UNIX = 39, "kprobe_unix", Kprobe("security_unix_stream_connect"), Some(Signal::Unix), Kprobe, Unix, false;
    /// unix connect: fd → sock → peer.
    TP_EXIT_CONNECT_UNIX = 40, "tp_exit_conn_ux", Tracepoint("syscalls", "sys_exit_connect"), Some(Signal::Unix), Tracepoint, Unix, false;
    /// Creation of raw sockets (inet families only).
    CG_SOCK_CREATE = 41, "cg_sock_create", CgroupSock, Some(Signal::Socket), Cgroup, Net, false;
    /// Creation of uncommon sockets.
    LSM_SOCKET = 42, "lsm_socket", Lsm("socket_create"), Some(Signal::Socket), Lsm, Net, false;
    /// Creation of uncommon sockets.
    FENTRY_SOCKET = 43, "fentry_socket", Fentry("security_socket_create"), Some(Signal::Socket), Fentry, Net, false;
    /// Creation of uncommon sockets.
    KPROBE_SOCKET = 44, "kprobe_socket", Kprobe("security_socket_create"), Some(Signal::Socket), Kprobe, Net, false;
    /// Creation of uncommon sockets (arguments are registers).
    TP_ENTER_SOCKET = 45, "tp_enter_socket", Tracepoint("syscalls", "sys_enter_socket"), Some(Signal::Socket), Tracepoint, Net, false;
    /// unix datagram send or connect.
    FENTRY_UNIX_SEND = 46, "fentry_unix_snd", Fentry("security_unix_may_send"), Some(Signal::Unix), Fentry, Unix, true;
    /// unix datagram send or connect.
    KPROBE_UNIX_SEND = 47, "kprobe_unix_snd", Kprobe("security_unix_may_send"), Some(Signal::Unix), Kprobe, Unix, true;
    /// Keeps descriptor and address of a connect until `TP_EXIT_CONNECT` runs.
    TP_ENTER_CONNECT = 48, "tp_ent_connect", Tracepoint("syscalls", "sys_enter_connect"), Some(Signal::Connect), Tracepoint, Net, false;
    /// Keeps descriptor and address of a connect until `TP_EXIT_CONNECT_UNIX` runs.
    TP_ENTER_CONNECT_UNIX = 49, "tp_ent_conn_ux", Tracepoint("syscalls", "sys_enter_connect"), Some(Signal::Unix), Tracepoint, Unix, false;
    /// Inode of the script before an exec: only here is the first file of a `#!` chain still at hand.
    LSM_BPRM_CHECK = 50, "lsm_bprm_check", Lsm("bprm_check_security"), Some(Signal::Exec), Lsm, Bprm, true;
    /// Creation of uncommon sockets (kernels that give a system call's arguments when it ends).
    TP_EXIT_SOCKET = 51, "tp_exit_socket", Tracepoint("syscalls", "sys_exit_socket"), Some(Signal::Socket), Tracepoint, Net, false;
}

/// Programs of the tracepoint rung that only kernels need that do not give a system call's arguments when it ends.
pub const ENTRY_ONLY: &[u32] = &[TP_ENTER_SOCKET, TP_ENTER_CONNECT, TP_ENTER_CONNECT_UNIX];
/// Programs that stand in for them elsewhere.
pub const EXIT_ONLY: &[u32] = &[TP_EXIT_SOCKET];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_numbers_are_their_positions_and_names_fit_the_kernel() {
        for (position, (number, spec)) in PROGRAMS.iter().enumerate() {
            assert_eq!(position as u32, *number, "{}", spec.name);
            assert!(spec.name.len() <= 15, "{}: the kernel cuts program names at 15 bytes", spec.name);
        }
        assert!(PROGRAMS.len() as u32 <= crate::map::PROGRAMS_MAX);
    }
}

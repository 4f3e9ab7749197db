//! The system calls that the agent never makes once it watches.
//!
//! A list of what is refused, not of what is allowed: the C library, the allocator and TLS may need another call tomorrow, and an
//! agent that breaks over it watches nothing. What is here is what an attacker inside the agent would reach for.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
use seccompiler::{BackendError, SeccompCondition, SeccompRule};

/// kexec_file_load(2), which not every C library's headers know.
#[cfg(target_arch = "x86_64")]
const KEXEC_FILE_LOAD: c_long = 320;
#[cfg(target_arch = "aarch64")]
const KEXEC_FILE_LOAD: c_long = 294;

/// Refused whatever their arguments.
const REFUSED: &[c_long] = &[
    // Other processes' memory, registers and descriptors.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Files past their paths and their permissions.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // Namespaces and mounts.
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_acct,
    // Other kernel code, another kernel, none.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    KEXEC_FILE_LOAD,
    libc::SYS_reboot,
    // Other programs: it executes none, and its canary's were executed before.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_personality,
    // Keys.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // What attacks on the kernel go through.
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_fanotify_init,
    // The host's clock, name and log. Not clock_adjtime: it tells whether the clock is right, and sets nothing without CAP_SYS_TIME.
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// Commands of bpf(2) that stay (include/uapi/linux/bpf.h, `bpf_cmd`): elements of maps that are open, and what an open
/// program says of itself. Not among them: making maps, loading, attaching, getting at what others have.
const BPF_KEPT: [u64; 5] = [
    1,  // BPF_MAP_LOOKUP_ELEM
    2,  // BPF_MAP_UPDATE_ELEM
    3,  // BPF_MAP_DELETE_ELEM
    4,  // BPF_MAP_GET_NEXT_KEY
    15, // BPF_OBJ_GET_INFO_BY_FD
];

/// Kinds of sockets that stay.
const FAMILIES_KEPT: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// The ioctl that types into a terminal (include/uapi/asm-generic/ioctls.h); the C libraries give it different types.
const TIOCSTI: u64 = 0x5412;

/// Flags of clone(2) that make a namespace; CLONE_NEWTIME is one of clone3(2) only.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// How many are refused whatever their arguments.
pub(super) fn count() -> usize {
    REFUSED.len()
}

/// Call → when it is refused; always, if nothing is said.
pub(super) fn refused() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let mut calls: BTreeMap<i64, Vec<SeccompRule>> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    calls.insert(libc::SYS_bpf, vec![other_than(BPF_KEPT)?]);
    calls.insert(libc::SYS_socket, vec![other_than(FAMILIES_KEPT.map(|family| family as u64))?]);
    let namespaces = NAMESPACES.into_iter().map(|flag| {
        let flag = u64::from(flag.cast_unsigned());
        SeccompRule::new(vec![SeccompCondition::new(0, Dword, MaskedEq(flag), flag)?])
    });
    calls.insert(libc::SYS_clone, namespaces.collect::<Result<_, _>>()?);
    let types = SeccompCondition::new(1, Dword, Eq, TIOCSTI)?;
    calls.insert(libc::SYS_ioctl, vec![SeccompRule::new(vec![types])?]);
    Ok(calls)
}

/// A first argument that is none of these.
fn other_than<const N: usize>(kept: [u64; N]) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(
        kept.iter().map(|value| SeccompCondition::new(0, Dword, Ne, *value)).collect::<Result<_, _>>()?,
    )
}

//! Namespaces of a task, as inode numbers, and its pid in the innermost one.

use aya_ebpf::Global;

use crate::offsets::{
    OFF_CRED_USER_NS, OFF_PID_LEVEL, OFF_PID_NUMBERS, OFF_TASK_CRED, OFF_TASK_NSPROXY, OFF_TASK_THREAD_PID,
    OFF_UPID_NR, OFF_USER_NS_INUM, SIZE_UPID, at, present,
};
use crate::read::or_zero;

/// Inode number of a namespace behind `task->nsproxy` (`which` is its offset there, `inum` that of the number in it);
/// 0 if unreadable or absent. A task that is exiting has none.
#[inline(always)]
pub fn of_task(task: u64, which: &Global<u32>, inum: &Global<u32>) -> u32 {
    if !present(which) || !present(inum) {
        return 0;
    }
    or_zero(or_zero(or_zero(task, &OFF_TASK_NSPROXY), which), inum)
}

/// Inode number of the task's user namespace; 0 if unreadable.
#[inline(always)]
pub fn user(task: u64) -> u32 {
    if !present(&OFF_CRED_USER_NS) || !present(&OFF_USER_NS_INUM) {
        return 0;
    }
    or_zero(or_zero(or_zero(task, &OFF_TASK_CRED), &OFF_CRED_USER_NS), &OFF_USER_NS_INUM)
}

/// Pid of the task in its innermost pid namespace; 0 if unreadable.
#[inline(always)]
pub fn pid(task: u64) -> u32 {
    let pid = or_zero::<u64>(task, &OFF_TASK_THREAD_PID);
    // At most 32 (include/linux/pid_namespace.h, MAX_PID_NS_LEVEL).
    let level = or_zero::<u32>(pid, &OFF_PID_LEVEL) as u64 & 63;
    let number = at(pid, &OFF_PID_NUMBERS).wrapping_add(level * SIZE_UPID.load() as u64);
    or_zero(number, &OFF_UPID_NR)
}

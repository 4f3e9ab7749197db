//! Namespaces of a task, as inode numbers, and its pid in the innermost one.

use aya_ebpf::Global;

use crate::offsets::{
    OFF_CRED_USER_NS, OFF_PID_LEVEL, OFF_PID_NUMBERS, OFF_TASK_CRED, OFF_TASK_NSPROXY, OFF_TASK_THREAD_PID,
    OFF_UPID_NR, OFF_USER_NS_INUM, SIZE_UPID, at,
};
use crate::read::{field, field_or, kernel};

/// Deepest nesting of pid namespaces (include/linux/pid_namespace.h, MAX_PID_NS_LEVEL).
const LEVELS: u32 = 32;

/// Inode number of a namespace behind `task->nsproxy` (`which` is its offset there, `inum` that of the number in it);
/// 0 if unreadable or absent.
#[inline(always)]
pub fn of_task(task: u64, which: &Global<u32>, inum: &Global<u32>) -> u32 {
    match field::<u64>(task, &OFF_TASK_NSPROXY) {
        // A task that is exiting has none.
        Ok(proxy) if proxy != 0 => match field_or::<u64>(proxy, which, 0) {
            0 => 0,
            namespace => field_or(namespace, inum, 0),
        },
        _ => 0,
    }
}

/// Inode number of the task's user namespace; 0 if unreadable.
#[inline(always)]
pub fn user(task: u64) -> u32 {
    let cred = field::<u64>(task, &OFF_TASK_CRED).unwrap_or(0);
    match field_or::<u64>(cred, &OFF_CRED_USER_NS, 0) {
        0 => 0,
        namespace => field_or(namespace, &OFF_USER_NS_INUM, 0),
    }
}

/// Pid of the task in its innermost pid namespace; 0 if unreadable.
#[inline(always)]
pub fn pid(task: u64) -> u32 {
    let pid = field::<u64>(task, &OFF_TASK_THREAD_PID).unwrap_or(0);
    let level = field::<u32>(pid, &OFF_PID_LEVEL).unwrap_or(0);
    if level > LEVELS {
        return 0;
    }
    let numbers = at(pid, &OFF_PID_NUMBERS);
    kernel(at(numbers.wrapping_add(level as u64 * SIZE_UPID.load() as u64), &OFF_UPID_NR)).unwrap_or(0)
}

//! Credentials of a task (`task->cred`, the ones it acts with).

use aya_ebpf::Global;

use crate::offsets::{OFF_CRED_EGID, OFF_CRED_EUID, OFF_CRED_GID, OFF_CRED_UID, OFF_TASK_CRED, at};
use crate::read;

/// An id, without a branch: all bits set if unreadable, so that a failed read never looks like root.
#[inline(always)]
fn id(cred: u64, offset: &Global<u32>) -> u32 {
    let mut id = 0u32;
    let failed = read::copy_kernel((&raw mut id).cast(), size_of::<u32>() as u32, at(cred, offset));
    id | (failed >> 63) as u32
}

/// `struct cred` of a task; 0 if unreadable.
#[inline(always)]
fn of(task: u64) -> u64 {
    read::or_zero(task, &OFF_TASK_CRED)
}

/// Effective user and group id; `u32::MAX` where unreadable. (The helper `bpf_get_current_uid_gid` gives the real ones.)
#[inline(always)]
pub fn effective(task: u64) -> (u32, u32) {
    let cred = of(task);
    (id(cred, &OFF_CRED_EUID), id(cred, &OFF_CRED_EGID))
}

/// Real user and group id; `u32::MAX` where unreadable.
#[inline(always)]
pub fn real(task: u64) -> (u32, u32) {
    let cred = of(task);
    (id(cred, &OFF_CRED_UID), id(cred, &OFF_CRED_GID))
}

//! Credentials of a task (`task->cred`, the ones it acts with).

use crate::offsets::{OFF_CRED_EGID, OFF_CRED_EUID, OFF_CRED_GID, OFF_CRED_UID, OFF_TASK_CRED};
use crate::read::field;

/// `struct cred` of a task; 0 if unreadable.
#[inline(always)]
fn of(task: u64) -> u64 {
    field(task, &OFF_TASK_CRED).unwrap_or(0)
}

/// Effective user and group id; `u32::MAX` where unreadable. (The helper `bpf_get_current_uid_gid` gives the real ones.)
#[inline(always)]
pub fn effective(task: u64) -> (u32, u32) {
    let cred = of(task);
    (field(cred, &OFF_CRED_EUID).unwrap_or(u32::MAX), field(cred, &OFF_CRED_EGID).unwrap_or(u32::MAX))
}

/// Real user and group id; `u32::MAX` where unreadable.
#[inline(always)]
pub fn real(task: u64) -> (u32, u32) {
    let cred = of(task);
    (field(cred, &OFF_CRED_UID).unwrap_or(u32::MAX), field(cred, &OFF_CRED_GID).unwrap_or(u32::MAX))
}

//! The executable of a task: `mm->exe_file`. Null pointers on the way read as zeros.

use crate::offsets::{OFF_FILE_INODE, OFF_INODE_INO, OFF_INODE_SB, OFF_MM_EXE_FILE, OFF_SB_DEV, OFF_TASK_MM};
use crate::read::or_zero;

/// The `struct file` of a task's executable; 0 if it has none (kernel thread) or it cannot be read.
#[inline(always)]
pub fn file(task: u64) -> u64 {
    or_zero(or_zero(task, &OFF_TASK_MM), &OFF_MM_EXE_FILE)
}

/// Inode and device number of a `struct file`; zeros if unreadable.
#[inline(always)]
pub fn file_identity(file: u64) -> (u64, u32) {
    inode_identity(or_zero(file, &OFF_FILE_INODE))
}

/// Inode and device number of a `struct inode`; zeros if unreadable.
#[inline(always)]
pub fn inode_identity(inode: u64) -> (u64, u32) {
    (or_zero(inode, &OFF_INODE_INO), or_zero(or_zero(inode, &OFF_INODE_SB), &OFF_SB_DEV))
}

/// Inode and device number of a task's executable; zeros if it has none.
#[inline(always)]
pub fn identity(task: u64) -> (u64, u32) {
    file_identity(file(task))
}

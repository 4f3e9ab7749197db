//! The executable of a task: `mm->exe_file`.

use crate::offsets::{OFF_FILE_INODE, OFF_INODE_INO, OFF_INODE_SB, OFF_MM_EXE_FILE, OFF_SB_DEV, OFF_TASK_MM};
use crate::read::field;

/// The `struct file` of a task's executable; 0 if it has none (kernel thread) or it cannot be read.
#[inline(always)]
pub fn file(task: u64) -> u64 {
    match field::<u64>(task, &OFF_TASK_MM) {
        Ok(mm) if mm != 0 => field(mm, &OFF_MM_EXE_FILE).unwrap_or(0),
        _ => 0,
    }
}

/// Inode and device number of a `struct file`; zeros if unreadable.
#[inline(always)]
pub fn file_identity(file: u64) -> (u64, u32) {
    match field::<u64>(file, &OFF_FILE_INODE) {
        Ok(inode) if inode != 0 => inode_identity(inode),
        _ => (0, 0),
    }
}

/// Inode and device number of a `struct inode`; zeros if unreadable.
#[inline(always)]
pub fn inode_identity(inode: u64) -> (u64, u32) {
    let ino = field(inode, &OFF_INODE_INO).unwrap_or(0);
    let dev = match field::<u64>(inode, &OFF_INODE_SB) {
        Ok(sb) => field(sb, &OFF_SB_DEV).unwrap_or(0),
        Err(_) => 0,
    };
    (ino, dev)
}

/// Inode and device number of a task's executable; zeros if it has none.
#[inline(always)]
pub fn identity(task: u64) -> (u64, u32) {
    match file(task) {
        0 => (0, 0),
        file => file_identity(file),
    }
}

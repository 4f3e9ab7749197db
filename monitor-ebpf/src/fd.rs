//! From a descriptor to its `struct file`, through the task's own table.

use crate::block::Block;
use crate::offsets::{OFF_FDT_FD, OFF_FDT_MAX, OFF_FILES_FDT, OFF_TASK_FILES, OFF_TASK_FS, OFF_TASK_NSPROXY};
use crate::read::{field, kernel};

/// What a task has: pointers that lie side by side in its `task_struct`, zeros if unreadable.
#[derive(Clone, Copy)]
pub struct Holdings {
    /// `struct fs_struct`: root and working directory.
    pub fs: u64,
    /// `struct files_struct`: descriptors.
    pub files: u64,
    /// `struct nsproxy`: namespaces.
    pub nsproxy: u64,
}

impl Holdings {
    /// Those of a `task_struct`.
    #[inline(always)]
    pub fn of(task: u64) -> Self {
        let mut words = [0; 5];
        let block = Block::read(&raw mut words, task, OFF_TASK_FS.load());
        Self {
            fs: block.get(&OFF_TASK_FS),
            files: block.get(&OFF_TASK_FILES),
            nsproxy: block.get(&OFF_TASK_NSPROXY),
        }
    }
}

/// The `struct file` behind a descriptor of a `struct files_struct`; 0 if it is closed. Another thread may have put another file there
/// since the call that returned it.
#[inline(always)]
pub fn file(files: u64, fd: u32) -> Result<u64, i32> {
    let table: u64 = field(files, &OFF_FILES_FDT)?;
    let (max, slots) = size_and_slots(table)?;
    if fd >= max {
        return Ok(0);
    }
    kernel(slots.wrapping_add(fd as u64 * size_of::<u64>() as u64))
}

/// Number of slots of a `struct fdtable`, and where they are; one read where the fields lie side by side.
#[inline(always)]
fn size_and_slots(table: u64) -> Result<(u32, u64), i32> {
    if OFF_FDT_FD.load() == OFF_FDT_MAX.load().wrapping_add(8) {
        let [max, slots] = field::<[u64; 2]>(table, &OFF_FDT_MAX)?;
        return Ok((max as u32, slots));
    }
    Ok((field(table, &OFF_FDT_MAX)?, field(table, &OFF_FDT_FD)?))
}

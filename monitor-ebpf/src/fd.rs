//! From a descriptor to its `struct file`, through the task's own table.

use crate::offsets::{OFF_FDT_FD, OFF_FDT_MAX, OFF_FILES_FDT, OFF_TASK_FILES};
use crate::read::{field, kernel};

/// The `struct file` behind a descriptor of `task`; 0 if it is closed. Another thread may have put another file there
/// since the call that returned it.
#[inline(always)]
pub fn file(task: u64, fd: u32) -> Result<u64, i32> {
    let files: u64 = field(task, &OFF_TASK_FILES)?;
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

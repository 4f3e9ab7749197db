//! What descriptors 0, 1 and 2 of a task are.

use monitor_common::record::stdio;

use crate::offsets::{
    OFF_FDT_FD, OFF_FDT_MAX, OFF_FILE_INODE, OFF_FILE_PRIVATE, OFF_FILES_FDT, OFF_INODE_INO, OFF_INODE_MODE,
    OFF_SOCK_FAMILY, OFF_SOCKET_SK, OFF_TASK_FILES,
};
use crate::read::{field, field_or, kernel};

const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;
const S_IFREG: u16 = 0o100_000;
const S_IFCHR: u16 = 0o020_000;
const S_IFIFO: u16 = 0o010_000;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Address of the descriptor table's array, 0 if unreadable or shorter than three.
#[inline(always)]
pub fn table(task: u64) -> u64 {
    let files = field::<u64>(task, &OFF_TASK_FILES).unwrap_or(0);
    if files == 0 {
        return 0;
    }
    let fdt = field::<u64>(files, &OFF_FILES_FDT).unwrap_or(0);
    if field::<u32>(fdt, &OFF_FDT_MAX).unwrap_or(0) < 3 {
        return 0;
    }
    field(fdt, &OFF_FDT_FD).unwrap_or(0)
}

/// Kind (`record::stdio`) and inode number of a descriptor in the table.
#[inline(always)]
pub fn describe(table: u64, descriptor: u64) -> (u8, u64) {
    if table == 0 {
        return (stdio::UNKNOWN, 0);
    }
    let file = match kernel::<u64>(table.wrapping_add(descriptor * 8)) {
        Ok(0) => return (stdio::CLOSED, 0),
        Ok(file) => file,
        Err(_) => return (stdio::UNKNOWN, 0),
    };
    let Ok(inode) = field::<u64>(file, &OFF_FILE_INODE) else { return (stdio::UNKNOWN, 0) };
    let Ok(mode) = field::<u16>(inode, &OFF_INODE_MODE) else { return (stdio::UNKNOWN, 0) };
    let kind = match mode & S_IFMT {
        S_IFREG => stdio::FILE,
        S_IFCHR => stdio::CHAR,
        S_IFIFO => stdio::PIPE,
        S_IFSOCK => socket(file),
        _ => stdio::OTHER,
    };
    (kind, field(inode, &OFF_INODE_INO).unwrap_or(0))
}

/// An Internet socket has a remote peer behind it, a unix one usually the parent.
#[inline(always)]
fn socket(file: u64) -> u8 {
    let socket = field_or::<u64>(file, &OFF_FILE_PRIVATE, 0);
    let sock = if socket == 0 { 0 } else { field_or::<u64>(socket, &OFF_SOCKET_SK, 0) };
    let family = if sock == 0 { 0 } else { field_or::<u16>(sock, &OFF_SOCK_FAMILY, 0) };
    if family == AF_INET || family == AF_INET6 { stdio::INET } else { stdio::SOCKET }
}

//! What descriptors 0, 1 and 2 of a task are.

use monitor_common::record::stdio;

use crate::offsets::{
    OFF_FDT_FD, OFF_FDT_MAX, OFF_FILE_INODE, OFF_FILE_PRIVATE, OFF_FILES_FDT, OFF_INODE_INO, OFF_INODE_MODE,
    OFF_SOCK_FAMILY, OFF_SOCKET_SK, OFF_TASK_FILES, present,
};
use crate::read::{kernel, or_zero};

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
    let fdt = or_zero::<u64>(or_zero(task, &OFF_TASK_FILES), &OFF_FILES_FDT);
    if or_zero::<u32>(fdt, &OFF_FDT_MAX) < 3 { 0 } else { or_zero(fdt, &OFF_FDT_FD) }
}

/// Kind (`record::stdio`) and inode number of a descriptor in the table.
#[inline(always)]
pub fn describe(table: u64, descriptor: u64) -> (u8, u64) {
    let file = match kernel::<u64>(table.wrapping_add(descriptor * 8)) {
        Ok(0) => return (stdio::CLOSED, 0),
        Ok(file) => file,
        Err(_) => return (stdio::UNKNOWN, 0),
    };
    let inode = or_zero(file, &OFF_FILE_INODE);
    let kind = match or_zero::<u16>(inode, &OFF_INODE_MODE) & S_IFMT {
        0 => stdio::UNKNOWN,
        S_IFREG => stdio::FILE,
        S_IFCHR => stdio::CHAR,
        S_IFIFO => stdio::PIPE,
        S_IFSOCK => socket(file),
        _ => stdio::OTHER,
    };
    (kind, or_zero(inode, &OFF_INODE_INO))
}

/// An Internet socket has a remote peer behind it, a unix one usually the parent.
#[inline(always)]
fn socket(file: u64) -> u8 {
    if !present(&OFF_FILE_PRIVATE) || !present(&OFF_SOCKET_SK) || !present(&OFF_SOCK_FAMILY) {
        return stdio::SOCKET;
    }
    let sock = or_zero(or_zero(file, &OFF_FILE_PRIVATE), &OFF_SOCKET_SK);
    let family = or_zero::<u16>(sock, &OFF_SOCK_FAMILY);
    if family == AF_INET || family == AF_INET6 { stdio::INET } else { stdio::SOCKET }
}

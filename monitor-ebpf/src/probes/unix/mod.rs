//! Connects to unix sockets, on every rung. `hooks`: LSM, fentry, kprobe, where the kernel hands over the peer it found;
//! `syscalls`: the tracepoint rung, where the peer is read from the connected socket after the call. All end in [`peer`].
//!
//! What is reported is the socket file the kernel resolved, by path, device and inode: the name the process gave may be
//! a symlink, or relative.

mod hooks;
mod syscalls;

use monitor_common::hook::{Kind, Lane};
use monitor_common::record::{Slice, Unix, slice_flags, unix_flags};

use crate::emit;
use crate::exe;
use crate::offsets::{
    OFF_DENTRY_INODE, OFF_SOCK_TYPE, OFF_UNIX_ADDR, OFF_UNIX_ADDR_LEN, OFF_UNIX_ADDR_NAME,
    OFF_UNIX_PATH_DENTRY, OFF_UNIX_PATH_MNT,
};
use crate::path::Path;
use crate::read;
use crate::record::Record;
use crate::scratch::Small;
use crate::subject::Subject;

/// `sun_path` follows the 16-bit family.
const SUN_PATH: u64 = 2;
/// Longest `sun_path` (include/uapi/linux/un.h `UNIX_PATH_MAX`).
const SUN_PATH_MAX: u64 = 108;

/// Reports a connect or send to the unix socket `other` (`struct sock`).
#[inline(always)]
fn peer(subject: &Subject, other: u64, error: i32, flags: u32) {
    let Some(mut record) = Record::<Small, Unix>::claim() else {
        return emit::bare::<Unix>(subject, Kind::Unix, Lane::Priority, |bare| known(bare, error, flags));
    };
    let dentry = read::field::<u64>(other, &OFF_UNIX_PATH_DENTRY).unwrap_or(0);
    let (path, more) =
        if dentry == 0 { name(&mut record, other) } else { (file(&mut record, subject, other, dentry), 0) };
    // SAFETY: the fixed part of a claimed slot.
    unsafe {
        let fixed = record.fixed();
        (*fixed).path = path;
        (*fixed).error = error;
        (*fixed).flags = flags | more;
        (*fixed).sock_type = read::field::<u16>(other, &OFF_SOCK_TYPE).unwrap_or(0) as u32;
        if dentry != 0 {
            let inode = read::field::<u64>(dentry, &OFF_DENTRY_INODE).unwrap_or(0);
            let (ino, dev) = exe::inode_identity(inode);
            (*fixed).ino = ino;
            (*fixed).dev = dev;
        }
    }
    record.send(subject, Kind::Unix, Lane::Priority, |bare| known(bare, error, flags));
}

/// What is known without scratch.
#[inline(always)]
fn known(unix: *mut Unix, error: i32, flags: u32) {
    // SAFETY: the callers pass reserved ring memory of this size.
    unsafe {
        (*unix).error = error;
        (*unix).flags = flags;
    }
}

/// Path of the socket file.
#[inline(always)]
fn file(record: &mut Record<Small, Unix>, subject: &Subject, other: u64, dentry: u64) -> Slice {
    let Some(path) = Path::claim() else {
        return Slice { off: 0, len: 0, flags: slice_flags::UNREADABLE };
    };
    let mnt = read::field::<u64>(other, &OFF_UNIX_PATH_MNT).unwrap_or(0);
    path.walk(subject.task, mnt, dentry);
    let slice = path.append(record);
    path.release();
    slice
}

/// Name of a socket without a file: an abstract one, or none at all (a socketpair).
#[inline(always)]
fn name(record: &mut Record<Small, Unix>, other: u64) -> (Slice, u32) {
    let none = Slice { off: 0, len: 0, flags: slice_flags::NO_PATH };
    let address = read::field::<u64>(other, &OFF_UNIX_ADDR).unwrap_or(0);
    if address == 0 {
        return (none, 0);
    }
    let len = read::field::<u32>(address, &OFF_UNIX_ADDR_LEN).unwrap_or(0) as u64;
    if len <= SUN_PATH + 1 {
        return (none, 0);
    }
    // The leading NUL of an abstract name is left out.
    let text = address.wrapping_add(OFF_UNIX_ADDR_NAME.load() as u64 + SUN_PATH + 1);
    let len = read::bounded(len - SUN_PATH - 1, SUN_PATH_MAX);
    (record.kernel(text, len, 0), unix_flags::ABSTRACT)
}

/// Reports a failed connect whose peer is not known: by the name the process gave (user memory at `address`).
#[inline(always)]
fn named(subject: &Subject, address: u64, len: u64, error: i32) {
    let Some(mut record) = Record::<Small, Unix>::claim() else {
        return emit::bare::<Unix>(subject, Kind::Unix, Lane::Priority, |bare| known(bare, error, 0));
    };
    let mut first = 0u8;
    let abstract_name = read::copy_user(&raw mut first, 1, address.wrapping_add(SUN_PATH)) == 0 && first == 0;
    let (path, flags) = if abstract_name {
        let len = read::bounded(len.saturating_sub(SUN_PATH + 1), SUN_PATH_MAX);
        (record.user(address.wrapping_add(SUN_PATH + 1), len, slice_flags::USER_MEMORY), unix_flags::ABSTRACT)
    } else {
        (
            record.user_str(
                address.wrapping_add(SUN_PATH),
                SUN_PATH_MAX as u32 + 1,
                slice_flags::USER_MEMORY,
            ),
            unix_flags::SUN_PATH,
        )
    };
    // SAFETY: the fixed part of a claimed slot.
    unsafe {
        let fixed = record.fixed();
        (*fixed).path = path;
        (*fixed).error = error;
        (*fixed).flags = flags;
    }
    record.send(subject, Kind::Unix, Lane::Priority, |bare| known(bare, error, flags));
}

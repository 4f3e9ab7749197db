//! Facts of an inode that exec records carry.

use monitor_common::offset::ABSENT;
use monitor_common::record::exec_flags;

use crate::maps::OVERLAY;
use crate::offsets::*;
use crate::read::{field_or, kernel_or_zero, or_zero};

/// Super block magics (include/uapi/linux/magic.h).
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;
const OVERLAYFS: u64 = 0x794c_7630;
const SECOND: u64 = 1_000_000_000;

/// Change time, ns since the epoch; 0 if unknown. Three layouts: `i_ctime_sec` (6.11 on), `__i_ctime` (6.6 on), `i_ctime`.
#[inline(always)]
pub fn ctime(inode: u64) -> u64 {
    if OFF_INODE_CTIME_SEC.load() != ABSENT {
        let sec = field_or::<u64>(inode, &OFF_INODE_CTIME_SEC, 0);
        // Above the nanoseconds, 6.13 keeps a flag (include/linux/fs.h, I_CTIME_QUERIED).
        const NSEC: u32 = (1 << 30) - 1;
        let nsec = field_or::<u32>(inode, &OFF_INODE_CTIME_NSEC, 0) & NSEC;
        return sec.wrapping_mul(SECOND).wrapping_add(nsec as u64);
    }
    // `struct timespec64`: seconds, nanoseconds.
    let [sec, nsec] = if OFF_INODE_CTIME_6_6.load() != ABSENT {
        field_or::<[u64; 2]>(inode, &OFF_INODE_CTIME_6_6, [0; 2])
    } else {
        field_or::<[u64; 2]>(inode, &OFF_INODE_CTIME, [0; 2])
    };
    sec.wrapping_mul(SECOND).wrapping_add(nsec)
}

/// Magic of the inode's file system.
#[inline(always)]
pub fn magic(inode: u64) -> u64 {
    or_zero(or_zero(inode, &OFF_INODE_SB), &OFF_SB_MAGIC)
}

/// Where a file lives, as `exec_flags`: by the magic of its file system, its link count, and whether its mount belongs to
/// no mount namespace (then a tmpfs without links is a memfd: the name proves nothing).
#[inline(always)]
pub fn home(inode: u64, magic: u64, nlink: u32, detached: bool) -> u32 {
    let mut flags = 0;
    if nlink == 0 {
        flags |= exec_flags::DELETED;
    }
    if magic == TMPFS || magic == RAMFS {
        flags |= exec_flags::TMPFS;
        if nlink == 0 && detached {
            flags |= exec_flags::MEMFD;
        }
    }
    if magic == OVERLAYFS {
        flags |= exec_flags::OVERLAY | layer(inode);
    }
    flags
}

/// Which layer an overlay inode's data is in: upper as soon as it has an upper dentry (fs/overlayfs/ovl_entry.h).
#[inline(always)]
fn layer(inode: u64) -> u32 {
    let Some(offsets) = OVERLAY.get(0) else { return exec_flags::OVERLAY_UNKNOWN };
    if offsets.known == 0 {
        return exec_flags::OVERLAY_UNKNOWN;
    }
    let outer = inode.wrapping_sub(offsets.vfs_inode as u64);
    match kernel_or_zero::<u64>(outer.wrapping_add(offsets.upperdentry as u64)) {
        0 => 0,
        _ => exec_flags::OVERLAY_UPPER,
    }
}

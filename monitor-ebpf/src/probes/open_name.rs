//! Opens of which only a name is known: those that failed (tracepoint rung) and io_uring requests at submission.
//!
//! The name is text: no symbolic link in it was followed. It is joined to the path of the folder it starts from and put
//! to the text filters. What the text cannot tell (`..` and the like) is sent too, unless the file was simply not there.

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user_str};
use monitor_common::filter::{TAIL_MAX, access_of_flags, matched};
use monitor_common::hook::{Kind, Lane};
use monitor_common::record::{Open, PATH_MAX, Slice, slice_flags};

use crate::count::{self, Fate};
use crate::emit;
use crate::fd::{self, Holdings};
use crate::offsets::*;
use crate::path::Path;
use crate::read::kernel_or_zero;
use crate::record::Record;
use crate::scratch::Small;
use crate::subject::Subject;
use crate::watch;

/// `AT_FDCWD` (include/uapi/linux/fcntl.h).
pub const AT_FDCWD: i32 = -100;
const ENOENT: i32 = -2;
const ENOTDIR: i32 = -20;

/// An open by name.
#[derive(Clone, Copy)]
pub struct Named {
    /// `Open`, or `UringOpen`.
    pub kind: Kind,
    /// Address of the name.
    pub name: u64,
    /// Whether that address is the process's own memory, which it can change.
    pub user: bool,
    /// Folder descriptor, or [`AT_FDCWD`].
    pub dirfd: i32,
    /// `O_*`.
    pub flags: u32,
    /// Negative errno, 0 if the outcome is not known.
    pub error: i32,
    /// Number of the system call or of the io_uring operation.
    pub opcode: u32,
    /// Filters that pass it whatever its name is ([`matched`]).
    pub matched: u32,
}

/// Sends the open if it is of interest. Ends the run.
#[inline(never)]
pub fn named(subject: &Subject, named: &Named) {
    let Some(path) = Path::claim() else {
        return bare(subject, named);
    };
    let found = look(subject, named, &path);
    if !path.owned() {
        // Another task's run took the slot while we were preempted: what the filters saw may not be ours.
        return bare(subject, named);
    }
    if found == 0 {
        path.release();
        return count::ended(subject, Fate::Filtered);
    }
    send(subject, named, found, path);
}

/// Which filters let it pass. Leaves the folder's path in `path`, the name behind it.
#[inline(always)]
fn look(subject: &Subject, named: &Named, path: &Path) -> u32 {
    let behind = path.behind();
    // SAFETY: within the margin behind the text.
    let (with_nul, first) = unsafe {
        let size = copy(named, behind.add(1), TAIL_MAX);
        (size, core::ptr::read_volatile(behind.add(1)))
    };
    if with_nul <= 1 {
        // Not readable, or the empty name: nothing a filter could say, and no file either.
        path.clear();
        return named.matched;
    }
    if first == b'/' {
        path.only_behind();
        // SAFETY: as above. No slash, so that the one in the name is not taken for the second of two.
        unsafe { core::ptr::write_volatile(behind, 0) };
    } else {
        folder(subject, named.dirfd, path);
        path.without_root();
        // SAFETY: as above.
        unsafe { core::ptr::write_volatile(behind, b'/') };
    }
    path.set_behind(with_nul as u32);
    if named.matched != 0 {
        return named.matched;
    }
    let dots = path.scan();
    let found = watch::name(path, access_of_flags(named.flags));
    let unclear = dots || with_nul as u32 >= TAIL_MAX || path.flags() & slice_flags::CUT != 0;
    if found == 0 && unclear && named.error != ENOENT && named.error != ENOTDIR {
        matched::DOTS
    } else {
        found
    }
}

/// Copies the name, its NUL included, at most `max` bytes; its size, or a negative errno.
#[inline(always)]
unsafe fn copy(named: &Named, dst: *mut u8, max: u32) -> i64 {
    // SAFETY: the caller's `dst` has room for `max` bytes; the helpers check the address of the name.
    unsafe {
        if named.user {
            bpf_probe_read_user_str(dst.cast(), max, named.name as *const _)
        } else {
            bpf_probe_read_kernel_str(dst.cast(), max, named.name as *const _)
        }
    }
}

/// Walks to the folder a relative name starts from.
#[inline(always)]
fn folder(subject: &Subject, dirfd: i32, path: &Path) {
    let task = Holdings::of(subject.task);
    let (mnt, dentry) = if dirfd == AT_FDCWD {
        let pwd = at(task.fs, &OFF_FS_PWD);
        (at(pwd, &OFF_PATH_MNT), at(pwd, &OFF_PATH_DENTRY))
    } else {
        let file = fd::file(task.files, dirfd as u32).unwrap_or(0);
        (at(file, &OFF_FILE_PATH_MNT), at(file, &OFF_FILE_PATH_DENTRY))
    };
    path.walk_from(task.fs, kernel_or_zero(mnt), kernel_or_zero(dentry));
}

#[inline(always)]
fn send(subject: &Subject, named: &Named, found: u32, path: Path) {
    let Some(mut record) = Record::<Small, Open>::claim() else {
        path.release();
        return bare(subject, named);
    };
    let name = if named.user {
        record.user_str(named.name, PATH_MAX as u32, slice_flags::USER_MEMORY)
    } else {
        record.kernel_str(named.name, PATH_MAX as u32, 0)
    };
    // SAFETY: within the margin behind the text.
    let relative = unsafe { core::ptr::read_volatile(path.behind()) } == b'/';
    let dir = match (relative, path.parts()) {
        (false, _) => Slice::ZERO,
        // The root: its one slash went with the name.
        (true, 0) => record.kernel(path.behind() as u64, 1, path.flags()),
        (true, _) => path.append(&mut record),
    };
    let open = record.fixed();
    fill(open, named);
    // SAFETY: the fixed part of a claimed slot.
    unsafe {
        (*open).path = name;
        (*open).dir = dir;
        (*open).matched = found;
        (*open).file_mnt_ns = path.mount_namespace();
    }
    path.release();
    record.send(subject, named.kind, Lane::Priority, |open| nameless(open, named));
}

#[inline(always)]
fn fill(open: *mut Open, named: &Named) {
    // SAFETY: the callers pass the fixed part of a claimed slot, or reserved ring memory.
    let open = unsafe { &mut *open };
    open.open_flags = named.flags;
    open.access = access_of_flags(named.flags);
    open.error = named.error;
    open.dirfd = named.dirfd;
    open.opcode = named.opcode;
    open.matched = named.matched;
}

/// What is known without scratch.
#[inline(always)]
fn nameless(open: *mut Open, named: &Named) {
    fill(open, named);
    // SAFETY: the callers pass reserved ring memory.
    unsafe {
        (*open).matched |= matched::UNRESOLVED;
        (*open).path.flags = slice_flags::UNREADABLE | slice_flags::CUT;
    }
}

/// All scratch is taken: neither the name nor whether it is of interest can be said.
#[inline(always)]
fn bare(subject: &Subject, named: &Named) {
    emit::bare::<Open>(subject, named.kind, Lane::Priority, |open| nameless(open, named));
}

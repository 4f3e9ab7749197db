//! open: what every rung has in common, from the opened `struct file` to the record.

use monitor_common::filter::{access_of_flags, matched, mount_relation};
use monitor_common::hook::{Kind, Lane};
use monitor_common::map::place;
use monitor_common::record::{Open, header_flags, mount_rel, slice_flags};

use crate::count::{self, Fate};
use crate::emit;
use crate::fd::Holdings;
use crate::offsets::*;
use crate::path::{self, Path};
use crate::read::{field, or_zero};
use crate::record::Record;
use crate::scratch::Small;
use crate::subject::Subject;
use crate::watch;

/// `PROC_SUPER_MAGIC` (include/uapi/linux/magic.h).
const PROC_MAGIC: u64 = 0x9fa0;
/// `__FMODE_EXEC` in `f_flags` (include/linux/fs.h): the kernel itself opens a program or its interpreter.
const EXEC_FLAG: u32 = 0x20;
/// `FMODE_BACKING` in `f_mode` (include/linux/fs.h, since 6.5): the file behind a file of overlayfs or FUSE.
const FMODE_BACKING: u32 = 1 << 25;
/// `SB_KERNMOUNT` in `s_flags` (include/linux/fs.h): a file system only the kernel mounts (pipes, sockets, memfd, …).
const SB_KERNMOUNT: u64 = 1 << 22;

/// How an open was seen.
#[derive(Clone, Copy)]
pub struct Seen {
    /// The `struct file`.
    pub file: u64,
    /// What the task has.
    pub task: Holdings,
    /// Return value of the system call, 0 where the rung has none.
    pub ret: i32,
    /// Number of the system call, 0 if unknown.
    pub opcode: u32,
}

/// An open as the function rungs see it: before overlayfs opens the file behind, and with the kernel's own opens.
#[inline(always)]
pub fn hooked(subject: &Subject, file: u64) {
    let flags: u32 = or_zero(file, &OFF_FILE_FLAGS);
    if flags & EXEC_FLAG != 0 {
        // What is executed is told by the exec signal, on every rung.
        return count::ended(subject, Fate::Filtered);
    }
    if backing(file) {
        return count::ended(subject, Fate::Folded);
    }
    opened(subject, &Seen { file, task: Holdings::of(subject.task), ret: 0, opcode: 0 });
}

/// Whether this is the file behind an overlay file whose own open was seen already. Told by state alone, so that nothing
/// has to be remembered between the two:
/// - from 6.5 such a file is marked;
/// - before, it carries the overlay's path and the inode of the file behind (5.10, 6.1: `open_with_fake_path`);
/// - copying up opens the lower file through a private clone of its mount (`clone_private_mount`), which is in no
///   namespace though its file system is an ordinary one.
#[inline(always)]
fn backing(file: u64) -> bool {
    if present(&SIZE_BACKING_FILE) && or_zero::<u32>(file, &OFF_FILE_MODE) & FMODE_BACKING != 0 {
        return true;
    }
    let inode: u64 = or_zero(file, &OFF_FILE_INODE);
    let dentry: u64 = or_zero(file, &OFF_FILE_PATH_DENTRY);
    // What cannot be read is no reason to drop it.
    if inode != 0 && inode != field::<u64>(dentry, &OFF_DENTRY_INODE).unwrap_or(inode) {
        return true;
    }
    let mount: u64 = or_zero(file, &OFF_FILE_PATH_MNT);
    if !path::internal(mount) {
        return false;
    }
    let sb: u64 = or_zero(inode, &OFF_INODE_SB);
    field::<u64>(sb, &OFF_SB_FLAGS).unwrap_or(SB_KERNMOUNT) & SB_KERNMOUNT == 0
}

/// What the record says of the file, besides its path.
#[derive(Clone, Copy)]
struct Facts {
    inode: u64,
    sb: u64,
    ino: u64,
    dev: u32,
    flags: u32,
    access: u32,
    /// `struct mnt_namespace` of the task.
    own_ns: u64,
    relation: u32,
    matched: u32,
}

/// A successful open: sends it if it is of interest. Ends the run.
#[inline(always)]
pub fn opened(subject: &Subject, seen: &Seen) {
    if !whole(subject, seen) {
        bare(subject, seen);
    }
}

/// With its path. `false`: there was no scratch for it, and nothing was done.
///
/// A function of its own, as [`bare`] is: the stack of a program and of what it calls is 512 bytes, and the two are not
/// called one from the other.
#[inline(never)]
fn whole(subject: &Subject, seen: &Seen) -> bool {
    let Some(path) = Path::claim() else { return false };
    // Zeros if unreadable, and all that follows with them: then the walk fails too, and the record says so.
    let file = path.block::<8>(seen.file, first_of_file());
    let flags: u32 = file.get(&OFF_FILE_FLAGS);
    let inode: u64 = file.get(&OFF_FILE_INODE);
    let (mnt, dentry) = (file.get(&OFF_FILE_PATH_MNT), file.get(&OFF_FILE_PATH_DENTRY));
    let node = path.block::<4>(inode, OFF_INODE_SB.load());
    let (sb, ino) = (node.get(&OFF_INODE_SB), node.get(&OFF_INODE_INO));
    let mut facts = Facts {
        inode,
        sb,
        ino,
        dev: or_zero(sb, &OFF_SB_DEV),
        flags,
        access: access_of_flags(flags),
        own_ns: or_zero(seen.task.nsproxy, &OFF_NSPROXY_MNT),
        relation: mount_rel::UNKNOWN,
        matched: 0,
    };
    if watch::inode(inode, ino, facts.dev, facts.access) {
        facts.matched = matched::INODE;
    }
    path.walk_from(seen.task.fs, mnt, dentry);
    let outside_root = path.flags() & slice_flags::OUTSIDE_ROOT != 0;
    facts.relation = if facts.own_ns == path.namespace() && facts.own_ns != 0 {
        // The same namespace, whatever its number is.
        mount_relation(1, 1, outside_root)
    } else {
        mount_relation(or_zero(facts.own_ns, &OFF_MNT_NS_INUM), path.mount_namespace(), outside_root)
    };
    if facts.relation == mount_rel::FOREIGN {
        facts.matched |= matched::FOREIGN;
    }
    if facts.matched == 0 {
        facts.matched = watch::path(&path, facts.access);
    }
    if !path.owned() {
        // Another task's run took the slot while we were preempted: what the filters saw may not be ours.
        return false;
    }
    if facts.matched == 0 {
        path.release();
        count::ended(subject, Fate::Filtered);
        return true;
    }
    send(subject, seen, &facts, path)
}

/// The first of the fields of a `struct file` that are of interest: their order is not the same on all kernels.
#[inline(always)]
fn first_of_file() -> u32 {
    let (path, inode) = (OFF_FILE_PATH_MNT.load(), OFF_FILE_INODE.load());
    if path < inode { path } else { inode }
}

#[inline(always)]
fn send(subject: &Subject, seen: &Seen, facts: &Facts, path: Path) -> bool {
    let Some(mut record) = Record::<Small, Open>::claim() else {
        path.release();
        return false;
    };
    let text = path.append(&mut record);
    let open = record.fixed();
    fill(open, facts);
    // SAFETY: the fixed part of a claimed slot.
    unsafe {
        (*open).path = text;
        (*open).view = path.view();
        (*open).file_mnt_ns = path.mount_namespace();
        (*open).ret = seen.ret;
        (*open).opcode = seen.opcode;
    }
    path.release();
    let (ino, dev, flags) = (facts.ino, facts.dev, facts.flags);
    record.send(subject, Kind::Open, Lane::Priority, |open| pathless(open, seen, ino, dev, flags));
    true
}

/// What is known without scratch.
#[inline(always)]
fn pathless(open: *mut Open, seen: &Seen, ino: u64, dev: u32, flags: u32) {
    // SAFETY: the callers pass reserved ring memory.
    let open = unsafe { &mut *open };
    open.ino = ino;
    open.dev = dev;
    open.open_flags = flags;
    open.access = access_of_flags(flags);
    open.mount_rel = mount_rel::UNKNOWN;
    open.ret = seen.ret;
    open.opcode = seen.opcode;
    open.matched = matched::UNRESOLVED;
    open.path.flags = slice_flags::UNREADABLE | slice_flags::CUT;
}

/// All scratch is taken: the record carries what a few reads give, and no path.
#[inline(never)]
fn bare(subject: &Subject, seen: &Seen) {
    let inode: u64 = or_zero(seen.file, &OFF_FILE_INODE);
    let flags: u32 = or_zero(seen.file, &OFF_FILE_FLAGS);
    let ino: u64 = or_zero(inode, &OFF_INODE_INO);
    let dev: u32 = or_zero(or_zero(inode, &OFF_INODE_SB), &OFF_SB_DEV);
    emit::bare::<Open>(subject, Kind::Open, Lane::Priority, |open| pathless(open, seen, ino, dev, flags));
}

#[inline(always)]
fn fill(open: *mut Open, facts: &Facts) {
    let magic = or_zero(facts.sb, &OFF_SB_MAGIC);
    // SAFETY: the fixed part of a claimed slot.
    let open = unsafe { &mut *open };
    open.ino = facts.ino;
    open.dev = facts.dev;
    open.open_flags = facts.flags;
    open.access = facts.access;
    open.task_mnt_ns = or_zero(facts.own_ns, &OFF_MNT_NS_INUM);
    open.mount_rel = facts.relation;
    open.matched = facts.matched;
    open.magic = magic;
    open.generation = or_zero(facts.inode, &OFF_INODE_GENERATION);
    open.mode = or_zero::<u16>(facts.inode, &OFF_INODE_MODE) as u32;
    open.nlink = or_zero(facts.inode, &OFF_INODE_NLINK);
    open.proc_pid = if magic == PROC_MAGIC { process_of(facts.inode) } else { 0 };
}

/// The process a procfs inode is about, as a pid of the initial namespace; 0 if about none. For a file below
/// `/proc/PID/task/TID` that is the thread.
#[inline(always)]
fn process_of(inode: u64) -> u32 {
    let proc = inode.wrapping_sub(OFF_PROC_INODE_VFS.load() as u64);
    match field::<u64>(proc, &OFF_PROC_INODE_PID) {
        Ok(pid) if pid != 0 => or_zero(at(pid, &OFF_PID_NUMBERS), &OFF_UPID_NR),
        _ => 0,
    }
}

/// An open whose descriptor could not be followed to a file: sent all the same, to be judged as degraded. A function of its own, for its
/// share of the stack.
#[inline(never)]
pub fn unreadable(subject: &Subject, ret: i32, opcode: u32) {
    count::failed(place::OPEN_READ, -14);
    let degraded = Subject { flags: subject.flags | header_flags::DEGRADED, ..*subject };
    emit::bare::<Open>(&degraded, Kind::Open, Lane::Priority, |open| {
        // SAFETY: reserved ring memory.
        unsafe {
            (*open).matched = matched::UNRESOLVED;
            (*open).path.flags = slice_flags::UNREADABLE | slice_flags::CUT;
            (*open).ret = ret;
            (*open).opcode = opcode;
        }
    });
}

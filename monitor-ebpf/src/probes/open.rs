//! open: what every rung has in common, from the opened `struct file` to the record.

use monitor_common::filter::{access_of_flags, matched, mount_relation};
use monitor_common::hook::{Kind, Lane};
use monitor_common::map::place;
use monitor_common::record::{Open, header_flags, mount_rel, slice_flags};

use crate::count::{self, Fate};
use crate::emit;
use crate::namespace;
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
        return count::ended(subject.program, subject.label, subject.signal, Fate::Filtered);
    }
    if backing(file) {
        return count::ended(subject.program, subject.label, subject.signal, Fate::Folded);
    }
    opened(subject, &Seen { file, ret: 0, opcode: 0 });
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
    seen: Seen,
    inode: u64,
    sb: u64,
    ino: u64,
    dev: u32,
    flags: u32,
    access: u32,
    task_ns: u32,
    file_ns: u32,
    relation: u32,
    matched: u32,
}

/// A successful open: sends it if it is of interest. Ends the run.
#[inline(never)]
pub fn opened(subject: &Subject, seen: &Seen) {
    let flags: u32 = or_zero(seen.file, &OFF_FILE_FLAGS);
    let access = access_of_flags(flags);
    // Zero if unreadable, and all that follows with it: then the walk fails too, and the record says so.
    let inode: u64 = or_zero(seen.file, &OFF_FILE_INODE);
    let sb: u64 = or_zero(inode, &OFF_INODE_SB);
    let ino: u64 = or_zero(inode, &OFF_INODE_INO);
    let dev: u32 = or_zero(sb, &OFF_SB_DEV);
    let mut facts = Facts {
        seen: *seen,
        inode,
        sb,
        ino,
        dev,
        flags,
        access,
        task_ns: 0,
        file_ns: 0,
        relation: mount_rel::UNKNOWN,
        matched: 0,
    };
    if watch::inode(inode, ino, dev, access) {
        facts.matched = matched::INODE;
    }
    let Some(path) = Path::claim() else {
        return bare(subject, &facts);
    };
    path.walk_file(subject.task, seen.file);
    facts.task_ns = namespace::of_task(subject.task, &OFF_NSPROXY_MNT, &OFF_MNT_NS_INUM);
    facts.file_ns = path.mount_namespace();
    let walk = path.flags();
    facts.relation = mount_relation(facts.task_ns, facts.file_ns, walk & slice_flags::OUTSIDE_ROOT != 0);
    if facts.relation == mount_rel::FOREIGN {
        facts.matched |= matched::FOREIGN;
    }
    if facts.matched == 0 {
        facts.matched = watch::path(&path, access);
    }
    if !path.owned() {
        // Another task's run took the slot while we were preempted: what the filters saw may not be ours.
        return bare(subject, &facts);
    }
    if facts.matched == 0 {
        path.release();
        return count::ended(subject.program, subject.label, subject.signal, Fate::Filtered);
    }
    send(subject, &facts, path);
}

#[inline(always)]
fn send(subject: &Subject, facts: &Facts, path: Path) {
    let Some(mut record) = Record::<Small, Open>::claim() else {
        path.release();
        return bare(subject, facts);
    };
    let text = path.append(&mut record);
    let open = record.fixed();
    fill(open, facts);
    // SAFETY: the fixed part of a claimed slot.
    unsafe {
        (*open).path = text;
        (*open).view = path.view();
    }
    path.release();
    record.send(subject, Kind::Open, Lane::Priority);
}

/// All scratch is taken: the record carries what needs no more reads, and no path.
#[inline(always)]
fn bare(subject: &Subject, facts: &Facts) {
    emit::bare::<Open>(subject, Kind::Open, Lane::Priority, |open| {
        basics(open, facts);
        // SAFETY: reserved ring memory.
        unsafe {
            (*open).matched |= matched::UNRESOLVED;
            (*open).path.flags = slice_flags::UNREADABLE | slice_flags::CUT;
        }
    });
}

#[inline(always)]
fn basics(open: *mut Open, facts: &Facts) {
    // SAFETY: the callers pass the fixed part of a claimed slot, or reserved ring memory.
    let open = unsafe { &mut *open };
    open.ino = facts.ino;
    open.dev = facts.dev;
    open.open_flags = facts.flags;
    open.access = facts.access;
    open.task_mnt_ns = facts.task_ns;
    open.file_mnt_ns = facts.file_ns;
    open.mount_rel = facts.relation;
    open.matched = facts.matched;
    open.ret = facts.seen.ret;
    open.opcode = facts.seen.opcode;
}

#[inline(always)]
fn fill(open: *mut Open, facts: &Facts) {
    basics(open, facts);
    let magic = or_zero(facts.sb, &OFF_SB_MAGIC);
    // SAFETY: the fixed part of a claimed slot.
    let open = unsafe { &mut *open };
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

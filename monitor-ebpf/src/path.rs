//! From a `struct path` to text: the walk up dentries and mounts that `d_path` does, with the facts rules need.
//!
//! It goes to the top of the mount tree, past the task's own root, and notes where that root was passed: a path alone is
//! evaded by chroot or a bind mount. Position, dentry and mount live in the scratch slot and are read back volatile each
//! hop: with them in registers the verifier of 6.18 gives up after a million instructions.

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use monitor_common::filter::{Spans, Tail};
use monitor_common::record::{PATH_MAX, Slice, slice_flags};

use crate::block::Block;
use crate::offsets::*;
use crate::read::{self, field, or_zero};
use crate::record::Record;
use crate::repeat::{self, Rounds};
use crate::scratch::{self, Pool};

/// Most dentries and mounts passed on the way up; a deeper path loses its head and is marked `CUT`.
pub const HOPS: u32 = 1024;
/// Longest name of one component, bytes (`NAME_MAX`).
const COMPONENT: u64 = 255;
/// Names whose place is noted: the file and its last three parent folders.
pub const MARKS: usize = 4;
/// Room behind the text: the margin of the last copy, and of a name that was not walked to ([`Path::behind`]). An LPM key
/// that starts at the end of the text lies within it too.
const BEHIND_MAX: usize = 512;
/// Most words of a [`Path::block`].
const BLOCK: usize = 8;
/// [`Path::view`] of a walk that never passed the task's root.
const NEVER: u64 = u64::MAX;

/// State and text of a walk. The text grows from the end of `bytes[..PATH_MAX]` to the front.
#[repr(C)]
pub struct Walk {
    owner: u64,
    /// Where the text starts.
    pos: u64,
    /// `struct dentry` the walk began at.
    first: u64,
    /// Current `struct dentry`.
    dentry: u64,
    /// Current `struct mount`.
    mount: u64,
    /// `mnt_root`, `mnt_parent` and `mnt_mountpoint` of the current mount: one read per mount.
    mnt_root: u64,
    mnt_parent: u64,
    mnt_point: u64,
    root_dentry: u64,
    root_mount: u64,
    /// `struct mnt_namespace` of the last mount, 0 if it has none.
    ns: u64,
    /// Position when the task's root was passed, or [`NEVER`].
    view: u64,
    /// `slice_flags`.
    flags: u32,
    /// Components so far.
    parts: u32,
    /// 1 once the walk came to an end.
    done: u32,
    /// Bytes of a name put behind the text, at `bytes[PATH_MAX..]`.
    behind: u32,
    /// Bytes of it still to be looked at.
    left: u32,
    /// Position of the `/` before each of the last components: file name, folder, folder above, … (the second half: the
    /// others', of no use).
    marks: [u32; 2 * MARKS],
    /// See [`Path::block`].
    block: [u64; BLOCK],
    /// The look at the name behind the text, and its components.
    tail: Tail,
    spans: Spans,
    bytes: [u8; PATH_MAX + BEHIND_MAX],
}

/// One slot per run that may be interrupted, per CPU.
#[map]
static SCRATCH_PATH: PerCpuArray<Walk> = PerCpuArray::with_max_entries(3, 0);

/// A claimed walk.
pub struct Path {
    slot: *mut Walk,
}

/// Reads a word of the slot as if anybody might have written it.
macro_rules! get {
    ($slot:expr, $field:ident) => {
        // SAFETY: a word of a map value.
        unsafe { core::ptr::read_volatile(&raw const (*$slot).$field) }
    };
}
macro_rules! set {
    ($slot:expr, $field:ident, $value:expr) => {{
        let value = $value;
        // SAFETY: a word of a map value.
        unsafe { core::ptr::write_volatile(&raw mut (*$slot).$field, value) }
    }};
}

mod key;

pub use key::{Name, NameKey};

impl Path {
    /// Claims a slot; `None` if none is free.
    #[inline(always)]
    pub fn claim() -> Option<Self> {
        let mut index = 0;
        while index < 3 {
            if let Some(slot) = SCRATCH_PATH.get_ptr_mut(index)
                // SAFETY: address arithmetic within a map value.
                && scratch::take(unsafe { &raw mut (*slot).owner })
            {
                return Some(Self { slot });
            }
            index += 1;
        }
        None
    }

    /// Gives the slot back.
    #[inline(always)]
    pub fn release(self) {
        // SAFETY: address arithmetic within a map value.
        scratch::release(unsafe { &raw mut (*self.slot).owner });
    }

    /// Whether the slot is still ours. Ask before the text is used.
    #[inline(always)]
    pub fn owned(&self) -> bool {
        // SAFETY: address arithmetic within a map value.
        scratch::owned(unsafe { &raw mut (*self.slot).owner })
    }

    /// Reads some words of a structure into the slot, until the next call or walk.
    #[inline(always)]
    pub fn block<const WORDS: usize>(&self, base: u64, first: u32) -> Block<WORDS> {
        block(self.slot, base, first)
    }

    /// Walks up from a `struct file`.
    #[inline(always)]
    pub fn walk_file(&self, task: u64, file: u64) {
        // The offset of `f_path`, whose first member this is on every kernel so far.
        self.walk_path(task, at(file, &OFF_FILE_PATH_MNT).wrapping_sub(OFF_PATH_MNT.load() as u64));
    }

    /// Walks up from the `struct path` at this address.
    #[inline(always)]
    pub fn walk_path(&self, task: u64, path: u64) {
        let (mnt, dentry) = ends(path);
        self.walk(task, mnt, dentry);
    }

    /// Walks up from a `struct vfsmount` and a `struct dentry`, seen by `task`.
    #[inline(always)]
    pub fn walk(&self, task: u64, vfsmount: u64, dentry: u64) {
        self.walk_from(or_zero(task, &OFF_TASK_FS), vfsmount, dentry);
    }

    /// The same, seen by a task with this `struct fs_struct`.
    #[inline(always)]
    pub fn walk_from(&self, fs: u64, vfsmount: u64, dentry: u64) {
        let slot = self.slot;
        set!(slot, pos, PATH_MAX as u64);
        set!(slot, dentry, dentry);
        set!(slot, view, NEVER);
        set!(slot, flags, 0);
        set!(slot, ns, 0);
        set!(slot, parts, 0);
        set!(slot, done, 0);
        set!(slot, behind, 0);
        set!(slot, first, 0);
        set!(slot, root_dentry, 0);
        set!(slot, root_mount, 0);
        if fs != 0 {
            let root = at(fs, &OFF_FS_ROOT);
            let (mnt, dentry) = ends(root);
            set!(slot, root_dentry, dentry);
            set!(slot, root_mount, mount_of(mnt));
        }
        if vfsmount == 0 || dentry == 0 {
            set!(slot, mount, 0);
            set!(slot, flags, slice_flags::UNREADABLE | slice_flags::CUT);
            return;
        }
        enter(slot, mount_of(vfsmount));
        set!(slot, first, dentry);
        climb(slot);
        finish(slot);
    }

    /// `slice_flags` of the text.
    #[inline(always)]
    pub fn flags(&self) -> u32 {
        get!(self.slot, flags)
    }

    /// Bytes of text.
    #[inline(always)]
    pub fn len(&self) -> u64 {
        (PATH_MAX as u64).wrapping_sub(get!(self.slot, pos)) & (2 * PATH_MAX as u64 - 1)
    }

    /// Offset in the text at which the view of the task's root begins; 0 if the root is the top or was never passed
    /// (then `OUTSIDE_ROOT` is set).
    #[inline(always)]
    pub fn view(&self) -> u32 {
        let view = get!(self.slot, view);
        if view == NEVER { 0 } else { view.wrapping_sub(get!(self.slot, pos)) as u32 }
    }

    /// `struct mnt_namespace` of the topmost mount; 0 if it has none (internal or detached mount).
    #[inline(always)]
    pub fn namespace(&self) -> u64 {
        get!(self.slot, ns)
    }

    /// Its inode number.
    #[inline(always)]
    pub fn mount_namespace(&self) -> u32 {
        or_zero(self.namespace(), &OFF_MNT_NS_INUM)
    }

    /// Number of components.
    #[inline(always)]
    pub fn parts(&self) -> u32 {
        get!(self.slot, parts)
    }

    /// Address of the first byte of text.
    #[inline(always)]
    pub fn text(&self) -> u64 {
        // SAFETY: the mask keeps the offset inside the buffer.
        unsafe { (&raw const (*self.slot).bytes).cast::<u8>().add(self.start()) as u64 }
    }

    #[inline(always)]
    fn start(&self) -> usize {
        // An empty text starts at PATH_MAX, hence not `& (PATH_MAX - 1)`.
        read::bounded(get!(self.slot, pos), PATH_MAX as u64) as usize
    }

    /// Appends the text to a record.
    #[inline(always)]
    pub fn append<P: Pool, F: 'static>(&self, record: &mut Record<P, F>) -> Slice {
        if !self.owned() {
            return Slice { off: 0, len: 0, flags: slice_flags::UNREADABLE };
        }
        let deleted = if deleted(get!(self.slot, first)) { slice_flags::DELETED } else { 0 };
        let flags = self.flags() | deleted | self.view() << slice_flags::VIEW_SHIFT;
        record.kernel(self.text(), self.len(), flags)
    }
}

/// The `struct mount` a `struct vfsmount` is part of.
#[inline(always)]
fn mount_of(vfsmount: u64) -> u64 {
    vfsmount.wrapping_sub(OFF_MOUNT_VFSMOUNT.load() as u64)
}

/// Mount and dentry of a `struct path`, zeros if unreadable; one read where they lie side by side.
#[inline(always)]
fn ends(path: u64) -> (u64, u64) {
    if OFF_PATH_DENTRY.load() == OFF_PATH_MNT.load().wrapping_add(8) {
        let [mnt, dentry] = read::or_zero::<[u64; 2]>(path, &OFF_PATH_MNT);
        return (mnt, dentry);
    }
    (read::or_zero(path, &OFF_PATH_MNT), read::or_zero(path, &OFF_PATH_DENTRY))
}

/// Whether a dentry is unhashed without being the root of something: its file was removed.
#[inline(always)]
fn deleted(dentry: u64) -> bool {
    let parent = or_zero::<u64>(dentry, &OFF_DENTRY_PARENT);
    parent != dentry && field::<u64>(dentry, &OFF_DENTRY_HASH) == Ok(0)
}

/// Reads some words of a structure into the slot: the stack has no room for them. What was read before is gone.
#[inline(always)]
fn block<const WORDS: usize>(slot: *mut Walk, base: u64, first: u32) -> Block<WORDS> {
    const { assert!(WORDS <= BLOCK) };
    // SAFETY: address arithmetic within a map value.
    Block::read(unsafe { (&raw mut (*slot).block).cast() }, base, first)
}

/// Makes a mount the current one.
#[inline(always)]
fn enter(slot: *mut Walk, mount: u64) {
    set!(slot, mount, mount);
    let block = block::<3>(slot, mount, OFF_MOUNT_PARENT.load());
    set!(slot, mnt_root, block.at::<u64>(OFF_MOUNT_VFSMOUNT.load().wrapping_add(OFF_VFSMOUNT_ROOT.load())));
    set!(slot, mnt_parent, block.get::<u64>(&OFF_MOUNT_PARENT));
    set!(slot, mnt_point, block.get::<u64>(&OFF_MOUNT_MOUNTPOINT));
}

#[inline(always)]
fn mark(slot: *mut Walk, flags: u32) {
    set!(slot, flags, get!(slot, flags) | flags);
}

/// The hops of a walk.
struct Climb(*mut Walk);

impl Rounds for Climb {
    const MOST: u32 = HOPS;
    const WITHOUT_HELPER: u32 = 160;
    #[inline(always)]
    fn round(&mut self) -> bool {
        let more = step(self.0);
        set!(self.0, done, !more as u32);
        more
    }
}

/// Up to the top, hop by hop.
#[inline(always)]
fn climb(slot: *mut Walk) {
    repeat::run(&mut Climb(slot));
    if get!(slot, done) == 0 {
        mark(slot, slice_flags::CUT);
    }
}

/// One hop: across a mount point, or to the parent folder. `false` at the end.
///
/// As few branches as can be: each is a state the verifier keeps, times the hops, and 8,192 is all it keeps. A failed read
/// is a zero here, which no later hop can leave: the walk ends at `parent == dentry`, cut.
#[inline(always)]
fn step(slot: *mut Walk) -> bool {
    let dentry = get!(slot, dentry);
    let mount = get!(slot, mount);
    if (dentry ^ get!(slot, root_dentry)) | (mount ^ get!(slot, root_mount)) == 0 {
        set!(slot, view, get!(slot, pos));
    }
    if dentry == get!(slot, mnt_root) {
        let parent = get!(slot, mnt_parent);
        if parent == mount {
            return false;
        }
        set!(slot, dentry, get!(slot, mnt_point));
        enter(slot, parent);
        return true;
    }
    let (parent, name, len) = entry(dentry);
    if parent == dentry {
        // The root of a file system, and not the root of this mount: the folder was moved out from under a bind mount,
        // or the dentry belongs to no mount tree at all. What there is of a name is kept.
        if len > 1 {
            prepend(slot, name, len);
        }
        mark(slot, slice_flags::CUT);
        return false;
    }
    set!(slot, dentry, parent);
    prepend(slot, name, len)
}

/// Parent, address and length of the name of a dentry; zeros if unreadable. One 24-byte read where the fields lie side by
/// side, which they do on every kernel so far: the walk is the cost of an open in a worker.
#[inline(always)]
fn entry(dentry: u64) -> (u64, u64, u64) {
    let together = OFF_DENTRY_NAME.load() == OFF_DENTRY_PARENT.load().wrapping_add(8)
        && OFF_QSTR_LEN.load() == 4
        && OFF_QSTR_NAME.load() == 8;
    if together {
        let [parent, hash_len, name] = read::or_zero::<[u64; 3]>(dentry, &OFF_DENTRY_PARENT);
        return (parent, name, hash_len >> 32);
    }
    let name = at(dentry, &OFF_DENTRY_NAME);
    (
        read::or_zero(dentry, &OFF_DENTRY_PARENT),
        read::or_zero(name, &OFF_QSTR_NAME),
        read::or_zero::<u32>(name, &OFF_QSTR_LEN) as u64,
    )
}

/// Puts `/name` before the text; `false` if it does not fit.
#[inline(always)]
fn prepend(slot: *mut Walk, name: u64, len: u64) -> bool {
    // The VFS allows no longer name (NAME_MAX); a longer one is a torn read, and marked below.
    let torn = len >> 8;
    let len = read::opaque(len) & COMPONENT;
    let pos = get!(slot, pos);
    if pos < len + 1 {
        mark(slot, slice_flags::CUT | slice_flags::TRUNCATED);
        return false;
    }
    let slash = read::opaque(pos - len - 1) & (PATH_MAX as u64 - 1);
    // SAFETY: `slash` is below PATH_MAX, and a component and its slash fit in the margin behind it.
    let copied = unsafe {
        let dst = (&raw mut (*slot).bytes).cast::<u8>().add(slash as usize);
        *dst = b'/';
        read::copy_kernel(dst.add(1), len as u32, name)
    };
    // The sign of an errno, as a mask.
    let failed = (copied >> 63) as u64 | (read::is_zero(torn) ^ 1).wrapping_neg();
    mark(slot, failed as u32 & (slice_flags::CUT | slice_flags::UNREADABLE));
    set!(slot, pos, slash);
    let parts = get!(slot, parts) as u64;
    // The marks of the last MARKS components, and as many places that take those of all others.
    let last = MARKS as u64 - 1;
    let index = read::opaque(parts & last | read::below(last, parts) * MARKS as u64) & (2 * MARKS as u64 - 1);
    // SAFETY: the mask keeps the index inside.
    unsafe {
        let marks: *mut u32 = (&raw mut (*slot).marks).cast();
        core::ptr::write_volatile(marks.add(index as usize), slash as u32);
    }
    set!(slot, parts, parts as u32 + 1);
    true
}

/// What the last mount says: its namespace, and whether this is a path at all.
#[inline(always)]
fn finish(slot: *mut Walk) {
    let flags = get!(slot, flags);
    if flags & slice_flags::UNREADABLE == 0 {
        let ns = namespace_of_mount(get!(slot, mount));
        set!(slot, ns, ns);
        if ns == 0 {
            // What there is of a text names the object; there is no head for it to lack.
            set!(slot, flags, flags & !slice_flags::CUT | slice_flags::NO_PATH);
        }
    }
    if get!(slot, view) == NEVER && get!(slot, flags) & slice_flags::NO_PATH == 0 {
        mark(slot, slice_flags::OUTSIDE_ROOT);
    }
    // The top itself: "/" has no component of its own.
    if get!(slot, parts) == 0 {
        let last = PATH_MAX as u64 - 1;
        // SAFETY: a constant index inside.
        unsafe { core::ptr::write_volatile((&raw mut (*slot).bytes).cast::<u8>().add(last as usize), b'/') };
        if get!(slot, view) == PATH_MAX as u64 {
            set!(slot, view, last);
        }
        set!(slot, pos, last);
    }
}

/// Whether a `struct vfsmount` is one only the kernel uses: its namespace is an error value (`MNT_NS_INTERNAL`).
#[inline(always)]
pub fn internal(vfsmount: u64) -> bool {
    field::<u64>(mount_of(vfsmount), &OFF_MOUNT_NS).is_ok_and(is_error)
}

/// `IS_ERR`: the last page of the address space.
#[inline(always)]
fn is_error(address: u64) -> bool {
    address >= u64::MAX - 4094
}

/// The mount namespace a `struct mount` belongs to; 0 if none: null (detached) or an error value
/// (`MNT_NS_INTERNAL`: pipes, sockets, memfd; fs/mount.h).
#[inline(always)]
fn namespace_of_mount(mount: u64) -> u64 {
    let ns = or_zero::<u64>(mount, &OFF_MOUNT_NS);
    if is_error(ns) { 0 } else { ns }
}

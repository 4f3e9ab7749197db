//! A walked path as filter keys, and a name that was not walked to, put behind it.
//!
//! A failed open and an io_uring request have no file, only a name and the folder it starts from: the folder's path is
//! walked as the text, the name is put behind it, and the two together are what the filters see.

use aya_ebpf::maps::lpm_trie::Key;
use monitor_common::filter::{NAME_MAX, PREFIX_MAX, TAIL_MAX, TAIL_PARTS, Tail, skip_bit};
use monitor_common::record::PATH_MAX;

use super::{MARKS, NEVER, Path, Walk};
use crate::read;
use crate::repeat::{self, Rounds};

impl Path {
    /// Makes the text empty without a walk.
    #[inline(always)]
    pub fn clear(&self) {
        let slot = self.slot;
        set!(slot, pos, PATH_MAX as u64);
        set!(slot, view, NEVER);
        set!(slot, flags, 0);
        set!(slot, ns, 0);
        set!(slot, parts, 0);
        set!(slot, behind, 0);
    }

    /// Takes the text `/` as empty, so that a name can follow.
    #[inline(always)]
    pub fn without_root(&self) {
        if self.parts() == 0 {
            set!(self.slot, pos, PATH_MAX as u64);
        }
    }

    /// Makes the text begin with the name behind it, one byte in.
    #[inline(always)]
    pub fn only_behind(&self) {
        self.clear();
        set!(self.slot, pos, PATH_MAX as u64 + 1);
    }

    /// Where a name goes that continues the text: at least `TAIL_MAX` bytes and a slash.
    #[inline(always)]
    pub fn behind(&self) -> *mut u8 {
        // SAFETY: a constant offset inside the buffer.
        unsafe { (&raw mut (*self.slot).bytes).cast::<u8>().add(PATH_MAX) }
    }

    /// Sets how many bytes were put there.
    #[inline(always)]
    pub fn set_behind(&self, len: u32) {
        set!(self.slot, behind, len);
    }

    /// Finds the components of the name behind the text. Returns whether some of them name no place by themselves.
    #[inline(always)]
    pub fn scan(&self) -> bool {
        let slot = self.slot;
        let end = get!(slot, behind);
        set!(slot, tail, Tail::new(end));
        set!(slot, left, end);
        repeat::run(&mut Scan(slot));
        get!(slot, tail).dots != 0
    }

    /// Looks up the text from offset `from` on, together with the name behind it, as an LPM key built in place: the
    /// length word takes the four bytes before it for a moment. `None` if there are no four bytes.
    #[inline(always)]
    pub fn prefix<R>(&self, from: u32, look: impl FnOnce(&Key<[u8; PREFIX_MAX]>) -> R) -> Option<R> {
        let start = get!(self.slot, pos).wrapping_add(from as u64);
        let len = (PATH_MAX as u64 + get!(self.slot, behind) as u64).wrapping_sub(start);
        let len = if len > PREFIX_MAX as u64 { PREFIX_MAX as u64 } else { len };
        let before = read::opaque(start.wrapping_sub(size_of::<u32>() as u64));
        if before > PATH_MAX as u64 {
            return None;
        }
        // SAFETY: at most PATH_MAX, and a whole key fits in the margin behind that.
        unsafe {
            let key = (&raw mut (*self.slot).bytes).cast::<u8>().add(before as usize);
            let word: *mut u32 = key.cast();
            let kept = core::ptr::read_unaligned(word);
            core::ptr::write_unaligned(word, len as u32 * 8);
            let found = look(&*key.cast());
            core::ptr::write_unaligned(word, kept);
            Some(found)
        }
    }

    /// Where the name of a component of the text stands: 0 is the file name, 1 its folder, … `None` if there is none.
    #[inline(always)]
    pub fn name(&self, part: u32) -> Option<Name> {
        if part >= MARKS as u32 || part >= self.parts() {
            return None;
        }
        let index = read::opaque(part as u64) as usize & (MARKS - 1);
        let after = read::opaque(part.wrapping_sub(1) as u64) as usize & (2 * MARKS - 1);
        // SAFETY: the masks keep both indices inside.
        let (slash, end) = unsafe {
            let marks: *const u32 = (&raw const (*self.slot).marks).cast();
            let slash = core::ptr::read_volatile(marks.add(index));
            let next = core::ptr::read_volatile(marks.add(after));
            let end = if part == 0 { PATH_MAX as u32 } else { next };
            (slash as u64 & (PATH_MAX as u64 - 1), end as u64)
        };
        // SAFETY: the text starts below PATH_MAX and the margin follows it.
        let src = unsafe { (&raw const (*self.slot).bytes).cast::<u8>().add(slash as usize + 1) };
        Some(Name { src, len: end.wrapping_sub(slash).wrapping_sub(1) })
    }

    /// [`Path::name`] of the text and the name behind it: the name's components first, then those of the text.
    #[inline(always)]
    pub fn name_behind(&self, part: u32) -> Option<Name> {
        let parts = get!(self.slot, tail).parts;
        // SAFETY: the mask keeps the index inside.
        let [start, end] = unsafe {
            let spans: *const [u32; 2] = (&raw const (*self.slot).spans).cast();
            core::ptr::read_volatile(spans.add(part as usize & (TAIL_PARTS - 1)))
        };
        if part >= parts {
            return self.name(part.wrapping_sub(parts));
        }
        let from = read::bounded(start as u64, TAIL_MAX as u64);
        // SAFETY: at most TAIL_MAX, and a name, behind the text: less than the margin there.
        let src = unsafe { self.behind().add(from as usize) };
        Some(Name { src, len: end.wrapping_sub(start) as u64 })
    }
}

/// The look at the bytes behind the text, from the last to the first.
struct Scan(*mut Walk);

impl Rounds for Scan {
    const MOST: u32 = TAIL_MAX;
    const WITHOUT_HELPER: u32 = TAIL_MAX;
    #[inline(always)]
    fn round(&mut self) -> bool {
        let slot = self.0;
        let position = read::opaque((get!(slot, left) as u64).wrapping_sub(1));
        if position > TAIL_MAX as u64 {
            return false;
        }
        set!(slot, left, position as u32);
        // SAFETY: a position within the margin behind the text.
        let byte = unsafe {
            let behind = (&raw const (*slot).bytes).cast::<u8>().add(PATH_MAX);
            core::ptr::read_volatile(behind.add(position as usize))
        };
        let hide = |value| read::opaque(value as u64) as u32;
        let (after, index, span) = get!(slot, tail).byte(position as u32, byte, hide);
        set!(slot, tail, after);
        let index = read::opaque(index as u64) as usize & (2 * TAIL_PARTS - 1);
        // SAFETY: the mask keeps the index inside.
        unsafe {
            let spans: *mut [u32; 2] = (&raw mut (*slot).spans).cast();
            core::ptr::write_volatile(spans.add(index), span);
        }
        true
    }
}

/// A component's name in the slot.
#[derive(Clone, Copy)]
pub struct Name {
    src: *const u8,
    len: u64,
}

impl Name {
    /// Entry and bit of a skip table.
    #[inline(always)]
    pub fn skip_bit(self) -> (u32, u64) {
        // SAFETY: `src` lies in the buffer.
        skip_bit(unsafe { core::ptr::read_volatile(self.src) }, self.len)
    }
}

/// A name as key of a filter map: [`monitor_common::filter::name_key`], in words so that clearing it is eight stores and
/// not a loop over bytes.
pub struct NameKey([u64; NAME_MAX / 8]);

impl NameKey {
    /// Not set yet.
    #[inline(always)]
    pub fn new() -> Self {
        Self([0; NAME_MAX / 8])
    }

    /// Takes a name.
    #[inline(always)]
    pub fn set(&mut self, name: Name) {
        for word in &mut self.0 {
            // SAFETY: a word of our own. Volatile, or the compiler makes a call to memset of it.
            unsafe { core::ptr::write_volatile(word, 0) };
        }
        let len = read::bounded(name.len, NAME_MAX as u64);
        read::copy_kernel(self.0.as_mut_ptr().cast(), len as u32, name.src as u64);
    }

    /// The key.
    #[inline(always)]
    pub fn bytes(&self) -> &[u8; NAME_MAX] {
        // SAFETY: the same bytes, with less alignment.
        unsafe { &*self.0.as_ptr().cast() }
    }
}

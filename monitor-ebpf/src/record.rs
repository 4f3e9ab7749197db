//! Building a record: a fixed struct and the data area behind it, in a claimed scratch slot.
//!
//! ```text
//! let Some(mut record) = Record::<Small, Open>::claim() else { return emit::bare::<Open>(…) };
//! let path = record.kernel(text, len, 0);
//! // SAFETY: the fixed part of a claimed slot.
//! unsafe { (*record.fixed()).path = path };
//! record.send(&subject, Kind::Open, Lane::Priority, |open| …);
//! ```

use core::marker::PhantomData;

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user_str};
use monitor_common::hook::{Kind, Lane};
use monitor_common::record::{Header, Slice, slice_flags};

use crate::emit;
use crate::env::Scan;
use crate::read;
use crate::scratch::{self, CHUNK, FIXED, Pool};
use crate::subject::{self, Subject};

/// A record under construction in a slot of pool `P`, with fixed part `F`.
pub struct Record<P: Pool, F> {
    slot: *mut P::Slot,
    fixed: PhantomData<F>,
}

impl<P: Pool, F: 'static> Record<P, F> {
    /// Claims a slot and zeroes the fixed part; `None` if none is free (send [`emit::bare`] then).
    #[inline(always)]
    pub fn claim() -> Option<Self> {
        const { assert!(size_of::<F>() <= FIXED && size_of::<F>() >= size_of::<Header>()) };
        let slot = scratch::claim::<P>()?;
        let record = Self { slot, fixed: PhantomData };
        // SAFETY: the slot is a map value with room for the fixed part.
        unsafe {
            core::ptr::write_volatile(P::used(slot), 0);
            core::ptr::write_bytes(record.fixed(), 0, 1);
        }
        Some(record)
    }

    /// The fixed part. All fields are zero until set; [`Record::send`] sets the header.
    #[inline(always)]
    pub fn fixed(&self) -> *mut F {
        P::bytes(self.slot).cast()
    }

    /// Copies kernel memory into the data area, at most one [`CHUNK`]; longer is cut and marked.
    #[inline(always)]
    pub fn kernel(&mut self, src: u64, len: u64, flags: u32) -> Slice {
        self.append(len, flags, |dst, len| read::copy_kernel(dst, len, src))
    }

    /// Copies user memory of the current task into the data area, at most one [`CHUNK`]; longer is cut and marked.
    #[inline(always)]
    pub fn user(&mut self, src: u64, len: u64, flags: u32) -> Slice {
        self.append(len, flags, |dst, len| read::copy_user(dst, len, src))
    }

    /// Copies a NUL-terminated kernel string without its NUL, at most `max` bytes with it (≤ [`CHUNK`]).
    #[inline(always)]
    pub fn kernel_str(&mut self, src: u64, max: u32, flags: u32) -> Slice {
        self.append_str(max, flags, |dst, max| {
            // SAFETY: the helper checks `src`; `dst..dst + max` lies in the slot.
            unsafe { bpf_probe_read_kernel_str(dst.cast(), max, src as *const _) }
        })
    }

    /// Copies a NUL-terminated string of the current task's memory without its NUL, at most `max` bytes with it.
    #[inline(always)]
    pub fn user_str(&mut self, src: u64, max: u32, flags: u32) -> Slice {
        self.append_str(max, flags, |dst, max| {
            // SAFETY: as in `kernel_str`.
            unsafe { bpf_probe_read_user_str(dst.cast(), max, src as *const _) }
        })
    }

    /// Scan state of the slot.
    #[inline(always)]
    pub fn scan(&self) -> *mut Scan {
        P::scan(self.slot)
    }

    /// Bytes used in the data area.
    #[inline(always)]
    pub fn used(&self) -> u64 {
        // SAFETY: a word of a map value.
        unsafe { core::ptr::read_volatile(P::used(self.slot)) }
    }

    /// Bytes used, in a form that is at most `DATA` to the verifier where it is used next.
    #[inline(always)]
    fn position(&self) -> u64 {
        read::bounded(self.used(), P::DATA as u64)
    }

    /// Where the next byte goes. One chunk of margin follows even a full data area.
    #[inline(always)]
    pub fn tail(&self) -> *mut u8 {
        // SAFETY: the position is at most DATA, and one chunk of margin follows.
        let dst = unsafe { P::bytes(self.slot).add(size_of::<F>() + self.position() as usize) };
        // Opaque: the bound has to be on the register the pointer is made from (5.10 does not find it on a spilled one).
        read::opaque(dst as u64) as *mut u8
    }

    /// Takes `by` more bytes of the data area, of which `used` were taken.
    #[inline(always)]
    pub fn advance(&mut self, used: u64, by: u64) {
        // SAFETY: a word of a map value.
        unsafe { core::ptr::write_volatile(P::used(self.slot), used + by) };
    }

    #[inline(always)]
    fn append(&mut self, len: u64, flags: u32, copy: impl FnOnce(*mut u8, u32) -> i64) -> Slice {
        let used = self.used();
        let room = read::bounded((P::DATA as u64).saturating_sub(used), CHUNK as u64);
        let whole = read::bounded(len, CHUNK as u64 + 1);
        let take = read::bounded(if whole > room { room } else { whole }, CHUNK as u64);
        let failed = copy(self.tail(), take as u32);
        self.close(used, take, len > take, failed, flags)
    }

    #[inline(always)]
    fn append_str(&mut self, max: u32, flags: u32, copy: impl FnOnce(*mut u8, u32) -> i64) -> Slice {
        let used = self.used();
        let room = read::bounded((P::DATA as u64).saturating_sub(used), CHUNK as u64);
        let max = if max as u64 > room { room } else { max as u64 };
        let with_nul = copy(self.tail(), max as u32);
        let len = read::bounded((with_nul as u64).wrapping_sub(1), CHUNK as u64);
        self.close(used, len, with_nul as u64 >= max, with_nul.wrapping_sub(1), flags)
    }

    /// Ends an append: takes the bytes unless the copy failed (`result` negative). The answer goes through the slot, so
    /// that to the verifier all the ways here are one from here on.
    #[inline(always)]
    fn close(&mut self, used: u64, len: u64, cut: bool, result: i64, flags: u32) -> Slice {
        let out = P::out(self.slot);
        let failed = result < 0;
        let flags = flags
            | if cut { slice_flags::TRUNCATED } else { 0 }
            | if failed { slice_flags::UNREADABLE } else { 0 };
        let len = if failed { 0 } else { len };
        // SAFETY: words of a map value.
        unsafe {
            core::ptr::write_volatile(out, Slice { off: used as u16, len: len as u16, flags });
            core::ptr::write_volatile(P::used(self.slot), used.wrapping_add(len));
            core::ptr::read_volatile(out)
        }
    }

    /// Fills the header and sends the record, exact length, then gives the slot back. Counts the fate. If the slot was
    /// taken from under us, `again` fills what is known without it, as for [`emit::bare`].
    #[inline(always)]
    pub fn send(self, subject: &Subject, kind: Kind, lane: Lane, again: impl FnOnce(*mut F)) {
        let header: *mut Header = self.fixed().cast();
        subject::fill(header, subject, kind, lane);
        self.finish(subject, kind, lane, again);
    }

    /// Whether the slot is still ours.
    #[inline(always)]
    pub fn owned(&self) -> bool {
        scratch::owned(P::owner(self.slot))
    }

    /// The same for a record whose header the caller filled (all but `len` and `seq`).
    #[inline(always)]
    pub fn finish(self, subject: &Subject, kind: Kind, lane: Lane, again: impl FnOnce(*mut F)) {
        let header: *mut Header = self.fixed().cast();
        if !self.owned() {
            // Another task's run on this CPU took the slot while we were preempted: what is in it is not ours.
            return emit::bare::<F>(subject, kind, lane, again);
        }
        // SAFETY: a word of a map value.
        let used = read::bounded(unsafe { core::ptr::read_volatile(P::used(self.slot)) }, P::DATA as u64);
        let fixed = size_of::<F>() as u64;
        emit::send(subject, kind, lane, header, fixed + used, fixed + P::DATA as u64);
        scratch::release(P::owner(self.slot));
    }
}

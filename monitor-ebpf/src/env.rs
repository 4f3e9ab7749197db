//! The environment of a new image, as far as `ENV_NAMES` asks for it: values of the names the profiles need, and whether
//! a loader variable is there. Other values are never kept.
//!
//! Read right after the point of no return from the new mm, before its first instruction: nobody could change it yet.

use aya_ebpf::helpers::generated::bpf_probe_read_user_str;
use monitor_common::map::env_flags;
use monitor_common::record::{ENV_MAX, ENV_NAME_MAX, ENV_VALUE_MAX, Slice, exec_flags, slice_flags};

use crate::maps::ENV_NAMES;
use crate::read;
use crate::record::Record;
use crate::scratch::Pool;

/// Most pieces looked at. A string longer than a piece takes several.
const PIECES: u32 = 256;
/// Most bytes looked at.
const BYTES: u64 = 64 * 1024;
/// Longest piece: name, `=`, value, NUL.
const PIECE: u32 = (ENV_NAME_MAX + 1 + ENV_VALUE_MAX + 1) as u32;

/// Where a scan stands. Lives in the slot, not in registers: see `path`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Scan {
    /// Address of the next string.
    at: u64,
    start: u64,
    end: u64,
    /// Names met so far, by their number.
    seen: u64,
    /// `exec_flags` found.
    found: u32,
    /// `slice_flags` of the captured pairs.
    flags: u32,
    /// 1 while inside a string longer than a piece.
    inside: u32,
    /// Zero.
    pad: u32,
}

/// Scans `start..end` of the current task's memory. Returns the captured pairs, NUL-separated, and `exec_flags`.
#[inline(always)]
pub fn capture<P: Pool, F: 'static>(record: &mut Record<P, F>, start: u64, end: u64) -> (Slice, u32) {
    let scan = record.scan();
    let from = record.used();
    // SAFETY: part of a claimed slot.
    unsafe {
        core::ptr::write_volatile(
            scan,
            Scan {
                at: start,
                start,
                end,
                seen: 0,
                found: 0,
                flags: slice_flags::INCOMPLETE,
                inside: 0,
                pad: 0,
            },
        );
    }
    let mut piece = 0;
    while piece < PIECES {
        if !step(record, scan, from) {
            break;
        }
        piece += 1;
    }
    // SAFETY: as above.
    let scan = unsafe { core::ptr::read_volatile(scan) };
    let len = record.used().wrapping_sub(from);
    (Slice { off: from as u16, len: len as u16, flags: scan.flags }, scan.found | exec_flags::ENV_KERNEL)
}

/// One piece; `false` at the end.
#[inline(always)]
fn step<P: Pool, F: 'static>(record: &mut Record<P, F>, scan: *mut Scan, from: u64) -> bool {
    // SAFETY: part of a claimed slot.
    let (at, start, end) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*scan).at),
            core::ptr::read_volatile(&raw const (*scan).start),
            core::ptr::read_volatile(&raw const (*scan).end),
        )
    };
    // SAFETY: from here on `scan` is only touched through this reference and the volatile words above.
    let state = unsafe { &mut *scan };
    if at >= end {
        state.flags &= !slice_flags::INCOMPLETE;
        return false;
    }
    if at.wrapping_sub(start) >= BYTES {
        return false;
    }
    let Some((dst, _)) = record.next() else {
        state.flags |= slice_flags::TRUNCATED;
        return false;
    };
    // SAFETY: a chunk of margin follows `dst`; the helper checks `at`.
    let with_nul = unsafe { bpf_probe_read_user_str(dst.cast(), PIECE, at as *const _) };
    if with_nul <= 0 {
        state.flags |= slice_flags::UNREADABLE;
        return false;
    }
    let with_nul = read::bounded(with_nul as u64, PIECE as u64);
    // A full piece may have been cut: go on at its last byte, which is the NUL if it was not.
    let full = with_nul == PIECE as u64;
    state.at = at.wrapping_add(if full { with_nul - 1 } else { with_nul });
    let fresh = state.inside == 0;
    state.inside = full as u32;
    if fresh {
        take(record, state, dst, with_nul, full, from);
    }
    true
}

/// Looks at the start of a string and keeps the pair if asked to.
#[inline(always)]
fn take<P: Pool, F: 'static>(
    record: &mut Record<P, F>,
    state: &mut Scan,
    dst: *mut u8,
    with_nul: u64,
    full: bool,
    from: u64,
) {
    let mut key = [0u64; ENV_NAME_MAX / 8];
    read::copy_kernel(key.as_mut_ptr().cast(), ENV_NAME_MAX as u32, dst as u64);
    let name_len = cut_at_equals(&mut key);
    if name_len == 0 || name_len >= with_nul || name_len >= ENV_NAME_MAX as u64 {
        return;
    }
    // SAFETY: both are 32 bytes without padding.
    let name: &[u8; ENV_NAME_MAX] = unsafe { &*key.as_ptr().cast() };
    let Some(wanted) = ENV_NAMES.get_ptr(name) else { return };
    // SAFETY: a map value.
    let wanted = unsafe { *wanted };
    let bit = 1u64 << ((wanted >> env_flags::INDEX_SHIFT) & 63);
    if state.seen & bit != 0 {
        state.found |= exec_flags::ENV_DUPLICATE;
    }
    state.seen |= bit;
    if wanted & env_flags::LOADER != 0 {
        state.found |= exec_flags::LOADER_ENV;
    }
    if wanted & env_flags::CAPTURE == 0 {
        return;
    }
    let longest = name_len + 1 + ENV_VALUE_MAX as u64 + 1;
    if full || with_nul > longest {
        state.flags |= slice_flags::TRUNCATED;
    }
    let len = read::bounded(if with_nul > longest { longest } else { with_nul }, PIECE as u64);
    let used = record.used();
    if len == 0 || used.wrapping_sub(from) + len > ENV_MAX as u64 {
        state.flags |= slice_flags::TRUNCATED;
        return;
    }
    // SAFETY: `len` is at most a piece, and a chunk of margin follows `dst`.
    unsafe { *dst.add(len as usize - 1) = 0 };
    record.advance(used, len);
}

/// Zeroes everything from the first `=` on and returns the length before it; the full length if there is none.
///
/// Whole words at a time and without a loop that ends early: each early end would be a state of its own to the verifier,
/// a thousand times over.
#[inline(always)]
fn cut_at_equals(key: &mut [u64; ENV_NAME_MAX / 8]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const EQUALS: u64 = b'=' as u64 * ONES;
    let mut keep = u64::MAX;
    let mut len = 0;
    let mut index = 0;
    while index < ENV_NAME_MAX / 8 {
        let word = u64::from_le(key[index]);
        let x = word ^ EQUALS;
        let zero = x.wrapping_sub(ONES) & !x & (ONES << 7);
        // Lowest `=` of this word as 1 << 8k, 0 if none.
        let lowest = (zero & zero.wrapping_neg()) >> 7;
        // Bytes below it; all if none.
        let below = lowest.wrapping_sub(1);
        key[index] = (word & below & keep).to_le();
        let here = if lowest == 0 { 8 } else { lowest.wrapping_mul(0x0001_0203_0405_0607) >> 56 };
        len += here & keep & 15;
        keep &= if lowest == 0 { u64::MAX } else { 0 };
        index += 1;
    }
    len
}

//! The environment of a new image, as far as `ENV_NAMES` asks for it: values of the names the profiles need, and whether
//! a loader variable is there. Other values are never kept.
//!
//! Read right after the point of no return from the new mm, before its first instruction: nobody could change it yet.

use aya_ebpf::helpers::generated::bpf_probe_read_user_str;
use monitor_common::map::env_flags;
use monitor_common::record::{
    ENV_MAX, ENV_NAME_MAX, ENV_NAMES_MAX, ENV_VALUE_MAX, Slice, exec_flags, slice_flags,
};

use crate::maps::ENV_NAMES;
use crate::read;
use crate::record::Record;
use crate::repeat::{self, Rounds};
use crate::scratch::Pool;

/// Most pieces looked at. A string longer than a piece takes several.
const PIECES: u32 = 1024;
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
    /// Names met so far, by their number.
    seen: u64,
    /// 1 while inside a string longer than a piece.
    inside: u64,
    /// 1 after a failed read.
    failed: u64,
    /// What `ENV_NAMES` says of the current name, 0 if nothing.
    wanted: u64,
    /// `exec_flags` found.
    found: u64,
    /// 1 if a captured pair was cut, or did not fit.
    cut: u64,
}

/// A word of the scan, as if anybody might have written it.
macro_rules! get {
    ($scan:expr, $field:ident) => {
        // SAFETY: part of a claimed slot.
        unsafe { core::ptr::read_volatile(&raw const (*$scan).$field) }
    };
}
macro_rules! set {
    ($scan:expr, $field:ident, $value:expr) => {{
        let value = $value;
        // SAFETY: part of a claimed slot.
        unsafe { core::ptr::write_volatile(&raw mut (*$scan).$field, value) }
    }};
}

/// Scans `start..end` of the current task's memory. Stores the captured pairs, NUL-separated, in `slice` and returns
/// `exec_flags`. Does nothing, and sets no `ENV_KERNEL`, on kernels without `bpf_loop` (before 5.17): their verifier cannot
/// hold so many rounds beside two path walks. There the agent reads /proc.
#[inline(always)]
pub fn capture<P: Pool, F: 'static>(
    record: &mut Record<P, F>,
    slice: *mut Slice,
    start: u64,
    end: u64,
) -> u32 {
    if !repeat::has_helper() {
        return 0;
    }
    let scan = record.scan();
    let from = record.used();
    // SAFETY: part of a claimed slot.
    unsafe { core::ptr::write_bytes(scan, 0, 1) };
    set!(scan, at, start);
    let limit = if end.wrapping_sub(start) > BYTES { start.wrapping_add(BYTES) } else { end };
    if start < end {
        repeat::run(&mut Pieces { record, scan, from, limit });
    }
    let incomplete = if get!(scan, at) < end { slice_flags::INCOMPLETE } else { 0 };
    let flags = incomplete
        | get!(scan, failed) as u32 * slice_flags::UNREADABLE
        | get!(scan, cut) as u32 * slice_flags::TRUNCATED;
    let len = record.used().wrapping_sub(from);
    // SAFETY: part of the claimed slot.
    unsafe { core::ptr::write_volatile(slice, Slice { off: from as u16, len: len as u16, flags }) };
    get!(scan, found) as u32 | exec_flags::ENV_KERNEL
}

/// The pieces of a scan.
struct Pieces<'a, P: Pool, F: 'static> {
    record: &'a mut Record<P, F>,
    scan: *mut Scan,
    from: u64,
    limit: u64,
}

impl<P: Pool, F: 'static> Rounds for Pieces<'_, P, F> {
    const MOST: u32 = PIECES;
    const WITHOUT_HELPER: u32 = 0;
    #[inline(always)]
    fn round(&mut self) -> bool {
        step(self.record, self.scan, self.from, self.limit)
    }
}

/// One piece; `false` at the end.
///
/// The verifier looks at every round of the loop, and keeps one state per branch of every round (8,192 at most): hence
/// arithmetic where a reader expects `if`.
#[inline(always)]
fn step<P: Pool, F: 'static>(record: &mut Record<P, F>, scan: *mut Scan, from: u64, limit: u64) -> bool {
    let at = get!(scan, at);
    let dst = record.tail();
    // SAFETY: a chunk of margin follows `dst`; the helper checks `at`.
    let read = unsafe { bpf_probe_read_user_str(dst.cast(), PIECE, at as *const _) };
    let failed = (read as u64) >> 63;
    set!(scan, failed, failed);
    let with_nul = read::opaque(read as u64) & 511 & failed.wrapping_sub(1);
    // A full piece may have been cut: go on at its last byte, which is the NUL if it was not.
    let full = read::is_zero(with_nul ^ PIECE as u64);
    let next = at.wrapping_add(with_nul - (full & 1));
    set!(scan, at, next);

    let mut key = [0u64; ENV_NAME_MAX / 8];
    read::copy_kernel(key.as_mut_ptr().cast(), ENV_NAME_MAX as u32, dst as u64);
    let name_len = cut_at_equals(&mut key);
    // No name: the rest of a longer string, no `=` before the NUL (what follows it is an earlier string's), or too long.
    let no_name = get!(scan, inside) | read::below(with_nul, name_len + 1) | name_len >> 5;
    set!(scan, inside, full);
    key[0] &= read::is_zero(no_name).wrapping_neg();
    // SAFETY: both are 32 bytes without padding.
    let name: &[u8; ENV_NAME_MAX] = unsafe { &*key.as_ptr().cast() };
    set!(scan, wanted, 0);
    if let Some(wanted) = ENV_NAMES.get_ptr(name) {
        // SAFETY: a map value.
        set!(scan, wanted, unsafe { *wanted } as u64);
    }
    note(scan);
    if get!(scan, wanted) & env_flags::CAPTURE as u64 != 0 {
        keep(record, scan, dst, from, with_nul, full, name_len);
    }
    // The end, a failure, or a string that makes no progress.
    let more = read::below(next, limit) & (failed ^ 1);
    read::opaque(more) != 0
}

/// Marks the current name as met, and a loader variable as found.
#[inline(always)]
fn note(scan: *mut Scan) {
    let wanted = get!(scan, wanted);
    let known = read::is_zero(wanted) ^ 1;
    let number = wanted >> env_flags::INDEX_SHIFT & (ENV_NAMES_MAX as u64 - 1);
    let seen = get!(scan, seen);
    let again = seen >> number & known;
    let loader = wanted / env_flags::LOADER as u64 & 1;
    let found = again * exec_flags::ENV_DUPLICATE as u64 | loader * exec_flags::LOADER_ENV as u64;
    set!(scan, found, get!(scan, found) | found);
    set!(scan, seen, seen | known << number);
}

/// Keeps the pair at `dst`, which is where the data area ends, by moving that end.
#[inline(always)]
fn keep<P: Pool, F: 'static>(
    record: &mut Record<P, F>,
    scan: *mut Scan,
    dst: *mut u8,
    from: u64,
    with_nul: u64,
    full: u64,
    name_len: u64,
) {
    let longest = name_len + 1 + ENV_VALUE_MAX as u64 + 1;
    let over = read::below(longest, with_nul);
    let len = longest * over + with_nul * (over ^ 1);
    let used = record.used();
    let fits = read::below(used.wrapping_sub(from) + len, ENV_MAX as u64);
    set!(scan, cut, get!(scan, cut) | over | full | (fits ^ 1));
    let len = read::opaque(len * fits) & 511;
    // SAFETY: 512 bytes of margin follow `dst`. A pair that does not fit (`len` 0) zeroes a byte nobody reads.
    unsafe { *dst.add(read::opaque(len.wrapping_sub(1)) as usize & 511) = 0 };
    record.advance(used, len);
}

/// Zeroes everything from the first `=` on and returns the length before it; the full length if there is none.
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
        let none = read::is_zero(lowest);
        // Bytes below it; all if there is none.
        let below = lowest.wrapping_sub(1);
        key[index] = (word & below & keep).to_le();
        // The multiplication moves k to the top byte.
        let here = (lowest.wrapping_mul(0x0001_0203_0405_0607) >> 56) + 8 * none;
        len += here & keep;
        keep &= none.wrapping_neg();
        index += 1;
    }
    len
}

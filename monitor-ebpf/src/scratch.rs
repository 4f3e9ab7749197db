//! Scratch memory: where records and paths are built, because the stack has 512 bytes.
//!
//! LSM, fentry and (from 7.0) raw tracepoint programs may be preempted by another task's run on the same CPU. So each
//! CPU has a small set of slots with an owner word: a run claims a free one, and asks again ([`owned`]) before it uses
//! what it built. No slot free, or a slot taken from under us, ends in a record without strings, never in a mixed-up one.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;

use monitor_common::record::Slice;

use crate::env::Scan;

/// Longest single copy into a record, bytes.
pub const CHUNK: usize = 4096;
/// Room for the fixed part of any record, bytes.
pub const FIXED: usize = 320;

/// A slot in which a record is built: fixed part, data area, and one chunk of margin so that a copy that starts at the
/// last allowed position still fits (the verifier does not relate position and length).
#[repr(C)]
pub struct Slot<const SIZE: usize> {
    /// Who holds it, 0 if nobody.
    pub owner: u64,
    /// Bytes used in the data area.
    pub used: u64,
    /// State of an environment scan.
    pub scan: Scan,
    /// What the last append was.
    pub out: Slice,
    /// Record.
    pub bytes: [u8; SIZE],
}

/// A kind of slot.
pub trait Pool {
    /// The slot.
    type Slot;
    /// Bytes of the data area that may be used.
    const DATA: usize;
    /// Slots per CPU.
    const COUNT: u32;
    /// The slot with this number on this CPU.
    fn slot(index: u32) -> Option<*mut Self::Slot>;
    /// Its owner word.
    fn owner(slot: *mut Self::Slot) -> *mut u64;
    /// Its used word.
    fn used(slot: *mut Self::Slot) -> *mut u64;
    /// Its word for the last append.
    fn out(slot: *mut Self::Slot) -> *mut Slice;
    /// Its scan state.
    fn scan(slot: *mut Self::Slot) -> *mut Scan;
    /// Its bytes.
    fn bytes(slot: *mut Self::Slot) -> *mut u8;
}

macro_rules! pool {
    ($(#[$meta:meta])* $pool:ident, $map:ident, $data:expr, $count:literal) => {
        $(#[$meta])*
        pub struct $pool;
        $(#[$meta])*
        #[map]
        static $map: PerCpuArray<Slot<{ FIXED + $data + CHUNK }>> = PerCpuArray::with_max_entries($count, 0);
        // The kernel refuses per-CPU values above 32 KiB (mm/percpu.c, PCPU_MIN_UNIT_SIZE).
        const _: () = assert!(size_of::<Slot<{ FIXED + $data + CHUNK }>>() <= 32_768);
        impl Pool for $pool {
            type Slot = Slot<{ FIXED + $data + CHUNK }>;
            const DATA: usize = $data;
            const COUNT: u32 = $count;
            #[inline(always)]
            fn slot(index: u32) -> Option<*mut Self::Slot> {
                $map.get_ptr_mut(index)
            }
            #[inline(always)]
            fn owner(slot: *mut Self::Slot) -> *mut u64 {
                // SAFETY: address arithmetic within a map value.
                unsafe { &raw mut (*slot).owner }
            }
            #[inline(always)]
            fn used(slot: *mut Self::Slot) -> *mut u64 {
                // SAFETY: as above.
                unsafe { &raw mut (*slot).used }
            }
            #[inline(always)]
            fn out(slot: *mut Self::Slot) -> *mut Slice {
                // SAFETY: as above.
                unsafe { &raw mut (*slot).out }
            }
            #[inline(always)]
            fn scan(slot: *mut Self::Slot) -> *mut Scan {
                // SAFETY: as above.
                unsafe { &raw mut (*slot).scan }
            }
            #[inline(always)]
            fn bytes(slot: *mut Self::Slot) -> *mut u8 {
                // SAFETY: as above.
                unsafe { (&raw mut (*slot).bytes).cast() }
            }
        }
    };
}

pool! {
    /// Records of opens, connects and the like: up to two paths.
    Small, SCRATCH_SMALL, 8192, 3
}
pool! {
    /// Records of execs: four paths, the arguments and the environment. The sum of all their maxima is a little more:
    /// what comes last is cut and says so.
    Large, SCRATCH_LARGE, 28_000, 2
}

/// The word a run of this task writes as owner: never 0.
#[inline(always)]
pub fn me() -> u64 {
    bpf_get_current_pid_tgid() | 1 << 63
}

/// Takes the slot if it is free.
#[inline(always)]
pub fn take(owner: *mut u64) -> bool {
    // SAFETY: a word of a map value of this CPU. Volatile: another run may write it between any two instructions.
    unsafe {
        if core::ptr::read_volatile(owner) != 0 {
            return false;
        }
        core::ptr::write_volatile(owner, me());
        core::ptr::read_volatile(owner) == me()
    }
}

/// Whether the slot is still ours: a run that read the owner word as 0 before we wrote it may have taken it since.
#[inline(always)]
pub fn owned(owner: *mut u64) -> bool {
    // SAFETY: as in `take`.
    unsafe { core::ptr::read_volatile(owner) == me() }
}

/// Gives the slot back, unless it is somebody else's by now.
#[inline(always)]
pub fn release(owner: *mut u64) {
    if owned(owner) {
        // SAFETY: as in `take`.
        unsafe { core::ptr::write_volatile(owner, 0) };
    }
}

/// Claims a slot of a pool; `None` if all are busy on this CPU.
#[inline(always)]
pub fn claim<P: Pool>() -> Option<*mut P::Slot> {
    let mut index = 0;
    while index < P::COUNT {
        if let Some(slot) = P::slot(index)
            && take(P::owner(slot))
        {
            return Some(slot);
        }
        index += 1;
    }
    None
}

//! Offsets of kernel structure fields: one read-only global per row of `monitor_common::for_each_offset!`.
//!
//! The agent overwrites every one of them before loading and freezes the map they live in, so to the verifier each
//! `load()` is a known constant and the branches of absent fields vanish. None has a default: what the agent did not
//! set is [`ABSENT`].

use aya_ebpf::Global;
use monitor_common::offset::ABSENT;

macro_rules! declare {
    ($($symbol:ident, $kind:ident($($arg:literal),*), $group:ident, $optional:literal;)*) => {
        $(#[unsafe(no_mangle)]
        pub static $symbol: Global<u32> = Global::new(ABSENT);)*
    };
}
monitor_common::for_each_offset!(declare);

/// Whether the running kernel has the field. Test this before using an optional row.
#[inline(always)]
pub fn present(offset: &Global<u32>) -> bool {
    offset.load() != ABSENT
}

/// `base` plus the field's offset: the field's address.
#[inline(always)]
pub fn at(base: u64, offset: &Global<u32>) -> u64 {
    base.wrapping_add(offset.load() as u64)
}

//! Counters and errors.
//!
//! All counters live in per-CPU maps. Without the feature `atomics` they are plain adds: exact as long as the program
//! cannot be preempted, which holds for every program type on kernels below 5.13 (trampolines disable migration,
//! which there is preemption; kernel/bpf/trampoline.c, `__bpf_prog_enter`). From 5.13 on the agent loads the second
//! object, where another task's run may interrupt ours on the same CPU, with real fetch-and-add.

use monitor_common::hook::Signal;
use monitor_common::map::{ErrorKey, Tally, tally_index};

use crate::maps::{ERRORS, LABEL_TALLY, PROGRAM_TALLY};
use crate::read;
use crate::subject::Subject;

/// Adds to a counter and returns its value before.
///
/// Acquire-release in the atomic build: with relaxed ordering LLVM's BPF backend emits the non-fetching add and the
/// returned value is wrong.
#[cfg(feature = "atomics")]
#[inline(always)]
pub fn fetch_add(counter: *mut u64, by: u64) -> u64 {
    use core::intrinsics::{AtomicOrdering, atomic_xadd};
    // SAFETY: the callers pass a field of a map value, which is aligned and lives as long as the program runs.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::AcqRel }>(counter, by) }
}

/// Adds to a counter and returns its value before.
#[cfg(not(feature = "atomics"))]
#[inline(always)]
pub fn fetch_add(counter: *mut u64, by: u64) -> u64 {
    // SAFETY: as in the atomic build.
    unsafe {
        let before = core::ptr::read_volatile(counter);
        core::ptr::write_volatile(counter, before.wrapping_add(by));
        before
    }
}

/// Adds one, exactly.
#[inline(always)]
pub fn one(counter: *mut u64) {
    fetch_add(counter, 1);
}

/// What became of one run of a program (the terms of the law in [`Tally`]).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Of no interest.
    Filtered,
    /// The second hit of one action.
    Folded,
    /// Written to the ring.
    Sent,
    /// Refused by a full ring.
    Lost,
    /// Over the worker's budget.
    Throttled,
    /// A helper failed before a record could be built.
    Error,
}

/// Index of a fate's counter in a [`Tally`], in words.
#[inline(always)]
fn word(fate: Fate) -> u8 {
    const { assert!(size_of::<Tally>() == 8 * 8) };
    let at = match fate {
        Fate::Filtered => core::mem::offset_of!(Tally, filtered),
        Fate::Folded => core::mem::offset_of!(Tally, folded),
        Fate::Sent => core::mem::offset_of!(Tally, sent),
        Fate::Lost => core::mem::offset_of!(Tally, lost),
        Fate::Throttled => core::mem::offset_of!(Tally, throttled),
        Fate::Error => core::mem::offset_of!(Tally, error),
    };
    (at / 8) as u8
}

#[inline(always)]
fn field(tally: *mut Tally, word: u64) -> *mut u64 {
    // SAFETY: `tally` is a map value of eight words, and the mask keeps the index below eight.
    unsafe { tally.cast::<u64>().add((word & 7) as usize) }
}

/// Counts a run that was not a worker's. The only thing done for such a run, so a plain add: this counter is no term
/// of the law.
#[inline(always)]
pub fn outside(program: u32) {
    if let Some(tally) = PROGRAM_TALLY.get_ptr_mut(program) {
        // SAFETY: a map value.
        unsafe { (*tally).outside = (*tally).outside.wrapping_add(1) };
    }
}

/// Counts the end of a worker's run: the fate's counter, of the program and of the label. Call it exactly once per run
/// that [`hit`] counted.
#[inline(always)]
pub fn ended(subject: &Subject, fate: Fate) {
    let word = read::forget(word(fate));
    one(field(subject.tallies.program, word));
    one(field(subject.tallies.label, word));
}

/// Where a run is counted: looked up once, at its start.
#[derive(Clone, Copy)]
pub struct Tallies {
    program: *mut Tally,
    label: *mut Tally,
}

/// Finds the counters of a program, and of a label and signal. `None`: the agent gave a label that it made no room for.
#[inline(always)]
pub fn tallies(program: u32, label: u32, signal: Signal) -> Option<Tallies> {
    Some(Tallies {
        program: PROGRAM_TALLY.get_ptr_mut(program)?,
        label: LABEL_TALLY.get_ptr_mut(tally_index(label, signal))?,
    })
}

/// Counts the start of a worker's run.
#[inline(always)]
pub fn hit(tallies: Tallies) {
    // SAFETY: map values; only addresses are taken.
    unsafe {
        one(&raw mut (*tallies.program).hits);
        one(&raw mut (*tallies.label).hits);
    }
}

/// Remembers that a helper failed at `place` (`monitor_common::map::place`) with `errno` (negative).
#[inline(always)]
pub fn failed(place: u32, errno: i32) {
    let key = ErrorKey { place, errno };
    match ERRORS.get_ptr_mut(&key) {
        Some(counter) => one(counter),
        // A second CPU may insert at the same moment: BPF_NOEXIST (1) keeps the first, and one count is lost at most.
        None => {
            let _ = ERRORS.insert(&key, &1u64, 1);
        }
    }
}

//! Loops of many rounds.
//!
//! The verifier follows a plain loop round by round: some hundred rounds with a few branches each are all it can hold.
//! `bpf_loop` (5.17 on) checks the body once. So the object for kernels from 5.13, which know pointers to functions, uses
//! it where the running kernel has it; the other object, and kernels in between, do with a plain loop of fewer rounds.

/// One loop: its state is what the rounds share. It lives on the stack and should be no more than a pointer or two.
pub trait Rounds {
    /// Most rounds.
    #[cfg_attr(not(feature = "atomics"), expect(dead_code, reason = "asked for by bpf_loop only"))]
    const MOST: u32;
    /// Most rounds where the kernel has no `bpf_loop`.
    const WITHOUT_HELPER: u32;
    /// One round; `false` ends the loop.
    fn round(&mut self) -> bool;
}

/// Whether the helper is there.
#[inline(always)]
pub fn has_helper() -> bool {
    cfg!(feature = "atomics") && crate::offsets::present(&crate::offsets::ENUM_FUNC_LOOP)
}

#[inline(always)]
fn plain<R: Rounds>(rounds: &mut R) {
    let mut done = 0;
    while done < R::WITHOUT_HELPER {
        if !rounds.round() {
            return;
        }
        done += 1;
    }
}

/// Runs the loop to its end.
#[cfg(not(feature = "atomics"))]
#[inline(always)]
pub fn run<R: Rounds>(rounds: &mut R) {
    plain(rounds);
}

/// Runs the loop to its end.
#[cfg(feature = "atomics")]
#[inline(always)]
pub fn run<R: Rounds>(rounds: &mut R) {
    if !has_helper() {
        return plain(rounds);
    }
    // SAFETY: `callback` has the signature the helper calls, and `rounds` outlives the call.
    unsafe {
        aya_ebpf::helpers::generated::bpf_loop(
            R::MOST,
            callback::<R> as *mut aya_ebpf::cty::c_void,
            core::ptr::from_mut(rounds).cast(),
            0,
        );
    }
}

/// What `bpf_loop` calls: 1 ends the loop.
#[cfg(feature = "atomics")]
#[inline(never)]
extern "C" fn callback<R: Rounds>(_: u64, rounds: *mut R) -> u64 {
    // SAFETY: the pointer given to `bpf_loop` in `run`.
    if unsafe { (*rounds).round() } { 0 } else { 1 }
}

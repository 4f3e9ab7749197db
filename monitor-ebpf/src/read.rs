//! Typed reads of kernel memory, and the compiler barriers that keep bounds visible to the verifier.
//!
//! A null or wrong address is an errno, never a crash: the kernel's probe reads fault softly.

use aya_ebpf::Global;
use aya_ebpf::helpers::{bpf_probe_read_kernel, generated};

use crate::offsets::{at, present};

/// Reads a `T` at a kernel address.
#[inline(always)]
pub fn kernel<T: Copy>(address: u64) -> Result<T, i32> {
    // SAFETY: the helper checks the address itself and fails with an errno.
    unsafe { bpf_probe_read_kernel(address as *const T) }
}

/// Reads the field at `offset` of the structure at `base`.
#[inline(always)]
pub fn field<T: Copy>(base: u64, offset: &Global<u32>) -> Result<T, i32> {
    kernel(at(base, offset))
}

/// Reads a `T` at a kernel address; all bytes zero if that fails (the helper clears its destination then:
/// kernel/trace/bpf_trace.c, bpf_probe_read_kernel_common). No branch, so the verifier has no second path to follow:
/// use it wherever zero means "not there" anyway.
#[inline(always)]
pub fn kernel_or_zero<T: Copy>(address: u64) -> T {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes all of `value`, whatever it returns; every `T` used here is of integers.
    unsafe {
        generated::bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address as *const _,
        );
        value.assume_init()
    }
}

/// Reads the field at `offset` of the structure at `base`; zero if that fails.
#[inline(always)]
pub fn or_zero<T: Copy>(base: u64, offset: &Global<u32>) -> T {
    kernel_or_zero(at(base, offset))
}

/// The same for an optional field: `default` if the kernel has no such field or the read fails.
#[inline(always)]
pub fn field_or<T: Copy>(base: u64, offset: &Global<u32>, default: T) -> T {
    if present(offset) { field(base, offset).unwrap_or(default) } else { default }
}

/// Copies `len` bytes of kernel memory to `dst`. The caller bounds `len`.
#[inline(always)]
pub fn copy_kernel(dst: *mut u8, len: u32, src: u64) -> i64 {
    // SAFETY: the helper checks `src`; the verifier checks that `dst..dst + len` lies in a map value.
    unsafe { generated::bpf_probe_read_kernel(dst.cast(), len, src as *const _) }
}

/// Copies `len` bytes of the current task's user memory to `dst`. The caller bounds `len`.
#[inline(always)]
pub fn copy_user(dst: *mut u8, len: u32, src: u64) -> i64 {
    // SAFETY: as in `copy_kernel`.
    unsafe { generated::bpf_probe_read_user(dst.cast(), len, src as *const _) }
}

/// Hides where a value came from, so that the compiler keeps the bound check that follows and the verifier sees it on
/// this very register.
#[inline(always)]
pub fn opaque(mut value: u64) -> u64 {
    // SAFETY: moves a register to itself. Not an empty sequence: its source line would share an instruction offset with
    // the next one, and the kernel refuses such line information (kernel/bpf/verifier.c, check_btf_line).
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// `value`, at most `max`, in a form the verifier can follow.
#[inline(always)]
pub fn bounded(value: u64, max: u64) -> u64 {
    let value = opaque(value);
    if value > max { max } else { value }
}

/// 1 if `value` is zero, else 0, without a branch. For values below 2^63.
#[inline(always)]
pub fn is_zero(value: u64) -> u64 {
    opaque(value).wrapping_sub(1) >> 63
}

/// 1 if `a` is below `b`, else 0, without a branch. For values below 2^63.
#[inline(always)]
pub fn below(a: u64, b: u64) -> u64 {
    opaque(a).wrapping_sub(opaque(b)) >> 63
}

/// The same small value, but unknown to the verifier: paths that differ only in it are then one to it, and it looks at
/// what follows once instead of once per value.
///
/// A byte that is not the first of its stack word is never tracked (kernel/bpf/verifier.c, `check_stack_write_fixed_off`),
/// except that a zero stays a zero, hence the plus one.
#[inline(always)]
pub fn forget(value: u8) -> u64 {
    let mut word = [0u8; 8];
    // SAFETY: a local.
    unsafe {
        core::ptr::write_volatile(&raw mut word[3], value + 1);
        (core::ptr::read_volatile(&raw const word[3]) as u64).wrapping_sub(1)
    }
}

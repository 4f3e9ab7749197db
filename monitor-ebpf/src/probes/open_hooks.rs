//! open, function rungs: `security_file_open`, which every open of a file passes, whatever asked for it.
//!
//! Permission was granted by then: attempts that fail before are not seen here (gap `failed-opens`), nor are `O_PATH`
//! handles, which open no file (fs/open.c, `do_dentry_open`).

use core::ffi::c_void;

use aya_ebpf::macros::{fentry, kprobe, lsm};
use aya_ebpf::programs::{FEntryContext, LsmContext, ProbeContext};
use monitor_common::hook::{Rung, Signal};
use monitor_common::program;

use super::open;
use crate::subject;

/// LSM `file_open(file)`. Never denies: the last argument is the verdict of the programs before, and stays.
#[lsm(hook = "file_open")]
pub fn lsm_open(ctx: LsmContext) -> i32 {
    look(program::LSM_FILE_OPEN, Rung::Lsm, ctx.arg::<*const c_void>(0));
    // The verifier of 5.10 wants a result it knows to lie within the errnos; anything else means "denied" anyway.
    if ctx.arg::<i32>(1) == 0 { 0 } else { -1 }
}

/// fentry on `security_file_open(file)`.
#[fentry(function = "security_file_open")]
pub fn fentry_open(ctx: FEntryContext) -> i32 {
    look(program::FENTRY_FILE_OPEN, Rung::Fentry, ctx.arg::<*const c_void>(0));
    0
}

/// kprobe on `security_file_open(file)`.
#[kprobe]
pub fn kprobe_open(ctx: ProbeContext) -> u32 {
    if let Some(file) = ctx.arg::<*const c_void>(0) {
        look(program::KPROBE_FILE_OPEN, Rung::Kprobe, file);
    }
    0
}

#[inline(always)]
fn look(program: u32, rung: Rung, file: *const c_void) {
    if let Some(subject) = subject::worker(program, Signal::Open, rung) {
        open::hooked(&subject, file as u64);
    }
}

//! Before an exec's point of no return: the credentials it starts from, and the script.
//!
//! By `sched_process_exec` the credentials are the new ones and a script's file is closed (fs/exec.c, exec_binprm), so
//! these programs put what they see into [`EXECS`], where the exec probe finds it by task. All are optional.

use aya_ebpf::macros::{btf_tracepoint, lsm};
use aya_ebpf::programs::{BtfTracePointContext, LsmContext};
use monitor_common::hook::{Rung, Signal};
use monitor_common::program;

use crate::maps::{Before, EXECS};
use crate::offsets::{OFF_BPRM_FILE, OFF_BPRM_FILENAME, OFF_BPRM_INTERP};
use crate::read;
use crate::{count, cred, exe, subject};

/// Arguments: the task, the `linux_binprm`. Linux 6.11 on, in begin_new_exec, before credentials change.
#[btf_tracepoint(function = "sched_prepare_exec")]
pub fn btf_prep_exec(_: BtfTracePointContext) -> i32 {
    credentials(program::BTF_PREPARE_EXEC, Rung::TpBtf);
    0
}

/// The same through LSM.
#[lsm(hook = "bprm_committing_creds")]
pub fn lsm_bprm(_: LsmContext) -> i32 {
    credentials(program::LSM_BPRM_COMMITTING, Rung::Lsm);
    0
}

/// Runs once per file of a `#!` chain; the first is the script.
#[lsm(hook = "bprm_check_security")]
pub fn lsm_bprm_check(ctx: LsmContext) -> i32 {
    let bprm: *const u8 = ctx.arg(0);
    script(program::LSM_BPRM_CHECK, Rung::Lsm, bprm as u64);
    0
}

/// Nothing is known.
const NOTHING: Before = Before { script_ino: 0, script_dev: 0, uid: u32::MAX, gid: u32::MAX, pad: 0 };

#[inline(always)]
fn entry(task: u64) -> Before {
    match EXECS.get_ptr(&task) {
        // SAFETY: a map value.
        Some(before) => unsafe { *before },
        None => NOTHING,
    }
}

#[inline(always)]
fn credentials(program: u32, rung: Rung) {
    let Some(subject) = subject::current(program, Signal::Exec, rung) else { return count::outside(program) };
    let mut before = entry(subject.task);
    (before.uid, before.gid) = cred::effective(subject.task);
    let _ = EXECS.insert(&subject.task, &before, 0);
}

#[inline(always)]
fn script(program: u32, rung: Rung, bprm: u64) {
    let Some(subject) = subject::current(program, Signal::Exec, rung) else { return count::outside(program) };
    // The first file of the chain, and only it, is its own interpreter still. It always starts a new entry: an exec that
    // failed half-way must not lend its script to the task's next one.
    if read::or_zero::<u64>(bprm, &OFF_BPRM_INTERP) != read::or_zero::<u64>(bprm, &OFF_BPRM_FILENAME) {
        return;
    }
    let (script_ino, script_dev) = exe::file_identity(read::or_zero(bprm, &OFF_BPRM_FILE));
    let before = Before { script_ino, script_dev, ..NOTHING };
    let _ = EXECS.insert(&subject.task, &before, 0);
}

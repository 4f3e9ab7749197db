//! exit: the last thread of a process ended.

use aya_ebpf::macros::{btf_tracepoint, raw_tracepoint};
use aya_ebpf::programs::{BtfTracePointContext, RawTracePointContext};
use monitor_common::hook::{Kind, Lane, Rung, Signal};
use monitor_common::program;
use monitor_common::record::Exit;

use crate::count::{self, Fate};
use crate::emit;
use crate::maps::PROCS;
use crate::offsets::{OFF_SIGNAL_LIVE, OFF_TASK_EXIT_CODE, OFF_TASK_SIGNAL};
use crate::read::field;
use crate::record::Record;
use crate::scratch::Small;
use crate::subject;

/// exit, BTF rung.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn btf_exit(_: BtfTracePointContext) -> i32 {
    exit(program::BTF_EXIT, Rung::TpBtf)
}

/// exit, raw rung.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn raw_exit(_: RawTracePointContext) -> i32 {
    exit(program::RAW_EXIT, Rung::RawTp)
}

#[inline(always)]
fn exit(program: u32, rung: Rung) -> i32 {
    let Some(subject) = subject::worker(program, Signal::Exit, rung) else { return 0 };
    // The tracepoint fires for each thread, after `signal->live` went down (kernel/exit.c, do_exit): the process is over
    // with the last one. Its newer `group_dead` argument says the same, but its place differs by kernel.
    let alive = match field::<u64>(subject.task, &OFF_TASK_SIGNAL) {
        Ok(signal) => field::<i32>(signal, &OFF_SIGNAL_LIVE).unwrap_or(0),
        Err(_) => 0,
    };
    if alive > 0 {
        count::ended(program, subject.label, Signal::Exit, Fate::Filtered);
        return 0;
    }
    let code = field(subject.task, &OFF_TASK_EXIT_CODE).unwrap_or(0);
    match Record::<Small, Exit>::claim() {
        Some(record) => {
            // SAFETY: the fixed part of a claimed slot.
            unsafe { (*record.fixed()).code = code };
            record.send(&subject, Kind::Exit, Lane::Lifecycle);
        }
        // SAFETY: reserved ring memory.
        None => {
            emit::bare::<Exit>(&subject, Kind::Exit, Lane::Lifecycle, |exit| unsafe { (*exit).code = code })
        }
    }
    let _ = PROCS.remove(&subject.pid);
    0
}

//! exit: the last thread of a process ended.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::{btf_tracepoint, raw_tracepoint};
use aya_ebpf::programs::{BtfTracePointContext, RawTracePointContext};
use monitor_common::hook::{Kind, Lane, Rung, Signal};
use monitor_common::program;
use monitor_common::record::Exit;

use crate::count::{self, Fate};
use crate::emit;
use crate::maps::PROCS;
use crate::offsets::{
    OFF_SIGNAL_FLAGS, OFF_SIGNAL_GROUP_EXIT_CODE, OFF_SIGNAL_LIVE, OFF_TASK_EXIT_CODE, OFF_TASK_GROUP_LEADER,
    OFF_TASK_SIGNAL,
};
use crate::procs;
use crate::read::or_zero;
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

/// The group is exiting as one (include/linux/sched/signal.h).
const SIGNAL_GROUP_EXIT: u32 = 4;

#[inline(always)]
fn exit(program: u32, rung: Rung) -> i32 {
    let Some(subject) = subject::worker(program, Signal::Exit, rung) else {
        forget();
        return 0;
    };
    // The tracepoint fires for each thread, after `signal->live` went down (kernel/exit.c, do_exit): the process is over
    // with the last one. Its newer `group_dead` argument says the same, but its place differs by kernel.
    let signal = or_zero::<u64>(subject.task, &OFF_TASK_SIGNAL);
    if or_zero::<i32>(signal, &OFF_SIGNAL_LIVE) > 0 {
        count::ended(&subject, Fate::Filtered);
        return 0;
    }
    // What wait() reports (kernel/exit.c, wait_task_zombie): a group exit's code goes before the leader's own.
    let code = if or_zero::<u32>(signal, &OFF_SIGNAL_FLAGS) & SIGNAL_GROUP_EXIT != 0 {
        or_zero(signal, &OFF_SIGNAL_GROUP_EXIT_CODE)
    } else {
        or_zero::<u32>(or_zero(subject.task, &OFF_TASK_GROUP_LEADER), &OFF_TASK_EXIT_CODE)
    };
    // Two threads that end together both see `live` at zero: the exit is told by whoever takes the entry out.
    let start = subject::start_of(subject.task);
    let Some(state) = procs::of(subject.pid, start) else {
        count::ended(&subject, Fate::Folded);
        return 0;
    };
    // SAFETY: a map value; the copy outlives the entry.
    let mut state = unsafe { *state };
    if PROCS.remove(&subject.pid).is_err() {
        count::ended(&subject, Fate::Folded);
        return 0;
    }
    let fill = |exit: *mut Exit| {
        // SAFETY: a claimed slot or reserved ring memory.
        unsafe { (*exit).code = code };
    };
    match Record::<Small, Exit>::claim() {
        Some(record) => {
            // SAFETY: the fixed part of a claimed slot.
            unsafe {
                let exit = record.fixed();
                fill(exit);
                let header = &raw mut (*exit).header;
                subject::fill_with(
                    header,
                    &subject,
                    Kind::Exit,
                    Lane::Lifecycle,
                    start,
                    Some(&raw mut state),
                );
            }
            record.finish(&subject, Kind::Exit, Lane::Lifecycle, fill);
        }
        None => emit::bare::<Exit>(&subject, Kind::Exit, Lane::Lifecycle, fill),
    }
    0
}

/// Drops what the process map knows of a process that ends in a cgroup that is no worker's: it was met before the agent had
/// looked at its cgroup.
#[inline(always)]
fn forget() {
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if PROCS.get_ptr(&pid).is_some()
        && or_zero::<i32>(or_zero(subject::task(), &OFF_TASK_SIGNAL), &OFF_SIGNAL_LIVE) <= 0
    {
        let _ = PROCS.remove(&pid);
    }
}

//! fork: a new process, never a thread.
//!
//! Lineage is the tracepoint's `parent` argument, the task that called clone: `real_parent` is somebody else's under
//! CLONE_PARENT. The tracepoint fires before the child first runs (kernel/fork.c, kernel_clone), with the child in its
//! cgroup already, which CLONE_INTO_CGROUP may have made another than the creator's, without an attach event.

use aya_ebpf::macros::{btf_tracepoint, raw_tracepoint};
use aya_ebpf::programs::{BtfTracePointContext, RawTracePointContext};
use monitor_common::hook::{Kind, Lane, Rung, Signal};
use monitor_common::map::{Label, ProcState, label_state, place, proc_flags};
use monitor_common::program;
use monitor_common::record::{Fork, Header, header_flags};

use crate::count::{self, Fate};
use crate::maps::{LABELS, PROCS};
use crate::offsets::{OFF_TASK_PID, OFF_TASK_START_BOOTTIME, OFF_TASK_TGID};
use crate::read;
use crate::record::Record;
use crate::scratch::Small;
use crate::subject::{self, Subject};
use crate::{cgroup, cred, emit, exe, namespace, procs};

/// fork, BTF rung.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn btf_fork(ctx: BtfTracePointContext) -> i32 {
    let parent: *const u8 = ctx.arg(0);
    let child: *const u8 = ctx.arg(1);
    fork(program::BTF_FORK, Rung::TpBtf, parent as u64, child as u64)
}

/// fork, raw rung.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn raw_fork(ctx: RawTracePointContext) -> i32 {
    fork(program::RAW_FORK, Rung::RawTp, ctx.arg(0), ctx.arg(1))
}

#[inline(always)]
fn fork(program: u32, rung: Rung, parent: u64, child: u64) -> i32 {
    let creator = subject::current(program, Signal::Fork, rung);
    let Some(subject) = child_subject(creator, program, rung, parent, child) else {
        count::outside(program);
        forget(child);
        return 0;
    };
    count::hit(subject.tallies);
    if subject.pid != subject.tid {
        count::ended(&subject, Fate::Filtered);
        return 0;
    }
    let start = read::or_zero(child, &OFF_TASK_START_BOOTTIME);
    let parent_pid = read::or_zero(parent, &OFF_TASK_TGID);
    let parent_start = subject::start_of(parent);
    let state = enter(&subject, creator.as_ref(), start, parent, parent_pid, parent_start);
    let parent_exec_id = state.parent_exec_id;
    let ns_pid = namespace::pid(child);
    let fill = |fork: *mut Fork| {
        // SAFETY: a claimed slot or reserved ring memory.
        let fork = unsafe { &mut *fork };
        fork.parent_start = parent_start;
        fork.parent_exec_id = parent_exec_id;
        fork.parent_pid = parent_pid;
        fork.ns_pid = ns_pid;
    };
    match Record::<Small, Fork>::claim() {
        Some(record) => {
            fill(record.fixed());
            let header: *mut Header = record.fixed().cast();
            subject::fill_with(
                header,
                &subject,
                Kind::Fork,
                Lane::Lifecycle,
                start,
                PROCS.get_ptr_mut(&subject.pid),
            );
            record.finish(&subject, Kind::Fork, Lane::Lifecycle, fill);
        }
        None => emit::bare::<Fork>(&subject, Kind::Fork, Lane::Lifecycle, fill),
    }
    0
}

/// The child as a subject, if it is a worker's: by its own cgroup first, else by its creator.
#[inline(always)]
fn child_subject(
    creator: Option<Subject>,
    program: u32,
    rung: Rung,
    parent: u64,
    child: u64,
) -> Option<Subject> {
    let set = cgroup::set_of(child);
    let same = set == cgroup::set_of(parent);
    let cgroup = match (&creator, same) {
        (None, true) => return None,
        (Some(creator), true) => creator.cgroup,
        (_, false) => cgroup::id_of_set(set),
    };
    let (mut label, mut flags) = match &creator {
        Some(creator) => (creator.label, creator.flags),
        None => (0, 0),
    };
    if !same {
        match LABELS.get_ptr(&cgroup) {
            Some(own) => {
                // SAFETY: a map value.
                let own = unsafe { *own };
                match own.state & label_state::KIND {
                    label_state::WORKER => (label, flags) = (own.id, 0),
                    label_state::PENDING => {
                        if label != 0 {
                            visit(cgroup);
                        }
                        (label, flags) = (own.id, header_flags::PENDING);
                    }
                    // Born outside, of a worker's process, like one whose cgroup has no label.
                    label_state::FOLDER if label != 0 => {
                        watch(cgroup);
                        flags |= header_flags::MOVED;
                    }
                    _ => {}
                }
            }
            None if label != 0 => {
                // Born outside, of a worker's process: later events there must look at the process.
                watch(cgroup);
                flags |= header_flags::MOVED;
            }
            None => {}
        }
    }
    if label == 0 {
        return None;
    }
    let pid = read::or_zero(child, &OFF_TASK_TGID);
    let tid = read::or_zero(child, &OFF_TASK_PID);
    let tallies = count::tallies(program, label, Signal::Fork)?;
    Some(Subject { label, flags, pid, tid, signal: Signal::Fork, rung, cgroup, task: child, tallies })
}

/// Notes that a labelled process is in a cgroup that nobody has looked at yet.
#[inline(always)]
pub fn visit(cgroup: u64) {
    if let Some(label) = LABELS.get_ptr_mut(&cgroup) {
        // SAFETY: a word of a map value; only while it is pending is it anything but the agent's to write.
        unsafe {
            if (*label).state & label_state::KIND == label_state::PENDING {
                (*label).state |= label_state::VISITED;
            }
        }
    }
}

/// Makes probes in an unlabelled cgroup look at the process map.
#[inline(always)]
pub fn watch(cgroup: u64) {
    // BPF_NOEXIST: the agent may have labelled it at this very moment.
    const NOEXIST: u64 = 1;
    const EEXIST: i32 = -17;
    match LABELS.insert(&cgroup, &Label { id: 0, state: label_state::CHECK_PROCESS }, NOEXIST) {
        Ok(()) => {}
        Err(EEXIST) => {
            if let Some(label) = LABELS.get_ptr_mut(&cgroup) {
                // SAFETY: words of a map value.
                unsafe {
                    if (*label).state & label_state::KIND == label_state::FOLDER {
                        (*label).state =
                            label_state::CHECK_PROCESS | ((*label).state & label_state::HANDS_DOWN);
                    }
                }
            }
        }
        Err(errno) => count::failed(place::LABELS_INSERT, errno),
    }
}

/// Enters the child into the process map, whatever happens to its record.
#[inline(always)]
fn enter(
    child: &Subject,
    creator: Option<&Subject>,
    start: u64,
    parent: u64,
    parent_pid: u32,
    parent_start: u64,
) -> ProcState {
    let above = match procs::of(parent_pid, parent_start) {
        Some(state) => Some(state),
        // A worker's process that was never met: enter it too. A container runtime that starts a child in a worker's
        // cgroup is not one.
        None => creator.and_then(|creator| procs::late(creator, parent_start)),
    };
    let mut state = ProcState { start, exec_id: start, label: child.label, ..ProcState::ZERO };
    state.uid = cred::effective(child.task).0;
    match above {
        Some(above) => {
            // SAFETY: a map value.
            let above = unsafe { &*above };
            state.parent_exec_id = above.exec_id;
            state.author_root = procs::author_root(above);
            state.exe_ino = above.exe_ino;
            state.exe_dev = above.exe_dev;
            state.flags = if state.author_root != 0 { proc_flags::AUTHOR } else { 0 };
        }
        None => (state.exe_ino, state.exe_dev) = exe::identity(parent),
    }
    procs::put(child.pid, &state);
    state
}

/// Drops what the process map knows of an earlier process with this pid.
#[inline(always)]
fn forget(child: u64) {
    let pid: u32 = read::or_zero(child, &OFF_TASK_PID);
    if PROCS.get_ptr(&pid).is_some() {
        let _ = PROCS.remove(&pid);
    }
}

//! Upkeep of the labels: new cgroups inherit or wait to be looked at, removed ones are forgotten, moves are followed.
//!
//! Only events of the v2 hierarchy count (`cgroup::is_v2`). All three tracepoints fire under the cgroup lock
//! (kernel/cgroup/cgroup.c), so nothing can enter a new cgroup before it has its label.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use monitor_common::hook::{Kind, Lane, Rung, Signal};
use monitor_common::map::{Label, ProcState, UNCLASSIFIED, label_state, place};
use monitor_common::program;
use monitor_common::record::{CgroupMove, CgroupNew, Header, header_flags};

use super::fork;
use crate::count;
use crate::maps::LABELS;
use crate::offsets::OFF_TASK_TGID;
use crate::read::field;
use crate::record::Record;
use crate::scratch::{CHUNK, Small};
use crate::subject::{self, Subject};
use crate::{cgroup, emit, procs};

/// Arguments: the new `struct cgroup`, its path.
#[raw_tracepoint(tracepoint = "cgroup_mkdir")]
pub fn cgroup_mkdir(ctx: RawTracePointContext) -> i32 {
    if let Err(errno) = inherit(ctx.arg(0), ctx.arg(1)) {
        count::failed(place::CGROUP_READ, errno);
    }
    0
}

/// Arguments: the removed `struct cgroup`, its path.
#[raw_tracepoint(tracepoint = "cgroup_rmdir")]
pub fn cgroup_rmdir(ctx: RawTracePointContext) -> i32 {
    if let Err(errno) = remove(ctx.arg(0)) {
        count::failed(place::CGROUP_READ, errno);
    }
    0
}

/// Arguments: destination `struct cgroup`, its path, the task (group leader), whether the whole group moved. Fires after
/// the move: where the task came from is not to be had.
#[raw_tracepoint(tracepoint = "cgroup_attach_task")]
pub fn cgroup_attach(ctx: RawTracePointContext) -> i32 {
    if let Err(errno) = attach(ctx.arg(0), ctx.arg(2)) {
        count::failed(place::CGROUP_READ, errno);
    }
    0
}

#[inline(always)]
fn inherit(cgroup: u64, path: u64) -> Result<(), i32> {
    if !cgroup::is_v2(cgroup)? {
        return Ok(());
    }
    let parent = cgroup::parent_id(cgroup)?;
    let Some(above) = LABELS.get_ptr(&parent) else { return Ok(()) };
    // SAFETY: a map value.
    let above = unsafe { *above };
    let kind = above.state & label_state::KIND;
    let label = if above.state & label_state::HANDS_DOWN != 0 || kind == label_state::PENDING {
        PENDING
    } else if kind == label_state::WORKER {
        above
    } else {
        return Ok(());
    };
    let id = cgroup::id(cgroup)?;
    if let Err(errno) = LABELS.insert(&id, &label, 0) {
        count::failed(place::LABELS_INSERT, errno);
    }
    if label.state == label_state::PENDING {
        // A worker that makes cgroups below its own pays for that itself.
        announce(id, parent, path, if kind == label_state::WORKER { above.id } else { UNCLASSIFIED });
    }
    Ok(())
}

/// The label of a cgroup that may be a worker, until the agent has looked at it.
const PENDING: Label = Label { id: UNCLASSIFIED, state: label_state::PENDING };

/// Tells the agent of a cgroup that may be gone by the time it looks.
#[inline(always)]
fn announce(id: u64, parent: u64, path: u64, payer: u32) {
    let Some(tallies) = count::tallies(program::CGROUP_MKDIR, payer, Signal::Fork) else { return };
    let ids = bpf_get_current_pid_tgid();
    let (pid, tid) = ((ids >> 32) as u32, ids as u32);
    let task = subject::task();
    let start = subject::start_of(task);
    let subject = Subject {
        label: payer,
        flags: header_flags::PENDING | header_flags::MOVED,
        pid,
        tid,
        // As for moves: it belongs to what is known of the lineage.
        signal: Signal::Fork,
        rung: Rung::RawTp,
        cgroup: id,
        task,
        tallies,
    };
    count::hit(tallies);
    let fill = |new: *mut CgroupNew| {
        // SAFETY: a claimed slot or reserved ring memory.
        unsafe { (*new).parent = parent };
    };
    match Record::<Small, CgroupNew>::claim() {
        Some(mut record) => {
            let path = record.kernel_str(path, CHUNK as u32, 0);
            fill(record.fixed());
            // SAFETY: the fixed part of a claimed slot.
            unsafe { (*record.fixed()).path = path };
            let header: *mut Header = record.fixed().cast();
            let maker = procs::of(pid, start);
            subject::fill_with(header, &subject, Kind::CgroupNew, Lane::Lifecycle, start, maker);
            record.finish(&subject, Kind::CgroupNew, Lane::Lifecycle, fill);
        }
        None => emit::bare::<CgroupNew>(&subject, Kind::CgroupNew, Lane::Lifecycle, fill),
    }
}

#[inline(always)]
fn remove(cgroup: u64) -> Result<(), i32> {
    if cgroup::is_v2(cgroup)? {
        let _ = LABELS.remove(&cgroup::id(cgroup)?);
    }
    Ok(())
}

#[inline(always)]
fn attach(cgroup: u64, task: u64) -> Result<(), i32> {
    if !cgroup::is_v2(cgroup)? {
        return Ok(());
    }
    let to = cgroup::id(cgroup)?;
    let pid = field::<u32>(task, &OFF_TASK_TGID)?;
    let start = subject::start_of(task);
    let own = match LABELS.get_ptr(&to) {
        // SAFETY: a map value.
        Some(label) => unsafe { *label },
        None => Label::ZERO,
    };
    let state = match procs::of(pid, start) {
        Some(state) => state,
        None => return enrol(own, pid, task, start),
    };
    // SAFETY: a map value.
    let label = unsafe { (*state).label };
    // Two cgroups that nobody has looked at yet are not known to be the same worker's.
    let unknown = label == UNCLASSIFIED && own.state & label_state::KIND == label_state::PENDING;
    if label == 0 || (label == own.id && !unknown) {
        return Ok(());
    }
    if label == UNCLASSIFIED && own.state & label_state::KIND == label_state::WORKER {
        // Met before its cgroup was looked at; what was told of it goes by the cgroup it was told from. This is where it is found to
        // belong, as when a runtime moves what it starts twice.
        // SAFETY: a map value.
        unsafe { (*state).label = own.id };
        return Ok(());
    }
    match own.state & label_state::KIND {
        label_state::WORKER => {
            // From one worker into another: it is the other's now.
            // SAFETY: a map value.
            unsafe { (*state).label = own.id };
        }
        // Whose that cgroup is, the agent will say; if it is nobody's, the process is still who it was.
        label_state::PENDING => fork::visit(to),
        label_state::CHECK_PROCESS => {}
        _ => fork::watch(to),
    }
    let pending = own.state & label_state::KIND == label_state::PENDING;
    report(label, to, pid, (own.id, if pending { header_flags::PENDING } else { 0 }), state);
    Ok(())
}

/// A process nobody knew enters a worker's cgroup: from now on it keeps the label.
#[inline(always)]
fn enrol(own: Label, pid: u32, task: u64, start: u64) -> Result<(), i32> {
    let kind = own.state & label_state::KIND;
    let tallies = count::tallies(program::CGROUP_ATTACH, own.id, Signal::Fork);
    if let Some(tallies) = tallies
        && (kind == label_state::WORKER || kind == label_state::PENDING)
    {
        let subject = Subject {
            label: own.id,
            flags: 0,
            pid,
            tid: pid,
            signal: Signal::Fork,
            rung: Rung::RawTp,
            cgroup: 0,
            task,
            tallies,
        };
        procs::late(&subject, start);
    }
    Ok(())
}

/// Sends the move. The subject is who moved it; the record counts for the label the process had.
#[inline(always)]
fn report(label: u32, to: u64, target: u32, (to_label, flags): (u32, u32), state: *mut ProcState) {
    let ids = bpf_get_current_pid_tgid();
    let (pid, tid) = ((ids >> 32) as u32, ids as u32);
    let task = subject::task();
    let start = subject::start_of(task);
    let Some(tallies) = count::tallies(program::CGROUP_ATTACH, label, Signal::Fork) else { return };
    let mover = if pid == target { Some(state) } else { procs::of(pid, start) };
    let subject = Subject {
        label,
        flags,
        pid,
        tid,
        // Moves have no signal of their own: they belong to the lineage that fork keeps.
        signal: Signal::Fork,
        rung: Rung::RawTp,
        cgroup: 0,
        task,
        tallies,
    };
    count::hit(tallies);
    let fill = |moved: *mut CgroupMove| {
        // SAFETY: a claimed slot or reserved ring memory.
        let moved = unsafe { &mut *moved };
        moved.to = to;
        moved.target_pid = target;
        moved.to_label = to_label;
    };
    match Record::<Small, CgroupMove>::claim() {
        Some(record) => {
            fill(record.fixed());
            let header: *mut Header = record.fixed().cast();
            subject::fill_with(header, &subject, Kind::CgroupMove, Lane::Priority, start, mover);
            record.finish(&subject, Kind::CgroupMove, Lane::Priority, fill);
        }
        None => emit::bare::<CgroupMove>(&subject, Kind::CgroupMove, Lane::Priority, fill),
    }
}

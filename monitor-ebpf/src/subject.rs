//! Who acted: the worker check every probe starts with, and the head of every record.
//!
//! The check is one helper and one hash look-up for everything that is not a worker's: cgroup id → label. Only in a
//! cgroup that a labelled process was moved into (`CHECK_PROCESS`), and where a process ends, is the process map asked too.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_smp_processor_id, generated};
use monitor_common::ABI_VERSION;
use monitor_common::hook::{Kind, Lane, Rung, Signal};
use monitor_common::map::{ProcState, UNCLASSIFIED, label_state, proc_flags};
use monitor_common::record::{Header, header_flags};

use crate::count::{self, Tallies};
use crate::cred;
use crate::maps::{LABELS, SETTINGS};
use crate::offsets::{OFF_TASK_GROUP_LEADER, OFF_TASK_REAL_PARENT, OFF_TASK_START_BOOTTIME, OFF_TASK_TGID};
use crate::procs;
use crate::read;

/// The acting process of a worker's run, and the program that saw it.
#[derive(Clone, Copy)]
pub struct Subject {
    /// Label of the worker.
    pub label: u32,
    /// `header_flags` known so far.
    pub flags: u32,
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Signal the run counts for.
    pub signal: Signal,
    /// Rung of the program.
    pub rung: Rung,
    /// Cgroup id of the task.
    pub cgroup: u64,
    /// The `task_struct`.
    pub task: u64,
    /// Where the run is counted.
    pub tallies: Tallies,
}

/// The current task's cgroup id in the v2 hierarchy.
#[inline(always)]
pub fn cgroup() -> u64 {
    // SAFETY: no arguments.
    unsafe { generated::bpf_get_current_cgroup_id() }
}

/// The current `task_struct`.
#[inline(always)]
pub fn task() -> u64 {
    // SAFETY: no arguments.
    unsafe { generated::bpf_get_current_task() }
}

/// Boot-time clock, ns.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: no arguments.
    unsafe { generated::bpf_ktime_get_boot_ns() }
}

/// Start of a task's thread group leader, boot-time ns; 0 if unreadable.
#[inline(always)]
pub fn start_of(task: u64) -> u64 {
    match read::field::<u64>(task, &OFF_TASK_GROUP_LEADER) {
        Ok(leader) => read::or_zero(leader, &OFF_TASK_START_BOOTTIME),
        Err(_) => 0,
    }
}

/// The start of every probe: is this run a worker's? Counts the run (`outside`, or `hits`) either way; a probe that gets
/// `Some` must end with exactly one [`count::ended`] (the senders in `emit` and `record` do that themselves).
#[inline(always)]
pub fn worker(program: u32, signal: Signal, rung: Rung) -> Option<Subject> {
    let subject = current(program, signal, rung);
    match &subject {
        Some(subject) => count::hit(subject.tallies),
        None => count::outside(program),
    }
    subject
}

/// [`worker`] without the counting.
#[inline(always)]
pub fn current(program: u32, signal: Signal, rung: Rung) -> Option<Subject> {
    let cgroup = cgroup();
    let label = LABELS.get_ptr(&cgroup)?;
    // SAFETY: a map value; it may change under us, each word is read once.
    let (id, kind) = unsafe { ((*label).id, (*label).state & label_state::KIND) };
    if kind == label_state::FOLDER {
        return None;
    }
    let ids = bpf_get_current_pid_tgid();
    let (pid, tid) = ((ids >> 32) as u32, ids as u32);
    let task = task();
    let agent = SETTINGS.get(0).map_or(0, |settings| settings.agent_pid);
    let (label, flags) = match kind {
        label_state::WORKER if pid != agent => (id, 0),
        label_state::PENDING if pid != agent => (id, header_flags::PENDING),
        label_state::CHECK_PROCESS => (moved(task, pid)?, header_flags::MOVED),
        // The agent and what it starts, nothing else that lives in its cgroup.
        label_state::CANARY if pid == agent || parent_pid(task) == agent => (id, 0),
        _ => return None,
    };
    let tallies = count::tallies(program, label, signal)?;
    Some(Subject { label, flags, pid, tid, signal, rung, cgroup, task, tallies })
}

/// Label a process has kept in a cgroup that has none.
#[inline(always)]
fn moved(task: u64, pid: u32) -> Option<u32> {
    let state = procs::of(pid, start_of(task))?;
    // SAFETY: a map value.
    match unsafe { (*state).label } {
        0 => None,
        label => Some(label),
    }
}

/// Process id of the parent.
#[inline(always)]
pub fn parent_pid(task: u64) -> u32 {
    match read::field::<u64>(task, &OFF_TASK_REAL_PARENT) {
        Ok(parent) => read::or_zero(parent, &OFF_TASK_TGID),
        Err(_) => 0,
    }
}

/// Fills the head of a record, all but `len` and `seq`. An unknown process is entered into the process map as `LATE`.
#[inline(always)]
pub fn fill(header: *mut Header, subject: &Subject, kind: Kind, lane: Lane) {
    let start = start_of(subject.task);
    let state = match procs::of(subject.pid, start) {
        Some(state) => Some(state),
        None => procs::late(subject, start),
    };
    fill_with(header, subject, kind, lane, start, state);
}

/// The same with a process map entry the caller has looked up already.
#[inline(always)]
pub fn fill_with(
    header: *mut Header,
    subject: &Subject,
    kind: Kind,
    lane: Lane,
    start: u64,
    state: Option<*mut ProcState>,
) {
    let (uid, gid) = cred::effective(subject.task);
    // SAFETY: `header` is the start of a record slot or of reserved ring memory; `state` is a map value.
    unsafe {
        let h = &mut *header;
        h.abi = ABI_VERSION;
        h.kind = kind as u16;
        h.time = now();
        h.cpu = bpf_get_smp_processor_id() as u16;
        h.lane = lane as u16;
        h.rung = subject.rung as u16;
        h.signal = subject.signal as u16;
        h.flags = subject.flags;
        h.label = subject.label;
        h.cgroup = subject.cgroup;
        h.pid = subject.pid;
        h.tid = subject.tid;
        h.start = start;
        h.uid = uid;
        h.gid = gid;
        describe(h, state);
        classify(subject, state);
    }
}

/// A process that was met before the agent had looked at its cgroup keeps the label that the cgroup has by now.
#[inline(always)]
fn classify(subject: &Subject, state: Option<*mut ProcState>) {
    if subject.label == UNCLASSIFIED || subject.flags & header_flags::MOVED != 0 {
        return;
    }
    if let Some(state) = state {
        // SAFETY: a word of a map value, or of the caller's copy of one.
        unsafe {
            if (*state).label == UNCLASSIFIED {
                (*state).label = subject.label;
            }
        }
    }
}

/// The part of the head that comes from the process map.
#[inline(always)]
fn describe(h: &mut Header, state: Option<*mut ProcState>) {
    match state {
        Some(state) => {
            // SAFETY: a map value.
            let state = unsafe { &*state };
            h.exec_id = state.exec_id;
            h.author_root = procs::author_root(state);
            h.exe_ino = state.exe_ino;
            h.exe_dev = state.exe_dev;
            h.proc_flags = state.flags | if h.author_root != 0 { proc_flags::AUTHOR } else { 0 };
        }
        None => {
            h.exec_id = 0;
            h.author_root = 0;
            h.exe_ino = 0;
            h.exe_dev = 0;
            h.proc_flags = proc_flags::LATE;
            h.flags |= header_flags::NO_PROC;
        }
    }
}

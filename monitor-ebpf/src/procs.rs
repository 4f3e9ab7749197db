//! The process map: look-up by identity, and entries for processes whose fork was not seen.
//!
//! A process is its pid *and* the start of its group leader. An entry the agent put in from /proc has a start rounded
//! down to 10 ms (clock ticks); the first probe that meets it writes the exact one.

use monitor_common::map::{ProcState, place, proc_flags};

use crate::count;
use crate::cred;
use crate::exe;
use crate::maps::{AUTHORS, PROCS};
use crate::subject::Subject;

/// A clock tick of /proc, ns.
const TICK: u64 = 10_000_000;

/// State of the process with this pid and start; `None` if there is none, or the pid now names another process.
#[inline(always)]
pub fn of(pid: u32, start: u64) -> Option<*mut ProcState> {
    let state = PROCS.get_ptr_mut(&pid)?;
    // SAFETY: a map value.
    let entry = unsafe { &mut *state };
    if entry.start == start {
        return Some(state);
    }
    if entry.flags & proc_flags::SCANNED != 0 && start.wrapping_sub(entry.start) < TICK {
        entry.start = start;
        return Some(state);
    }
    None
}

/// Author root of a process's current image, 0 if none: inherited at fork, or what the agent says of this image.
#[inline(always)]
pub fn author_root(state: &ProcState) -> u64 {
    if state.author_root != 0 {
        return state.author_root;
    }
    match AUTHORS.get_ptr(&state.exec_id) {
        // SAFETY: a map value.
        Some(root) => unsafe { *root },
        None => 0,
    }
}

/// Enters a process on first sight, with what its task says.
#[inline(always)]
pub fn late(subject: &Subject, start: u64) -> Option<*mut ProcState> {
    let (exe_ino, exe_dev) = exe::identity(subject.task);
    let state = ProcState {
        start,
        exec_id: start,
        parent_exec_id: 0,
        author_root: 0,
        exe_ino,
        exe_dev,
        label: subject.label,
        uid: cred::effective(subject.task).0,
        flags: proc_flags::LATE,
    };
    put(subject.pid, &state);
    PROCS.get_ptr_mut(&subject.pid)
}

/// Writes an entry; a full map is counted.
#[inline(always)]
pub fn put(pid: u32, state: &ProcState) {
    if let Err(errno) = PROCS.insert(&pid, state, 0) {
        count::failed(place::PROCS_INSERT, errno);
    }
}

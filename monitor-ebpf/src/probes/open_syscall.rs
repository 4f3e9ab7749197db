//! open, tracepoint rung: what the open system calls return.
//!
//! A descriptor leads to the `struct file`, so the path is what the kernel resolved. Of a failed call only its arguments
//! are left: the saved registers (`bpf_task_pt_regs`, since 5.15) give the name as it stands in user memory by then.
//! There are no programs at the entry of the calls: they would double the cost.

use aya_ebpf::EbpfContext;
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use monitor_common::filter::matched;
use monitor_common::hook::{Kind, Rung, Signal};
use monitor_common::program;

use super::open::{self, Seen};
use super::open_name::{self, AT_FDCWD, Named};
use crate::count::{self, Fate};
use crate::fd::{self, Holdings};
use crate::read;
use crate::registers;
use crate::subject::{self, Subject};

/// `O_CREAT | O_WRONLY | O_TRUNC`: what creat(2) means.
const CREAT_FLAGS: u32 = 0o1101;

/// Where a call has its arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    /// name, flags
    Open,
    /// dirfd, name, flags
    Openat,
    /// dirfd, name, `struct open_how *`
    Openat2,
    /// name
    Creat,
    /// mount descriptor, handle, flags: no name at all
    ByHandle,
}

/// open(2).
#[tracepoint]
pub fn tp_exit_open(ctx: TracePointContext) -> u32 {
    exit(&ctx, program::TP_EXIT_OPEN, Call::Open)
}

/// openat(2).
#[tracepoint]
pub fn tp_exit_openat(ctx: TracePointContext) -> u32 {
    exit(&ctx, program::TP_EXIT_OPENAT, Call::Openat)
}

/// openat2(2).
#[tracepoint]
pub fn tp_exit_openat2(ctx: TracePointContext) -> u32 {
    exit(&ctx, program::TP_EXIT_OPENAT2, Call::Openat2)
}

/// creat(2).
#[tracepoint]
pub fn tp_exit_creat(ctx: TracePointContext) -> u32 {
    exit(&ctx, program::TP_EXIT_CREAT, Call::Creat)
}

/// open_by_handle_at(2).
#[tracepoint]
pub fn tp_exit_handle(ctx: TracePointContext) -> u32 {
    exit(&ctx, program::TP_EXIT_BY_HANDLE, Call::ByHandle)
}

#[inline(always)]
fn exit(ctx: &TracePointContext, program: u32, call: Call) -> u32 {
    let Some(subject) = subject::worker(program, Signal::Open, Rung::Tracepoint) else { return 0 };
    // SAFETY: `struct syscall_tp_t` of kernel/trace/trace_syscalls.c, the same from 4.x to 7.2: eight bytes of entry
    // head, the number of the call, the return value at 16.
    let (nr, ret) = unsafe {
        let base = ctx.as_ptr().cast::<u8>();
        (base.add(8).cast::<i32>().read(), base.add(16).cast::<i64>().read())
    };
    let task = Holdings::of(subject.task);
    let file = if ret < 0 { Ok(0) } else { fd::file(task.files, ret as u32) };
    match file {
        Ok(0) => by_name(&subject, call, nr as u32, ret as i32),
        Ok(file) => open::opened(&subject, &Seen { file, task, ret: ret as i32, opcode: nr as u32 }),
        Err(_) => open::unreadable(&subject, ret as i32, nr as u32),
    }
    0
}

/// There is no file: the call failed, or another thread closed the descriptor before we looked. Nobody who means well
/// closes what was not handed out yet, so that is sent whatever its name is.
#[inline(always)]
fn by_name(subject: &Subject, call: Call, nr: u32, ret: i32) {
    if call == Call::ByHandle || !registers::known() {
        // No name to be had.
        if ret < 0 {
            count::ended(subject, Fate::Filtered);
        } else {
            open::unreadable(subject, ret, nr);
        }
        return;
    }
    let [first, second, third] = registers::arguments();
    let (dirfd, name, flags) = match call {
        Call::Open => (AT_FDCWD, first, second as u32),
        Call::Openat => (first as i32, second, third as u32),
        // `open_how` starts with 64 bits of flags. In user memory, like the name.
        Call::Openat2 => (first as i32, second, user_word(third)),
        Call::Creat | Call::ByHandle => (AT_FDCWD, first, CREAT_FLAGS),
    };
    let (error, matched) = if ret < 0 { (ret, 0) } else { (0, matched::UNRESOLVED) };
    open_name::named(
        subject,
        &Named { kind: Kind::Open, name, user: true, dirfd, flags, error, opcode: nr, matched },
    );
}

#[inline(always)]
fn user_word(address: u64) -> u32 {
    let mut word = 0u64;
    if read::copy_user((&raw mut word).cast(), size_of::<u64>() as u32, address) < 0 {
        0
    } else {
        word as u32
    }
}

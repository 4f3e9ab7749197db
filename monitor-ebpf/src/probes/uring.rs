//! io_uring opens on the tracepoint rung, which no open system call shows: seen when the request is submitted.
//!
//! By then the kernel has prepared the request, so folder, name and flags are its own copies (io_uring/openclose.c,
//! `__io_openat_prep`) and nothing can be raced. What file the name leads to, and whether the open succeeds, is not known
//! yet: every such open is sent, marked unresolved.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use core::ffi::c_void;
use monitor_common::filter::matched;
use monitor_common::hook::{Kind, Rung, Signal};
use monitor_common::program;

use super::open_name::{self, Named};
use crate::count::{self, Fate};
use crate::offsets::*;
use crate::read::{field, opaque, or_zero};
use crate::subject::{self, Subject};

/// `IORING_OP_OPENAT` and `IORING_OP_OPENAT2` (include/uapi/linux/io_uring.h).
const OPENAT: u8 = 18;
const OPENAT2: u8 = 28;

/// `io_uring_submit_req(req)`, since 6.4.
#[btf_tracepoint(function = "io_uring_submit_req")]
pub fn btf_uring_req(ctx: BtfTracePointContext) -> i32 {
    submitted(program::BTF_URING_REQ, ctx.arg::<*const c_void>(0) as u64)
}

/// `io_uring_submit_sqe`: `(req, force_nonblock)` from 6.0, `(ctx, req, opcode, …)` from 5.15 and in Debian's 5.10.
#[btf_tracepoint(function = "io_uring_submit_sqe")]
pub fn btf_uring_sqe(ctx: BtfTracePointContext) -> i32 {
    // Both are read and then one is taken: chosen before, it would be one read at an address that is not known.
    let first = opaque(ctx.arg::<*const c_void>(0) as u64);
    let second = opaque(ctx.arg::<*const c_void>(1) as u64);
    // Anything but 2 or 7 has no request among its arguments: the agent does not load this program then.
    let req = if ARGS_URING_SQE.load() == 7 { second } else { first };
    submitted(program::BTF_URING_SQE, req)
}

#[inline(always)]
fn submitted(program: u32, req: u64) -> i32 {
    let Some(subject) = subject::worker(program, Signal::Open, Rung::TpBtf) else { return 0 };
    match field::<u8>(req, &OFF_KIOCB_OPCODE) {
        Ok(opcode @ (OPENAT | OPENAT2)) => open(&subject, req, opcode),
        Ok(_) => count::ended(&subject, Fate::Filtered),
        Err(_) => count::ended(&subject, Fate::Error),
    }
    0
}

#[inline(always)]
fn open(subject: &Subject, req: u64, opcode: u8) {
    // The operation's own structure shares its place with the request's file pointer.
    let request = at(req, &OFF_KIOCB_FILE);
    let filename: u64 = or_zero(request, &OFF_IO_OPEN_FILENAME);
    let named = Named {
        kind: Kind::UringOpen,
        name: or_zero(filename, &OFF_FILENAME_NAME),
        user: false,
        dirfd: or_zero(request, &OFF_IO_OPEN_DFD),
        flags: or_zero::<u64>(request, &OFF_IO_OPEN_FLAGS) as u32,
        error: 0,
        opcode: opcode as u32,
        matched: matched::UNRESOLVED,
    };
    open_name::named(subject, &named);
}

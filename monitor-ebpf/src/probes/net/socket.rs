//! Creation of sockets whose traffic no connect hook sees: raw IP, packet, vsock, SCTP, AF_ALG, AF_XDP, …

use aya_ebpf::macros::{cgroup_sock, fentry, kprobe, lsm, tracepoint};
use aya_ebpf::programs::{FEntryContext, LsmContext, ProbeContext, SockContext, TracePointContext};
use monitor_common::hook::{Kind, Lane, Rung, Signal};
use monitor_common::program::{
    CG_SOCK_CREATE, FENTRY_SOCKET, KPROBE_SOCKET, LSM_SOCKET, TP_ENTER_SOCKET, TP_EXIT_SOCKET,
};
use monitor_common::record::{CONNECT_ATTEMPTED, Socket};
use monitor_common::socket::{SOCK_TYPE_MASK, is_uncommon};

use super::syscalls::{argument, returned};
use crate::count::{self, Fate};
use crate::emit;
use crate::record::Record;
use crate::registers;
use crate::scratch::Small;
use crate::subject::{self, Subject};

#[inline(always)]
fn created(program: u32, rung: Rung, family: u32, sock_type: u32, protocol: u32, error: i32) {
    let Some(subject) = subject::worker(program, Signal::Socket, rung) else { return };
    if !is_uncommon(family, sock_type, protocol) {
        return count::ended(&subject, Fate::Filtered);
    }
    report(&subject, family, sock_type & SOCK_TYPE_MASK, protocol, error);
}

#[inline(always)]
fn report(subject: &Subject, family: u32, sock_type: u32, protocol: u32, error: i32) {
    let fill = |socket: *mut Socket| {
        // SAFETY: the fixed part of a claimed slot, or reserved ring memory of this size.
        unsafe {
            (*socket).family = family;
            (*socket).sock_type = sock_type;
            (*socket).protocol = protocol;
            (*socket).error = error;
        }
    };
    let Some(record) = Record::<Small, Socket>::claim() else {
        return emit::bare::<Socket>(subject, Kind::Socket, Lane::Priority, fill);
    };
    fill(record.fixed());
    record.send(subject, Kind::Socket, Lane::Priority, fill);
}

/// The last argument is set for sockets the kernel makes for itself (net/socket.c `sock_create_kern`).
#[inline(always)]
fn hooked(program: u32, rung: Rung, family: u64, sock_type: u64, protocol: u64, kern: u64) {
    if kern as u32 == 0 {
        created(program, rung, family as u32, sock_type as u32, protocol as u32, CONNECT_ATTEMPTED);
    }
}

#[lsm(hook = "socket_create")]
fn lsm_socket(ctx: LsmContext) -> i32 {
    hooked(LSM_SOCKET, Rung::Lsm, ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg(3));
    0
}

#[fentry(function = "security_socket_create")]
fn fentry_socket(ctx: FEntryContext) -> i32 {
    hooked(FENTRY_SOCKET, Rung::Fentry, ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg(3));
    0
}

#[kprobe]
fn kprobe_socket(ctx: ProbeContext) -> u32 {
    hooked(
        KPROBE_SOCKET,
        Rung::Kprobe,
        ctx.arg(0).unwrap_or(0),
        ctx.arg(1).unwrap_or(0),
        ctx.arg(2).unwrap_or(0),
        ctx.arg(3).unwrap_or(0),
    );
    0
}

#[tracepoint]
fn tp_enter_socket(ctx: TracePointContext) -> u32 {
    created(
        TP_ENTER_SOCKET,
        Rung::Tracepoint,
        argument(&ctx, 0) as u32,
        argument(&ctx, 1) as u32,
        argument(&ctx, 2) as u32,
        CONNECT_ATTEMPTED,
    );
    0
}

#[tracepoint]
fn tp_exit_socket(ctx: TracePointContext) -> u32 {
    if registers::known() {
        let [family, sock_type, protocol] = registers::arguments();
        let result = returned(&ctx);
        let error = if result < 0 { result as i32 } else { 0 };
        created(TP_EXIT_SOCKET, Rung::Tracepoint, family as u32, sock_type as u32, protocol as u32, error);
    }
    0
}

#[cgroup_sock(sock_create)]
fn cg_sock_create(ctx: SockContext) -> i32 {
    let sock = ctx.sock;
    // SAFETY: the program's context; volatile keeps the loads as wide as the fields.
    let (family, sock_type, protocol) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*sock).family),
            core::ptr::read_volatile(&raw const (*sock).type_),
            core::ptr::read_volatile(&raw const (*sock).protocol),
        )
    };
    // The socket exists when this program runs (net/ipv4/af_inet.c `inet_create`).
    created(CG_SOCK_CREATE, Rung::Cgroup, family, sock_type, protocol, 0);
    1
}

//! The tracepoint rung: `sys_exit_connect` (before 5.15 `sys_enter_connect` too), `sys_enter_{sendto,sendmsg,sendmmsg}`.
//!
//! A successful connect is read back from the socket the descriptor names: kernel data. The address of a failed connect is
//! gone from the socket, and that of a send never was there before the call: those are read from user memory and marked.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use monitor_common::hook::{Rung, Signal};
use monitor_common::map::ConnectCall;
use monitor_common::program::{
    TP_ENTER_CONNECT, TP_ENTER_SENDMMSG, TP_ENTER_SENDMSG, TP_ENTER_SENDTO, TP_EXIT_CONNECT,
};
use monitor_common::record::{CONNECT_ATTEMPTED, connect_flags};
use monitor_common::socket::{
    AF_INET, AF_INET6, Address, MSG_FASTOPEN, SOCK_STREAM, SOCKADDR_LEN, parse_sockaddr,
};

use super::{Target, report, sock_u16};
use crate::count::{self, Fate};
use crate::maps::CONNECT_CALLS;
use crate::offsets::{
    OFF_FDT_FD, OFF_FDT_MAX, OFF_FILE_INODE, OFF_FILE_PRIVATE, OFF_FILES_FDT, OFF_INODE_MODE, OFF_SOCK_DADDR,
    OFF_SOCK_DPORT, OFF_SOCK_FAMILY, OFF_SOCK_TYPE, OFF_SOCK_V6_DADDR, OFF_SOCKET_SK, OFF_TASK_FILES,
    present,
};
use crate::read;
use crate::registers;
use crate::subject::{self, Subject};

/// `EINPROGRESS`: the connect of a non-blocking socket is under way.
const EINPROGRESS: i64 = 115;
const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// The `n`th argument of a `sys_enter_*` tracepoint: they follow the 8 bytes of common fields and the call's number.
#[inline(always)]
pub(in crate::probes) fn argument(ctx: &TracePointContext, n: usize) -> u64 {
    // SAFETY: within the record of a syscall tracepoint (kernel/trace/trace.h `struct syscall_trace_enter`).
    unsafe { core::ptr::read_volatile(ctx.as_ptr().cast::<u64>().add(2 + n)) }
}

/// The return value in a `sys_exit_*` tracepoint.
#[inline(always)]
pub(in crate::probes) fn returned(ctx: &TracePointContext) -> i64 {
    argument(ctx, 0) as i64
}

/// The `struct sock` behind a descriptor of the current task; 0 if it is no socket.
#[inline(always)]
pub(in crate::probes) fn sock_of(task: u64, fd: u64) -> u64 {
    sock_of_checked(task, fd & 0xffff_ffff).unwrap_or(0)
}

#[inline(always)]
fn sock_of_checked(task: u64, fd: u64) -> Result<u64, i32> {
    let files: u64 = read::field(task, &OFF_TASK_FILES)?;
    let table: u64 = read::field(files, &OFF_FILES_FDT)?;
    if fd >= read::field::<u32>(table, &OFF_FDT_MAX)? as u64 {
        return Ok(0);
    }
    let slots: u64 = read::field(table, &OFF_FDT_FD)?;
    let file: u64 = read::kernel(slots.wrapping_add(fd * 8))?;
    let inode: u64 = read::field(file, &OFF_FILE_INODE)?;
    if read::field::<u16>(inode, &OFF_INODE_MODE)? & S_IFMT != S_IFSOCK {
        return Ok(0);
    }
    let socket: u64 = read::field(file, &OFF_FILE_PRIVATE)?;
    read::field(socket, &OFF_SOCKET_SK)
}

/// Peer of a connected socket.
#[inline(always)]
fn peer_of(sock: u64) -> Option<Address> {
    let family = sock_u16(sock, &OFF_SOCK_FAMILY);
    let port = u16::from_be(sock_u16(sock, &OFF_SOCK_DPORT));
    let mut addr = [0u8; 16];
    match family as u32 {
        AF_INET => {
            let v4 = read::field::<[u8; 4]>(sock, &OFF_SOCK_DADDR).ok()?;
            addr[0] = v4[0];
            addr[1] = v4[1];
            addr[2] = v4[2];
            addr[3] = v4[3];
        }
        AF_INET6 if present(&OFF_SOCK_V6_DADDR) => addr = read::field(sock, &OFF_SOCK_V6_DADDR).ok()?,
        _ => return None,
    }
    if port == 0 { None } else { Some(Address { family, port, addr }) }
}

/// Internet address at a user address of the current task.
#[inline(always)]
fn user_address(address: u64) -> Result<Option<Address>, i32> {
    let mut bytes = [0u8; SOCKADDR_LEN];
    // An IPv4 address may end at the end of a mapping: 16 bytes are certain, 28 are tried first.
    let failed = read::copy_user(bytes.as_mut_ptr(), SOCKADDR_LEN as u32, address) < 0
        && read::copy_user(bytes.as_mut_ptr(), 16, address) < 0;
    if failed { Err(-14) } else { Ok(parse_sockaddr(&bytes)) }
}

/// Keeps what a connect was called with until its exit hook runs.
#[inline(always)]
pub(in crate::probes) fn keep(ctx: &TracePointContext, program: u32, signal: Signal) {
    // Not counted as a run: the exit hook of the same call is.
    if let Some(subject) = subject::current(program, signal, Rung::Tracepoint) {
        let call = ConnectCall {
            address: argument(ctx, 1),
            fd: argument(ctx, 0) as u32,
            len: argument(ctx, 2) as u32,
        };
        let thread = (subject.pid as u64) << 32 | subject.tid as u64;
        // A full map shows at the exit: no call kept is a degraded record.
        let _ = CONNECT_CALLS.insert(&thread, &call, 0);
    }
}

/// What the connect that ends now was called with: from the registers, else as kept at its entry. Kept until the next
/// call: both signals of this rung may ask.
#[inline(always)]
pub(in crate::probes) fn called(subject: &Subject) -> Option<ConnectCall> {
    if registers::known() {
        let [fd, address, len] = registers::arguments();
        return Some(ConnectCall { address, fd: fd as u32, len: len as u32 });
    }
    let thread = (subject.pid as u64) << 32 | subject.tid as u64;
    let call = CONNECT_CALLS.get_ptr(&thread)?;
    // SAFETY: a map value that only this thread writes.
    Some(unsafe { *call })
}

/// Outcome of a connect from its return value.
#[inline(always)]
pub(in crate::probes) fn outcome(returned: i64) -> i32 {
    if returned == -EINPROGRESS { CONNECT_ATTEMPTED } else { returned as i32 }
}

#[tracepoint]
fn tp_ent_connect(ctx: TracePointContext) -> u32 {
    keep(&ctx, TP_ENTER_CONNECT, Signal::Connect);
    0
}

#[tracepoint]
fn tp_exit_connect(ctx: TracePointContext) -> u32 {
    if let Some(subject) = subject::worker(TP_EXIT_CONNECT, Signal::Connect, Rung::Tracepoint) {
        connected(&subject, returned(&ctx));
    }
    0
}

#[inline(always)]
fn connected(subject: &Subject, result: i64) {
    let ended = |fate| count::ended(subject, fate);
    let Some(call) = called(subject) else { return ended(Fate::Error) };
    let sock = sock_of(subject.task, call.fd as u64);
    let error = outcome(result);
    let by_kernel = if error == 0 || error == CONNECT_ATTEMPTED { peer_of(sock) } else { None };
    if let Some(to) = by_kernel {
        return report(subject, &Target { to, sock, error, flags: connect_flags::AFTER_TRANSLATION });
    }
    match user_address(call.address) {
        Ok(Some(to)) => report(subject, &Target { to, sock, error, flags: connect_flags::USER_MEMORY }),
        Ok(None) => ended(Fate::Filtered),
        Err(_) => ended(Fate::Error),
    }
}

/// A send to `address` (user memory) through descriptor `fd`.
#[inline(always)]
fn sends(subject: &Subject, fd: u64, address: u64, message_flags: u32) {
    let ended = |fate| count::ended(subject, fate);
    if address == 0 {
        return ended(Fate::Filtered);
    }
    let sock = sock_of(subject.task, fd);
    let stream = sock_u16(sock, &OFF_SOCK_TYPE) as u32 == SOCK_STREAM;
    let kind = match (stream, message_flags & MSG_FASTOPEN != 0) {
        (false, _) => connect_flags::SEND,
        (true, true) => connect_flags::FAST_OPEN,
        (true, false) => return ended(Fate::Filtered),
    };
    if sock == 0 {
        return ended(Fate::Filtered);
    }
    match user_address(address) {
        Ok(Some(to)) => report(
            subject,
            &Target { to, sock, error: CONNECT_ATTEMPTED, flags: kind | connect_flags::USER_MEMORY },
        ),
        Ok(None) => ended(Fate::Filtered),
        Err(_) => ended(Fate::Error),
    }
}

#[tracepoint]
fn tp_enter_sendto(ctx: TracePointContext) -> u32 {
    if let Some(subject) = subject::worker(TP_ENTER_SENDTO, Signal::Send, Rung::Tracepoint) {
        sends(&subject, argument(&ctx, 0), argument(&ctx, 4), argument(&ctx, 3) as u32);
    }
    0
}

#[tracepoint]
fn tp_ent_sendmsg(ctx: TracePointContext) -> u32 {
    if let Some(subject) = subject::worker(TP_ENTER_SENDMSG, Signal::Send, Rung::Tracepoint) {
        send_message(&subject, argument(&ctx, 0), argument(&ctx, 1), argument(&ctx, 2) as u32);
    }
    0
}

/// Of a `sendmmsg` the first message is looked at: the other addresses are the gap `sendmmsg-tail` of this rung.
#[tracepoint]
fn tp_ent_sendmmsg(ctx: TracePointContext) -> u32 {
    if let Some(subject) = subject::worker(TP_ENTER_SENDMMSG, Signal::Send, Rung::Tracepoint) {
        send_message(&subject, argument(&ctx, 0), argument(&ctx, 1), argument(&ctx, 3) as u32);
    }
    0
}

/// `message` is a user `struct msghdr`, whose first word is the address' pointer.
#[inline(always)]
fn send_message(subject: &Subject, fd: u64, message: u64, flags: u32) {
    let mut address = 0u64;
    if read::copy_user((&raw mut address).cast(), 8, message) < 0 {
        return count::ended(subject, Fate::Error);
    }
    sends(subject, fd, address, flags);
}

//! `security_socket_connect` and `security_socket_sendmsg` by LSM, fentry and kprobe.
//!
//! The address was copied into the kernel before the hook (net/socket.c `move_addr_to_kernel`), so it is what the kernel
//! acts on. A fast open is a sendmsg with `MSG_FASTOPEN` and an address: reported here as a connect.

use aya_ebpf::macros::{fentry, kprobe, lsm};
use aya_ebpf::programs::{FEntryContext, LsmContext, ProbeContext};
use monitor_common::hook::{Rung, Signal};
use monitor_common::program::{
    FENTRY_CONNECT, FENTRY_SENDMSG, KPROBE_CONNECT, KPROBE_SENDMSG, LSM_CONNECT, LSM_SENDMSG,
};
use monitor_common::record::{CONNECT_ATTEMPTED, connect_flags};
use monitor_common::socket::{MSG_FASTOPEN, SOCK_STREAM, SOCKADDR_LEN, parse_sockaddr};

use super::{Target, report, sock_u16};
use crate::count::{self, Fate};
use crate::offsets::{OFF_MSGHDR_FLAGS, OFF_MSGHDR_NAME, OFF_MSGHDR_NAMELEN, OFF_SOCK_TYPE, OFF_SOCKET_SK};
use crate::read;
use crate::subject::{self, Subject};

/// Shortest internet address that the kernel takes: family, port and IPv4 address.
const SOCKADDR_IN_USED: u64 = 8;

/// Reports the internet address at `address` (kernel memory), or counts the run as of no interest.
#[inline(always)]
fn from_kernel(subject: &Subject, sock: u64, address: u64, len: u64, flags: u32) {
    let filtered = || count::ended(subject, Fate::Filtered);
    if len < SOCKADDR_IN_USED {
        return filtered();
    }
    // The kernel's copy lies in a sockaddr_storage of 128 bytes: reading 28 never leaves it.
    let Ok(bytes) = read::kernel::<[u8; SOCKADDR_LEN]>(address) else {
        return count::ended(subject, Fate::Error);
    };
    let Some(to) = parse_sockaddr(&bytes) else {
        return filtered();
    };
    let sk = read::field::<u64>(sock, &OFF_SOCKET_SK).unwrap_or(0);
    report(subject, &Target { to, sock: sk, error: CONNECT_ATTEMPTED, flags });
}

#[inline(always)]
fn connect(program: u32, rung: Rung, sock: u64, address: u64, len: u64) {
    if let Some(subject) = subject::worker(program, Signal::Connect, rung) {
        from_kernel(&subject, sock, address, len & 0xffff_ffff, 0);
    }
}

#[inline(always)]
fn sendmsg(program: u32, rung: Rung, sock: u64, msg: u64) {
    let Some(subject) = subject::worker(program, Signal::Send, rung) else { return };
    let name = read::field::<u64>(msg, &OFF_MSGHDR_NAME).unwrap_or(0);
    if name == 0 {
        return count::ended(&subject, Fate::Filtered);
    }
    let len = read::field::<u32>(msg, &OFF_MSGHDR_NAMELEN).unwrap_or(0);
    let sk = read::field::<u64>(sock, &OFF_SOCKET_SK).unwrap_or(0);
    let flags = if sock_u16(sk, &OFF_SOCK_TYPE) as u32 != SOCK_STREAM {
        connect_flags::SEND
    } else if read::field::<u32>(msg, &OFF_MSGHDR_FLAGS).unwrap_or(0) & MSG_FASTOPEN != 0 {
        connect_flags::FAST_OPEN
    } else {
        // A stream ignores the address of a send.
        return count::ended(&subject, Fate::Filtered);
    };
    from_kernel(&subject, sock, name, len as u64, flags);
}

#[lsm(hook = "socket_connect")]
fn lsm_connect(ctx: LsmContext) -> i32 {
    connect(LSM_CONNECT, Rung::Lsm, ctx.arg(0), ctx.arg(1), ctx.arg(2));
    0
}

#[fentry(function = "security_socket_connect")]
fn fentry_connect(ctx: FEntryContext) -> i32 {
    connect(FENTRY_CONNECT, Rung::Fentry, ctx.arg(0), ctx.arg(1), ctx.arg(2));
    0
}

#[kprobe]
fn kprobe_connect(ctx: ProbeContext) -> u32 {
    connect(
        KPROBE_CONNECT,
        Rung::Kprobe,
        ctx.arg(0).unwrap_or(0),
        ctx.arg(1).unwrap_or(0),
        ctx.arg(2).unwrap_or(0),
    );
    0
}

#[lsm(hook = "socket_sendmsg")]
fn lsm_sendmsg(ctx: LsmContext) -> i32 {
    sendmsg(LSM_SENDMSG, Rung::Lsm, ctx.arg(0), ctx.arg(1));
    0
}

#[fentry(function = "security_socket_sendmsg")]
fn fentry_sendmsg(ctx: FEntryContext) -> i32 {
    sendmsg(FENTRY_SENDMSG, Rung::Fentry, ctx.arg(0), ctx.arg(1));
    0
}

#[kprobe]
fn kprobe_sendmsg(ctx: ProbeContext) -> u32 {
    sendmsg(KPROBE_SENDMSG, Rung::Kprobe, ctx.arg(0).unwrap_or(0), ctx.arg(1).unwrap_or(0));
    0
}

//! `security_unix_stream_connect` and `security_unix_may_send` by LSM, fentry and kprobe.

use aya_ebpf::macros::{fentry, kprobe, lsm};
use aya_ebpf::programs::{FEntryContext, LsmContext, ProbeContext};
use monitor_common::hook::{Rung, Signal};
use monitor_common::program::{
    FENTRY_UNIX, FENTRY_UNIX_SEND, KPROBE_UNIX, KPROBE_UNIX_SEND, LSM_UNIX, LSM_UNIX_SEND,
};
use monitor_common::record::{CONNECT_ATTEMPTED, unix_flags};

use super::peer;
use crate::count::{self, Fate};
use crate::offsets::{OFF_SOCKET_SK, OFF_UNIX_PEER};
use crate::read;
use crate::subject;

#[inline(always)]
fn connect(program: u32, rung: Rung, other: u64) {
    if let Some(subject) = subject::worker(program, Signal::Unix, rung) {
        peer(&subject, other, CONNECT_ATTEMPTED, 0);
    }
}

/// A datagram: on connect and on every send (net/unix/af_unix.c `unix_dgram_connect`, `unix_dgram_sendmsg`). A send
/// to the peer one is connected to already was reported at the connect.
#[inline(always)]
fn may_send(program: u32, rung: Rung, socket: u64, other: u64) {
    let Some(subject) = subject::worker(program, Signal::Unix, rung) else { return };
    let own = read::field::<u64>(socket, &OFF_SOCKET_SK).unwrap_or(0);
    let other = read::field::<u64>(other, &OFF_SOCKET_SK).unwrap_or(0);
    if read::field::<u64>(own, &OFF_UNIX_PEER) == Ok(other) {
        return count::ended(&subject, Fate::Filtered);
    }
    peer(&subject, other, CONNECT_ATTEMPTED, unix_flags::SEND);
}

#[lsm(hook = "unix_stream_connect")]
fn lsm_unix(ctx: LsmContext) -> i32 {
    connect(LSM_UNIX, Rung::Lsm, ctx.arg(1));
    0
}

#[fentry(function = "security_unix_stream_connect")]
fn fentry_unix(ctx: FEntryContext) -> i32 {
    connect(FENTRY_UNIX, Rung::Fentry, ctx.arg(1));
    0
}

#[kprobe]
fn kprobe_unix(ctx: ProbeContext) -> u32 {
    connect(KPROBE_UNIX, Rung::Kprobe, ctx.arg(1).unwrap_or(0));
    0
}

#[lsm(hook = "unix_may_send")]
fn lsm_unix_send(ctx: LsmContext) -> i32 {
    may_send(LSM_UNIX_SEND, Rung::Lsm, ctx.arg(0), ctx.arg(1));
    0
}

#[fentry(function = "security_unix_may_send")]
fn fentry_unix_snd(ctx: FEntryContext) -> i32 {
    may_send(FENTRY_UNIX_SEND, Rung::Fentry, ctx.arg(0), ctx.arg(1));
    0
}

#[kprobe]
fn kprobe_unix_snd(ctx: ProbeContext) -> u32 {
    may_send(KPROBE_UNIX_SEND, Rung::Kprobe, ctx.arg(0).unwrap_or(0), ctx.arg(1).unwrap_or(0));
    0
}

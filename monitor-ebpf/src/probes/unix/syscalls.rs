//! The tracepoint rung: after a connect the descriptor's socket knows its peer. Datagram sends without a connect are the gap
//! `unix-datagrams` of this rung.

use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use monitor_common::hook::{Rung, Signal};
use monitor_common::program::{TP_ENTER_CONNECT_UNIX, TP_EXIT_CONNECT_UNIX};
use monitor_common::socket::AF_UNIX;

use super::{named, peer};
use crate::count::{self, Fate};
use crate::offsets::{OFF_SOCK_FAMILY, OFF_UNIX_PEER};
use crate::probes::net::syscalls::{called, keep, outcome, returned, sock_of};
use crate::read;
use crate::subject::{self, Subject};

#[tracepoint]
fn tp_ent_conn_ux(ctx: TracePointContext) -> u32 {
    keep(&ctx, TP_ENTER_CONNECT_UNIX, Signal::Unix);
    0
}

#[tracepoint]
fn tp_exit_conn_ux(ctx: TracePointContext) -> u32 {
    if let Some(subject) = subject::worker(TP_EXIT_CONNECT_UNIX, Signal::Unix, Rung::Tracepoint) {
        connected(&subject, returned(&ctx));
    }
    0
}

#[inline(always)]
fn connected(subject: &Subject, result: i64) {
    let ended = |fate| count::ended(subject, fate);
    let Some(call) = called(subject) else { return ended(Fate::Error) };
    let sock = sock_of(subject.task, call.fd as u64);
    if sock == 0 || read::field::<u16>(sock, &OFF_SOCK_FAMILY).unwrap_or(0) as u32 != AF_UNIX {
        return ended(Fate::Filtered);
    }
    let other = if result == 0 { read::field::<u64>(sock, &OFF_UNIX_PEER).unwrap_or(0) } else { 0 };
    if other != 0 {
        return peer(subject, other, 0, 0);
    }
    named(subject, call.address, call.len as u64, outcome(result));
}

//! What became of a TCP connect: `inet_sock_set_state` out of SYN_SENT.
//!
//! It runs in the softirq that received the answer, on behalf of whoever was interrupted, so the subject is the one kept
//! at the connect. A softirq also interrupts our own programs between a counter's load and its store: this program is
//! only in the object with atomic counters (kernels ≥ 5.13).

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use monitor_common::hook::{Kind, Lane, Rung, Signal};
use monitor_common::program::RAW_SOCK_STATE;
use monitor_common::record::{ConnectResult, Header};

use crate::count;
use crate::emit;
use crate::maps::CONNECTS;
use crate::offsets::OFF_SOCK_ERR;
use crate::read;
use crate::record::Record;
use crate::scratch::Small;
use crate::subject::{self, Subject};

/// `TCP_ESTABLISHED` and `TCP_SYN_SENT` (include/net/tcp_states.h).
const ESTABLISHED: i32 = 1;
const SYN_SENT: i32 = 2;
/// Closed before an answer and without an error of its own: the process gave up.
const ECONNABORTED: i32 = 103;

#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
fn raw_sock_state(ctx: RawTracePointContext) -> i32 {
    let (sock, old, new): (u64, i32, i32) = (ctx.arg(0), ctx.arg(1), ctx.arg(2));
    if old != SYN_SENT {
        return 0;
    }
    let Some(kept) = CONNECTS.get_ptr(&sock) else {
        count::outside(RAW_SOCK_STATE);
        return 0;
    };
    let error = if new == ESTABLISHED {
        0
    } else {
        match read::field::<i32>(sock, &OFF_SOCK_ERR).unwrap_or(0) {
            0 => -ECONNABORTED,
            error => -error,
        }
    };
    report(sock, kept, error, new as u32);
    // Absent if another CPU was quicker; there is nothing left to remove then.
    let _ = CONNECTS.remove(&sock);
    0
}

#[inline(always)]
fn report(sock: u64, kept: *const Header, error: i32, state: u32) {
    // SAFETY: a map value; a torn read would need a second connect on the same socket while the first is answered.
    let kept = unsafe { &*kept };
    let Some(tallies) = count::tallies(RAW_SOCK_STATE, kept.label, Signal::Connect) else { return };
    let subject = Subject {
        label: kept.label,
        flags: kept.flags,
        pid: kept.pid,
        tid: kept.tid,
        signal: Signal::Connect,
        rung: Rung::RawTp,
        cgroup: kept.cgroup,
        task: 0,
        tallies,
    };
    count::hit(tallies);
    let fill = |result: *mut ConnectResult| {
        // SAFETY: a claimed slot, or reserved ring memory of this size.
        unsafe {
            (*result).sock = sock;
            (*result).error = error;
            (*result).state = state;
        }
    };
    let Some(record) = Record::<Small, ConnectResult>::claim() else {
        return emit::bare::<ConnectResult>(&subject, Kind::ConnectResult, Lane::Priority, fill);
    };
    // SAFETY: the fixed part of a claimed slot.
    unsafe {
        let fixed = record.fixed();
        let header = &mut (*fixed).header;
        *header = *kept;
        header.kind = Kind::ConnectResult as u16;
        header.rung = Rung::RawTp as u16;
        header.time = subject::now();
        header.cpu = bpf_get_smp_processor_id() as u16;
        fill(fixed);
    }
    record.finish(&subject, Kind::ConnectResult, Lane::Priority, fill);
}

//! Connects, unconnected sends and uncommon sockets over IPv4 and IPv6, on every rung.
//!
//! `cgroup`: sock_addr programs on the cgroup2 root, the first choice: they see the address as the process gave it, fast
//! open, MPTCP and io_uring. `hooks`: LSM, fentry, kprobe. `syscalls`: the tracepoint rung. `result`: what became of a TCP
//! connect. `socket`: creation of sockets whose traffic no connect hook sees. All end in [`report`].

mod cgroup;
mod hooks;
#[cfg(feature = "atomics")]
mod result;
mod socket;
pub(super) mod syscalls;

use aya_ebpf::Global;
use monitor_common::hook::{Kind, Lane};
use monitor_common::record::{CONNECT_ATTEMPTED, Connect, connect_flags};
use monitor_common::socket::{Address, IPPROTO_TCP};

use crate::emit;
use crate::maps::CONNECTS;
use crate::offsets::{OFF_NET_NS_INUM, OFF_SOCK_NET, OFF_SOCK_PROTOCOL, OFF_SOCK_TYPE};
use crate::read;
use crate::record::Record;
use crate::scratch::Small;
use crate::subject::{self, Subject};

/// What a hook knows of a connect or send.
#[derive(Clone, Copy)]
pub(super) struct Target {
    /// Where to.
    pub(super) to: Address,
    /// `struct sock`, 0 if the hook has none.
    pub(super) sock: u64,
    /// 0, negative errno, or `CONNECT_ATTEMPTED`.
    pub(super) error: i32,
    /// `connect_flags`.
    pub(super) flags: u32,
}

/// A `u16` or `u32` field of a sock as `u16`; 0 if unreadable.
#[inline(always)]
pub(super) fn sock_u16(sock: u64, offset: &Global<u32>) -> u16 {
    read::field::<u16>(sock, offset).unwrap_or(0)
}

/// Network namespace of a sock, 0 if unknown.
#[inline(always)]
fn net_ns(sock: u64) -> u32 {
    match read::field_or::<u64>(sock, &OFF_SOCK_NET, 0) {
        0 => 0,
        net => read::field_or(net, &OFF_NET_NS_INUM, 0),
    }
}

/// Sends a connect record. What the hook does not know of the socket is read from it.
#[inline(always)]
pub(super) fn report(subject: &Subject, target: &Target) {
    let fill = |connect: *mut Connect| {
        // SAFETY: a claimed slot, or reserved ring memory of this size.
        unsafe {
            (*connect).family = target.to.family;
            (*connect).port = target.to.port;
            (*connect).addr = target.to.addr;
            (*connect).error = target.error;
            (*connect).flags = target.flags;
        }
    };
    let Some(record) = Record::<Small, Connect>::claim() else {
        return emit::bare::<Connect>(subject, Kind::Connect, Lane::Priority, fill);
    };
    // SAFETY: the fixed part of a claimed slot. The socket pointer goes through map memory and back, so that to the
    // verifier it is a number: arithmetic on a socket pointer is refused (kernel/bpf/verifier.c, adjust_ptr_min_max_vals).
    unsafe {
        let fixed = record.fixed();
        core::ptr::write_volatile(&raw mut (*fixed).sock, target.sock);
        let sock = core::ptr::read_volatile(&raw const (*fixed).sock);
        fill(fixed);
        if sock != 0 {
            (*fixed).protocol = sock_u16(sock, &OFF_SOCK_PROTOCOL);
            (*fixed).sock_type = sock_u16(sock, &OFF_SOCK_TYPE);
            (*fixed).net_ns = net_ns(sock);
        }
        subject::fill((&raw mut (*fixed).header).cast(), subject, Kind::Connect, Lane::Priority);
        if sock != 0
            && target.error == CONNECT_ATTEMPTED
            && target.flags & connect_flags::SEND == 0
            && (*fixed).protocol as u32 == IPPROTO_TCP
        {
            // A full map costs the result, not the connect: the outcome stays `attempted`.
            let _ = CONNECTS.insert(&sock, &(*fixed).header, 0);
            if !record.owned() {
                // It was another task's head that was kept.
                let _ = CONNECTS.remove(&sock);
            }
        }
    }
    record.finish(subject, Kind::Connect, Lane::Priority, fill);
}

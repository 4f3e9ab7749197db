//! `cgroup/connect4,6` and `cgroup/sendmsg4,6` on the cgroup2 root. They always allow (return 1): sandwatch only watches.
//!
//! A v4-mapped UDP destination arrives at the IPv4 program of sendmsg, a v4-mapped TCP one at `connect6`
//! (net/ipv6/udp.c `udpv6_sendmsg`, net/ipv6/tcp_ipv6.c `tcp_v6_connect`).

use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use monitor_common::hook::{Rung, Signal};
use monitor_common::program::{CG_CONNECT4, CG_CONNECT6, CG_SENDMSG4, CG_SENDMSG6};
use monitor_common::record::{CONNECT_ATTEMPTED, connect_flags};
use monitor_common::socket::{AF_INET, AF_INET6, Address};

use super::{Target, report};
use crate::subject;

const ALLOW: i32 = 1;

#[inline(always)]
fn v4(ctx: *mut bpf_sock_addr) -> Address {
    let mut addr = [0u8; 16];
    // SAFETY: the program's context; the verifier knows its layout. Volatile keeps the loads 32 bits wide.
    let (ip, port) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*ctx).user_ip4),
            core::ptr::read_volatile(&raw const (*ctx).user_port),
        )
    };
    let ip = ip.to_ne_bytes();
    addr[0] = ip[0];
    addr[1] = ip[1];
    addr[2] = ip[2];
    addr[3] = ip[3];
    Address { family: AF_INET as u16, port: u16::from_be(port as u16), addr }
}

#[inline(always)]
fn v6(ctx: *mut bpf_sock_addr) -> Address {
    let mut words = [0u32; 4];
    let mut i = 0;
    while i < 4 {
        // SAFETY: as in `v4`.
        words[i] = unsafe { core::ptr::read_volatile((&raw const (*ctx).user_ip6).cast::<u32>().add(i)) };
        i += 1;
    }
    // SAFETY: four words are sixteen bytes.
    let addr = unsafe { core::mem::transmute::<[u32; 4], [u8; 16]>(words) };
    // SAFETY: as in `v4`.
    let port = unsafe { core::ptr::read_volatile(&raw const (*ctx).user_port) };
    Address { family: AF_INET6 as u16, port: u16::from_be(port as u16), addr }
}

#[inline(always)]
fn run(
    ctx: &SockAddrContext,
    program: u32,
    signal: Signal,
    flags: u32,
    address: fn(*mut bpf_sock_addr) -> Address,
) -> i32 {
    if let Some(subject) = subject::worker(program, signal, Rung::Cgroup) {
        let ctx = ctx.sock_addr;
        // SAFETY: as in `v4`.
        let sock = unsafe { core::ptr::read_volatile(&raw const (*ctx).__bindgen_anon_1.sk) } as u64;
        report(&subject, &Target { to: address(ctx), sock, error: CONNECT_ATTEMPTED, flags });
    }
    ALLOW
}

#[cgroup_sock_addr(connect4)]
fn cg_connect4(ctx: SockAddrContext) -> i32 {
    run(&ctx, CG_CONNECT4, Signal::Connect, 0, v4)
}

#[cgroup_sock_addr(connect6)]
fn cg_connect6(ctx: SockAddrContext) -> i32 {
    run(&ctx, CG_CONNECT6, Signal::Connect, 0, v6)
}

#[cgroup_sock_addr(sendmsg4)]
fn cg_sendmsg4(ctx: SockAddrContext) -> i32 {
    run(&ctx, CG_SENDMSG4, Signal::Send, connect_flags::SEND, v4)
}

#[cgroup_sock_addr(sendmsg6)]
fn cg_sendmsg6(ctx: SockAddrContext) -> i32 {
    run(&ctx, CG_SENDMSG6, Signal::Send, connect_flags::SEND, v6)
}

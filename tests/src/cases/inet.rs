//! Connects and sends over IPv4 and IPv6.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use monitor::event::{AddressStage, Body, Connect, Event, Outcome, Rung, Signal};

use super::{ensure_same, ensure_that};
use crate::net::{closed_port, connect, has_ipv6, listener, receiver, send_message, send_to, socket};
use crate::{Case, Verdict, World};

pub(super) const CASES: &[Case] = &[
    ("connect_tcp_over_ipv4", tcp4),
    ("connect_tcp_over_ipv6", tcp6),
    ("connect_result_established_follows", established),
    ("connect_refused_is_seen_and_its_result_too", refused),
    ("connect_tcp_to_a_v4_mapped_address_is_ipv4", mapped_tcp),
    ("connect_tcp_fast_open_is_seen", fast_open),
    ("connect_mptcp_is_seen", mptcp),
    ("connect_udp_is_seen_once_and_its_sends_are_not", udp_connected),
    ("connect_without_blocking_is_seen", non_blocking),
    ("send_udp_by_sendto_over_ipv4", sendto4),
    ("send_udp_by_sendto_over_ipv6", sendto6),
    ("send_udp_by_sendmsg", sendmsg),
    ("send_udp_to_a_v4_mapped_address_is_ipv4", mapped_udp),
];

const TCP: u16 = 6;
const UDP: u16 = 17;

fn connects(events: &[Event]) -> Vec<Connect> {
    events
        .iter()
        .filter_map(|event| match event.body {
            Body::Connect(connect) => Some(connect),
            _ => None,
        })
        .collect()
}

/// Outcome that an attempt has at the hook: the tracepoint rung runs after the call and knows, the others do not.
fn at_hook(world: &World, signal: Signal, known: Outcome) -> Outcome {
    if signal == Signal::Connect && world.rung(signal) == Some(Rung::Tracepoint) {
        known
    } else {
        Outcome::Attempted
    }
}

fn one(world: &mut World, to: SocketAddr, act: impl FnOnce() -> i32) -> Result<Connect> {
    let events = world.run(act)?;
    let seen = connects(&events);
    ensure_same!(seen.len(), 1, "connects");
    ensure_same!(SocketAddr::new(seen[0].addr, seen[0].port), to, "where to");
    Ok(seen[0])
}

fn stream(family: i32, to: SocketAddr) -> i32 {
    i32::from(connect(socket(family, libc::SOCK_STREAM, 0), to) != 0)
}

fn tcp4(world: &mut World) -> Result<Verdict> {
    let (_listener, to) = listener("127.0.0.1:0")?;
    let seen = one(world, to, || stream(libc::AF_INET, to))?;
    ensure_same!(seen.protocol, TCP, "protocol");
    ensure_that!(!seen.send && !seen.fast_open, "a plain connect");
    ensure_same!(seen.outcome, at_hook(world, Signal::Connect, Outcome::Ok), "outcome");
    ensure_that!(!seen.user_memory, "kernel data");
    // The tracepoint rung reads it from the socket, the others as it was asked for.
    let by_socket = world.rung(Signal::Connect) == Some(Rung::Tracepoint);
    let stage = if by_socket { AddressStage::After } else { AddressStage::Before };
    ensure_same!(seen.stage, stage, "address stage");
    Ok(Verdict::Holds)
}

fn tcp6(world: &mut World) -> Result<Verdict> {
    if !has_ipv6() {
        return Ok(Verdict::Skip("no IPv6 on this host".into()));
    }
    let (_listener, to) = listener("[::1]:0")?;
    let seen = one(world, to, || stream(libc::AF_INET6, to))?;
    ensure_same!(seen.protocol, TCP, "protocol");
    Ok(Verdict::Holds)
}

/// Result events are made by the kernels whose object has the program (≥ 5.12).
fn results_are_seen(world: &World) -> bool {
    world.coverage().programs.iter().any(|program| program.name == "raw_sock_state" && program.attached)
}

fn result_of(world: &mut World, act: impl FnOnce() -> i32) -> Result<Option<(Outcome, i32)>> {
    let events = world.run(act)?;
    let sock = connects(&events).first().context("a connect")?.sock;
    Ok(events.iter().find_map(|event| match event.body {
        Body::ConnectResult { sock: of, outcome, errno } if of == sock => Some((outcome, errno)),
        _ => None,
    }))
}

fn established(world: &mut World) -> Result<Verdict> {
    if !results_are_seen(world) || world.rung(Signal::Connect) == Some(Rung::Tracepoint) {
        return Ok(Verdict::Skip(
            "results come with the connect on this rung, or not at all on this kernel".into(),
        ));
    }
    let (_listener, to) = listener("127.0.0.1:0")?;
    let result = result_of(world, || stream(libc::AF_INET, to))?;
    ensure_same!(result, Some((Outcome::Ok, 0)), "result");
    Ok(Verdict::Holds)
}

fn refused(world: &mut World) -> Result<Verdict> {
    let to = closed_port()?;
    let act = || {
        i32::from(connect(socket(libc::AF_INET, libc::SOCK_STREAM, 0), to) != -i64::from(libc::ECONNREFUSED))
    };
    if world.rung(Signal::Connect) == Some(Rung::Tracepoint) {
        let seen = one(world, to, act)?;
        ensure_same!(seen.errno, libc::ECONNREFUSED, "errno");
        return Ok(Verdict::Holds);
    }
    if !results_are_seen(world) {
        one(world, to, act)?;
        return Ok(Verdict::Holds);
    }
    let result = result_of(world, act)?.context("a result")?;
    ensure_same!(result.1, libc::ECONNREFUSED, "errno of the result");
    ensure_that!(result.0 != Outcome::Ok, "not a success");
    Ok(Verdict::Holds)
}

fn mapped(to: SocketAddr) -> Result<SocketAddr> {
    let IpAddr::V4(v4) = to.ip() else { anyhow::bail!("{to} is not IPv4") };
    Ok(SocketAddr::new(IpAddr::V6(v4.to_ipv6_mapped()), to.port()))
}

fn mapped_tcp(world: &mut World) -> Result<Verdict> {
    if !has_ipv6() {
        return Ok(Verdict::Skip("no IPv6 on this host".into()));
    }
    let (_listener, to) = listener("127.0.0.1:0")?;
    let target = mapped(to)?;
    one(world, to, || stream(libc::AF_INET6, target))?;
    Ok(Verdict::Holds)
}

fn mapped_udp(world: &mut World) -> Result<Verdict> {
    if !has_ipv6() {
        return Ok(Verdict::Skip("no IPv6 on this host".into()));
    }
    let (_receiver, to) = receiver("127.0.0.1:0")?;
    let target = mapped(to)?;
    let seen =
        one(world, to, || i32::from(send_to(socket(libc::AF_INET6, libc::SOCK_DGRAM, 0), target, 0) != 4))?;
    ensure_that!(seen.send, "a send");
    Ok(Verdict::Holds)
}

fn fast_open(world: &mut World) -> Result<Verdict> {
    let (_listener, to) = listener("127.0.0.1:0")?;
    let events = world.run(|| {
        let socket = socket(libc::AF_INET, libc::SOCK_STREAM, 0);
        // Without a cookie the kernel falls back to a plain handshake and still takes the address from here.
        i32::from(send_to(socket, to, libc::MSG_FASTOPEN) < 0)
    })?;
    let seen = connects(&events);
    if world.gaps(Signal::Connect).iter().any(|gap| gap == "tfo") && seen.is_empty() {
        return Ok(Verdict::Skip("gap `tfo` of this rung".into()));
    }
    ensure_that!(!seen.is_empty(), "the connect is seen");
    ensure_that!(seen.iter().all(|seen| SocketAddr::new(seen.addr, seen.port) == to), "where to");
    Ok(Verdict::Holds)
}

fn mptcp(world: &mut World) -> Result<Verdict> {
    const IPPROTO_MPTCP: i32 = 262;
    if socket(libc::AF_INET, libc::SOCK_STREAM, IPPROTO_MPTCP) < 0 {
        return Ok(Verdict::Skip("no MPTCP in this kernel".into()));
    }
    let (_listener, to) = listener("127.0.0.1:0")?;
    let events =
        world.run(|| i32::from(connect(socket(libc::AF_INET, libc::SOCK_STREAM, IPPROTO_MPTCP), to) != 0))?;
    let seen = connects(&events);
    ensure_that!(!seen.is_empty(), "the connect is seen");
    ensure_that!(seen.iter().all(|seen| SocketAddr::new(seen.addr, seen.port) == to), "where to");
    Ok(Verdict::Holds)
}

fn udp_connected(world: &mut World) -> Result<Verdict> {
    let (_receiver, to) = receiver("127.0.0.1:0")?;
    let seen = one(world, to, || {
        let socket = socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
        if connect(socket, to) != 0 {
            return 1;
        }
        for _ in 0..3 {
            // SAFETY: a buffer of the length given.
            unsafe { libc::send(socket, b"ping".as_ptr().cast(), 4, 0) };
        }
        0
    })?;
    ensure_same!(seen.protocol, UDP, "protocol");
    ensure_that!(!seen.send, "a connect");
    Ok(Verdict::Holds)
}

fn non_blocking(world: &mut World) -> Result<Verdict> {
    let (_listener, to) = listener("127.0.0.1:0")?;
    one(world, to, || {
        let socket = socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0);
        let result = connect(socket, to);
        i32::from(result != 0 && result != -i64::from(libc::EINPROGRESS))
    })?;
    Ok(Verdict::Holds)
}

fn sendto4(world: &mut World) -> Result<Verdict> {
    let (_receiver, to) = receiver("127.0.0.1:0")?;
    let seen = one(world, to, || i32::from(send_to(socket(libc::AF_INET, libc::SOCK_DGRAM, 0), to, 0) != 4))?;
    ensure_same!(seen.protocol, UDP, "protocol");
    ensure_that!(seen.send, "a send");
    ensure_same!(
        seen.user_memory,
        world.rung(Signal::Send) == Some(Rung::Tracepoint),
        "user memory on tracepoints only"
    );
    Ok(Verdict::Holds)
}

fn sendto6(world: &mut World) -> Result<Verdict> {
    if !has_ipv6() {
        return Ok(Verdict::Skip("no IPv6 on this host".into()));
    }
    let (_receiver, to) = receiver("[::1]:0")?;
    one(world, to, || i32::from(send_to(socket(libc::AF_INET6, libc::SOCK_DGRAM, 0), to, 0) != 4))?;
    Ok(Verdict::Holds)
}

fn sendmsg(world: &mut World) -> Result<Verdict> {
    let (_receiver, to) = receiver("127.0.0.1:0")?;
    let seen =
        one(world, to, || i32::from(send_message(socket(libc::AF_INET, libc::SOCK_DGRAM, 0), to) != 4))?;
    ensure_same!(seen.addr, IpAddr::V4(Ipv4Addr::LOCALHOST), "address");
    Ok(Verdict::Holds)
}

//! Sockets whose traffic no connect hook sees: their creation is seen, or a gap says it is not.

use anyhow::Result;
use monitor::event::{Body, Signal};

use super::{ensure_same, ensure_that};
use crate::net::socket;
use crate::{Case, Verdict, World};

pub(super) const CASES: &[Case] = &[
    ("socket_raw_ip_is_seen", raw),
    ("socket_packet_is_seen_or_a_gap", packet),
    ("socket_tcp_udp_and_netlink_are_no_events", usual),
];

fn created(world: &mut World, family: i32, kind: i32, protocol: i32, gap: &str) -> Result<Verdict> {
    let made = std::cell::Cell::new(0);
    let child = crate::child::Child::spawn(world.cgroup(), || {
        made.set(socket(family, kind, protocol));
        i32::from(made.get() < 0)
    })?;
    let pid = child.pid;
    let code = child.wait()?;
    let events = world.until_exit(pid)?;
    if code != 0 {
        return Ok(Verdict::Skip("this kernel does not make such sockets for us".into()));
    }
    let seen: Vec<_> = events
        .iter()
        .filter_map(|event| match event.body {
            Body::Socket(socket) => Some((socket.family as i32, socket.sock_type as i32)),
            _ => None,
        })
        .collect();
    if seen.is_empty() && world.gaps(Signal::Socket).iter().any(|name| name == gap) {
        return Ok(Verdict::Skip(format!("gap `{gap}` of this rung")));
    }
    ensure_same!(seen, [(family, kind)], "sockets created");
    Ok(Verdict::Holds)
}

fn raw(world: &mut World) -> Result<Verdict> {
    created(world, libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP, "raw-sockets")
}

fn packet(world: &mut World) -> Result<Verdict> {
    created(world, libc::AF_PACKET, libc::SOCK_RAW, 0, "af-packet")
}

fn usual(world: &mut World) -> Result<Verdict> {
    let events = world.run(|| {
        let made = [
            socket(libc::AF_INET, libc::SOCK_STREAM, 0),
            socket(libc::AF_INET, libc::SOCK_DGRAM, 0),
            socket(libc::AF_NETLINK, libc::SOCK_RAW, 0),
            socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0),
        ];
        i32::from(made.iter().any(|socket| *socket < 0))
    })?;
    ensure_that!(!events.iter().any(|event| matches!(event.body, Body::Socket(_))), "none");
    Ok(Verdict::Holds)
}

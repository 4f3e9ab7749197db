//! Connects to unix sockets.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};

use anyhow::Result;
use monitor::event::{Body, Event, Outcome, Rung, Signal, Unix};

use super::{ensure_same, ensure_that};
use crate::files::{folder, identity};
use crate::{Case, Verdict, World};

pub(super) const CASES: &[Case] = &[
    ("unix_connect_by_path_names_the_socket_file", by_path),
    ("unix_connect_through_a_symlink_names_the_real_file", through_symlink),
    ("unix_connect_to_an_abstract_name", abstract_name),
    ("unix_connect_that_is_refused_is_not_a_success", refused),
    ("unix_datagram_without_a_connect", datagram),
];

fn unix(events: &[Event]) -> Vec<Unix> {
    events
        .iter()
        .filter_map(|event| match &event.body {
            Body::Unix(unix) => Some(unix.clone()),
            _ => None,
        })
        .collect()
}

fn one(world: &mut World, act: impl FnOnce() -> bool) -> Result<Unix> {
    let events = world.run(|| i32::from(!act()))?;
    let mut seen = unix(&events);
    ensure_same!(seen.len(), 1, "unix connects in {seen:#?}");
    Ok(seen.remove(0))
}

fn by_path(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = folder.path().join("engine.sock");
    let _listener = UnixListener::bind(&path)?;
    let seen = one(world, || UnixStream::connect(&path).is_ok())?;
    ensure_same!(&*seen.path.view, path.to_string_lossy().as_ref(), "path");
    ensure_same!((seen.id.dev, seen.id.ino), identity(&path)?, "identity");
    ensure_that!(!seen.abstract_name, "not abstract");
    let known = world.rung(Signal::Unix) == Some(Rung::Tracepoint);
    ensure_same!(seen.outcome, if known { Outcome::Ok } else { Outcome::Attempted }, "outcome");
    Ok(Verdict::Holds)
}

fn through_symlink(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = folder.path().join("engine.sock");
    let link = folder.path().join("innocent");
    let _listener = UnixListener::bind(&path)?;
    std::os::unix::fs::symlink(&path, &link)?;
    let seen = one(world, || UnixStream::connect(&link).is_ok())?;
    ensure_same!(&*seen.path.view, path.to_string_lossy().as_ref(), "path");
    Ok(Verdict::Holds)
}

fn abstract_name(world: &mut World) -> Result<Verdict> {
    let name = format!("sw-case-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name)?;
    let _listener = UnixListener::bind_addr(&address)?;
    let seen = one(world, || UnixStream::connect_addr(&address).is_ok())?;
    ensure_that!(seen.abstract_name, "abstract");
    ensure_same!(&*seen.path.view, format!("@{name}").as_str(), "name");
    Ok(Verdict::Holds)
}

fn refused(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = folder.path().join("dead.sock");
    drop(UnixListener::bind(&path)?);
    let events = world.run(|| i32::from(UnixStream::connect(&path).is_ok()))?;
    let seen = unix(&events);
    ensure_that!(seen.iter().all(|seen| seen.outcome != Outcome::Ok), "no success in {seen:#?}");
    if world.rung(Signal::Unix) == Some(Rung::Tracepoint) {
        ensure_same!(seen.len(), 1, "the failed connect");
        ensure_same!(seen[0].errno, libc::ECONNREFUSED, "errno");
    }
    Ok(Verdict::Holds)
}

fn datagram(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = folder.path().join("log.sock");
    let _receiver = UnixDatagram::bind(&path)?;
    let events = world.run(|| {
        i32::from(!UnixDatagram::unbound().is_ok_and(|socket| socket.send_to(b"x", &path).is_ok()))
    })?;
    let seen = unix(&events);
    if seen.is_empty() && world.gaps(Signal::Unix).iter().any(|gap| gap == "unix-datagrams") {
        return Ok(Verdict::Skip("gap `unix-datagrams` of this rung".into()));
    }
    ensure_same!(seen.len(), 1, "sends");
    ensure_that!(seen[0].send, "a send");
    ensure_same!(&*seen[0].path.view, path.to_string_lossy().as_ref(), "path");
    Ok(Verdict::Holds)
}

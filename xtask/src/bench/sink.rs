//! The other end of the measured datagrams: it takes what comes and throws it away.

use anyhow::{Context, Result};
use std::net::{Ipv4Addr, UdpSocket};

/// A loopback listener of this process, which is in no worker cgroup. It lives as long as the process.
pub(crate) struct Listeners {
    udp: u16,
    /// Never read: a full receive buffer drops datagrams, which costs the sender the same each time.
    _udp_socket: UdpSocket,
}

impl Listeners {
    pub(crate) fn open() -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot bind on loopback")?;
        let udp = socket.local_addr()?.port();
        Ok(Self { udp, _udp_socket: socket })
    }

    pub(crate) fn udp_port(&self) -> u16 {
        self.udp
    }
}

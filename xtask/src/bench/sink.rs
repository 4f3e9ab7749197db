//! The other ends of the measured connections: they take what comes and throw it away.

use anyhow::{Context, Result};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// Loopback listeners of this process, which is in no worker cgroup. They live as long as the process.
pub(crate) struct Listeners {
    tcp: u16,
    udp: u16,
    /// Never read: a full receive buffer drops datagrams, which costs the sender the same each time.
    _udp_socket: UdpSocket,
}

impl Listeners {
    pub(crate) fn open() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on loopback")?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot bind on loopback")?;
        let tcp = listener.local_addr()?.port();
        let udp = socket.local_addr()?.port();
        std::thread::spawn(move || {
            // A connection that was reset before it was taken is an error of that connection alone.
            for stream in listener.incoming() {
                drop(stream);
            }
        });
        Ok(Self { tcp, udp, _udp_socket: socket })
    }

    pub(crate) fn tcp_port(&self) -> u16 {
        self.tcp
    }

    pub(crate) fn udp_port(&self) -> u16 {
        self.udp
    }
}

//! The connection: a stream, or a socket for datagrams.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::sink::net::Tls;
use crate::sink::net::address::HostPort;
use crate::sink::net::socket::Connection;

/// How long a name stands for the same address over UDP, where nothing tells that it no longer does.
const RESOLVED: Duration = Duration::from_secs(60);

/// Where to, and how.
pub(super) enum Way {
    /// A socket of datagrams, as syslog daemons have at `/dev/log`.
    Unix(PathBuf),
    Udp(HostPort),
    Stream {
        to: HostPort,
        tls: Option<Box<Tls>>,
    },
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Udp(to) => write!(f, "udp://{to}"),
            Self::Stream { to, tls: None } => write!(f, "tcp://{to}"),
            Self::Stream { to, tls: Some(_) } => write!(f, "tls://{to}"),
        }
    }
}

/// An open way.
pub(super) enum Line {
    Unix(UnixDatagram),
    Udp(UdpSocket, Instant),
    Stream(Box<Connection>),
}

impl Line {
    pub(super) fn open(way: &Way, timeout: Duration) -> io::Result<Self> {
        match way {
            Way::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_write_timeout(Some(timeout))?;
                socket.connect(path)?;
                Ok(Self::Unix(socket))
            }
            Way::Udp(to) => Ok(Self::Udp(udp(to)?, Instant::now())),
            Way::Stream { to, tls } => {
                Connection::open(to, tls.as_deref(), timeout).map(|line| Self::Stream(Box::new(line)))
            }
        }
    }

    /// Whether it still stands, as far as that can be known without an answer.
    pub(super) fn check(&mut self) -> io::Result<()> {
        let waiting = match self {
            Self::Unix(socket) => socket.take_error()?,
            Self::Udp(socket, _) => socket.take_error()?,
            Self::Stream(connection) => return connection.check(),
        };
        waiting.map_or(Ok(()), Err)
    }

    /// Watches a fresh line for so long, where there is something to see.
    pub(super) fn watch(&mut self, span: Duration) -> io::Result<()> {
        match self {
            Self::Unix(_) | Self::Udp(..) => Ok(()),
            Self::Stream(connection) => connection.watch(span),
        }
    }

    /// Whether the name should be looked up again.
    pub(super) fn is_stale(&self) -> bool {
        matches!(self, Self::Udp(_, since) if since.elapsed() > RESOLVED)
    }

    pub(super) fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let sent = match self {
            Self::Unix(socket) => socket.send(frame)?,
            Self::Udp(socket, _) => socket.send(frame)?,
            Self::Stream(connection) => return connection.send(frame),
        };
        if sent == frame.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

fn udp(to: &HostPort) -> io::Result<UdpSocket> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (to.host.as_str(), to.port).to_socket_addrs()? {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        match UdpSocket::bind(any).and_then(|socket| socket.connect(address).map(|()| socket)) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

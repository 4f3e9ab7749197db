//! A TCP connection, with or without TLS, that only sends, and that notices when its peer is gone.
//!
//! Nothing is ever answered, so a connection that the peer has closed would swallow the next write without a word. Before
//! each write the socket is therefore asked whether something came: an end, an alert of TLS, a reset.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use rustls::ClientConnection;

use super::Tls;
use super::address::HostPort;
use super::trouble::last_word;

/// An open connection.
pub struct Connection {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    timeout: Duration,
}

impl Connection {
    /// Connects, and agrees on TLS if `tls` is given.
    ///
    /// # Errors
    /// The name does not resolve, nobody answers within `timeout`, or TLS fails: see [`explain`](super::explain).
    pub fn open(to: &HostPort, tls: Option<&Tls>, timeout: Duration) -> io::Result<Self> {
        let deadline = Instant::now() + timeout;
        let stream = connect(to, deadline)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        watch_peer(&stream, timeout);
        let mut connection = Self { stream, tls: None, timeout };
        if let Some(tls) = tls {
            let client = tls.client().map_err(io::Error::other)?;
            let name = tls.name_for(&to.host).map_err(io::Error::other)?;
            let session = ClientConnection::new(client, name).map_err(io::Error::other)?;
            connection.shake_hands(session, deadline)?;
        }
        Ok(connection)
    }

    fn shake_hands(&mut self, mut session: ClientConnection, deadline: Instant) -> io::Result<()> {
        while session.is_handshaking() {
            write_out(&mut session, &mut self.stream)?;
            if !session.is_handshaking() {
                break;
            }
            // One byte a second would never run into the socket's own timeout.
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if session.read_tls(&mut self.stream)? == 0 {
                return Err(closed());
            }
            if let Err(failure) = session.process_new_packets() {
                // Tells the receiver why; that it does not arrive changes nothing.
                let _ = session.write_tls(&mut self.stream);
                return Err(io::Error::new(io::ErrorKind::InvalidData, failure));
            }
        }
        write_out(&mut session, &mut self.stream)?;
        self.tls = Some(Box::new(session));
        Ok(())
    }

    /// Watches the connection for so long, as [`check`](Self::check) looks at it.
    ///
    /// # Errors
    /// As for [`check`](Self::check).
    pub fn watch(&mut self, span: Duration) -> io::Result<()> {
        let until = Instant::now() + span;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return self.check();
            }
            let wait = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            poll(&mut [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)], wait)?;
            self.check()?;
        }
    }

    /// Whether the connection still stands, as far as this side can know.
    ///
    /// # Errors
    /// The peer has closed or reset it, or ended TLS.
    pub fn check(&mut self) -> io::Result<()> {
        self.stream.set_nonblocking(true)?;
        let said = self.drain();
        self.stream.set_nonblocking(false)?;
        said
    }

    /// Reads away what has come; a receiver of logs has nothing to say.
    fn drain(&mut self) -> io::Result<()> {
        let mut buffer = [0u8; 512];
        loop {
            let got = match &mut self.tls {
                None => self.stream.read(&mut buffer),
                Some(session) => session.read_tls(&mut self.stream),
            };
            match got {
                Ok(0) => return Err(closed()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if let Some(session) = &mut self.tls {
                let state = session
                    .process_new_packets()
                    .map_err(|failure| io::Error::new(io::ErrorKind::InvalidData, failure))?;
                let mut waiting = state.plaintext_bytes_to_read();
                while waiting > 0 {
                    waiting = waiting.saturating_sub(session.reader().read(&mut buffer)?.max(1));
                }
                if state.peer_has_closed() {
                    return Err(closed());
                }
            }
        }
    }

    /// Hands all of `bytes` to the system.
    ///
    /// # Errors
    /// The connection broke or took nothing for the timeout; how much of it arrived is not known.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            None => self.stream.write_all(bytes),
            Some(session) => {
                let deadline = Instant::now() + self.timeout;
                let mut rest = bytes;
                while !rest.is_empty() || session.wants_write() {
                    let taken = session.writer().write(rest)?;
                    rest = rest.get(taken..).unwrap_or_default();
                    while session.wants_write() {
                        if Instant::now() > deadline {
                            return Err(io::ErrorKind::TimedOut.into());
                        }
                        if let Err(error) = session.write_tls(&mut self.stream) {
                            return Err(last_word(session, &mut self.stream, error));
                        }
                    }
                }
                Ok(())
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(session) = &mut self.tls {
            session.send_close_notify();
            // Best effort, and never for long.
            if self.stream.set_nonblocking(true).is_ok() {
                let _ = session.write_tls(&mut self.stream);
            }
        }
    }
}

fn write_out(session: &mut ClientConnection, stream: &mut TcpStream) -> io::Result<()> {
    while session.wants_write() {
        if let Err(error) = session.write_tls(stream) {
            return Err(last_word(session, stream, error));
        }
    }
    Ok(())
}

fn connect(to: &HostPort, deadline: Instant) -> io::Result<TcpStream> {
    let addresses: Vec<_> = (to.host.as_str(), to.port).to_socket_addrs()?.collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let others = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = (left / others).max(Duration::from_millis(10));
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A peer that vanished without a word is noticed too: by probes while nothing is sent, and by the missing acknowledgement
/// of what was. Where the system refuses that, writes still end after their timeout.
fn watch_peer(stream: &TcpStream, timeout: Duration) {
    let milliseconds = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    let _ = setsockopt(stream, sockopt::KeepAlive, &true);
    let _ = setsockopt(stream, sockopt::TcpKeepIdle, &30);
    let _ = setsockopt(stream, sockopt::TcpKeepInterval, &10);
    let _ = setsockopt(stream, sockopt::TcpKeepCount, &3);
    let _ = setsockopt(stream, sockopt::TcpUserTimeout, &milliseconds);
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed it")
}

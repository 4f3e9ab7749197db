//! Sockets the cases use, by plain system calls; everything stays on loopback.

use std::io;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};

/// A socket address as the kernel takes it.
pub(crate) struct Raw {
    storage: libc::sockaddr_storage,
    len: libc::socklen_t,
}

impl Raw {
    /// From an address.
    pub(crate) fn new(address: SocketAddr) -> Self {
        // SAFETY: all zero is a valid value of this plain structure.
        let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        let len = match address {
            SocketAddr::V4(v4) => {
                let to = (&raw mut storage).cast::<libc::sockaddr_in>();
                // SAFETY: a sockaddr_in fits into the storage.
                unsafe {
                    (*to).sin_family = libc::AF_INET as u16;
                    (*to).sin_port = v4.port().to_be();
                    (*to).sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
                }
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(v6) => {
                let to = (&raw mut storage).cast::<libc::sockaddr_in6>();
                // SAFETY: a sockaddr_in6 fits into the storage.
                unsafe {
                    (*to).sin6_family = libc::AF_INET6 as u16;
                    (*to).sin6_port = v6.port().to_be();
                    (*to).sin6_addr.s6_addr = v6.ip().octets();
                }
                size_of::<libc::sockaddr_in6>()
            }
        };
        Self { storage, len: len as libc::socklen_t }
    }

    /// Pointer for a call.
    pub(crate) fn pointer(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    /// Length for a call.
    pub(crate) fn len(&self) -> libc::socklen_t {
        self.len
    }
}

/// `socket`; negative errno on failure.
pub(crate) fn socket(family: i32, kind: i32, protocol: i32) -> i32 {
    // SAFETY: a plain call.
    crate::child::sys(i64::from(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) })) as i32
}

/// `connect`; negative errno on failure.
pub(crate) fn connect(socket: i32, to: SocketAddr) -> i64 {
    let to = Raw::new(to);
    // SAFETY: an address of the length given.
    crate::child::sys(i64::from(unsafe { libc::connect(socket, to.pointer(), to.len()) }))
}

/// `sendto` of four bytes; negative errno on failure.
pub(crate) fn send_to(socket: i32, to: SocketAddr, flags: i32) -> i64 {
    let to = Raw::new(to);
    // SAFETY: a buffer and an address of the lengths given.
    crate::child::sys(unsafe {
        libc::sendto(socket, b"ping".as_ptr().cast(), 4, flags, to.pointer(), to.len())
    } as i64)
}

/// `sendmsg` of four bytes; negative errno on failure.
pub(crate) fn send_message(socket: i32, to: SocketAddr) -> i64 {
    let to = Raw::new(to);
    let mut part = libc::iovec { iov_base: b"ping".as_ptr().cast_mut().cast(), iov_len: 4 };
    // SAFETY: all zero is a valid value of this plain structure.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = to.pointer().cast_mut().cast();
    message.msg_namelen = to.len();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    // SAFETY: pointers and lengths as above.
    crate::child::sys(unsafe { libc::sendmsg(socket, &raw const message, 0) } as i64)
}

/// A TCP listener on loopback, and its address.
pub(crate) fn listener(address: &str) -> Result<(std::net::TcpListener, SocketAddr)> {
    let listener =
        std::net::TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// A UDP socket on loopback, and its address.
pub(crate) fn receiver(address: &str) -> Result<(std::net::UdpSocket, SocketAddr)> {
    let socket = std::net::UdpSocket::bind(address).with_context(|| format!("cannot bind {address}"))?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

/// A loopback port that nobody listens on.
pub(crate) fn closed_port() -> io::Result<SocketAddr> {
    std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// Whether this host has IPv6 on loopback.
pub(crate) fn has_ipv6() -> bool {
    std::net::TcpListener::bind("[::1]:0").is_ok()
}

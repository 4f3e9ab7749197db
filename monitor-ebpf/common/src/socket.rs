//! Pure decisions about sockets, the same on both sides.

/// `AF_UNIX`.
pub const AF_UNIX: u32 = 1;
/// `AF_INET`.
pub const AF_INET: u32 = 2;
/// `AF_INET6`.
pub const AF_INET6: u32 = 10;
/// `AF_NETLINK`.
pub const AF_NETLINK: u32 = 16;
/// `SOCK_STREAM`.
pub const SOCK_STREAM: u32 = 1;
/// `SOCK_DGRAM`.
pub const SOCK_DGRAM: u32 = 2;
/// `SOCK_RAW`.
pub const SOCK_RAW: u32 = 3;
/// `IPPROTO_TCP`.
pub const IPPROTO_TCP: u32 = 6;
/// `IPPROTO_SCTP`.
pub const IPPROTO_SCTP: u32 = 132;
/// `MSG_FASTOPEN` (include/linux/socket.h).
pub const MSG_FASTOPEN: u32 = 0x2000_0000;
/// Bits of a socket type that name the type, without `SOCK_CLOEXEC` and `SOCK_NONBLOCK` (include/linux/net.h `SOCK_TYPE_MASK`).
pub const SOCK_TYPE_MASK: u32 = 0xf;

/// Whether creating such a socket is a signal of its own: its traffic is seen by no connect hook (raw IP, packet, vsock,
/// SCTP, AF_ALG, AF_XDP, …). Unix, netlink, TCP, UDP (and ping sockets, which are SOCK_DGRAM) are usual.
pub const fn is_uncommon(family: u32, sock_type: u32, protocol: u32) -> bool {
    match family {
        AF_UNIX | AF_NETLINK => false,
        AF_INET | AF_INET6 => sock_type & SOCK_TYPE_MASK == SOCK_RAW || protocol == IPPROTO_SCTP,
        _ => true,
    }
}

/// Bytes of a socket address that are looked at: `struct sockaddr_in6`.
pub const SOCKADDR_LEN: usize = 28;

/// An internet address as it stands in a `struct sockaddr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// [`AF_INET`] or [`AF_INET6`].
    pub family: u16,
    /// Port, host order.
    pub port: u16,
    /// Address, network order; IPv4 in the first four bytes.
    pub addr: [u8; 16],
}

/// The internet address in the bytes of a `struct sockaddr_in` or `sockaddr_in6`; `None` for other families.
#[inline(always)]
pub fn parse_sockaddr(bytes: &[u8; SOCKADDR_LEN]) -> Option<Address> {
    let family = u16::from_ne_bytes([bytes[0], bytes[1]]);
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    let mut addr = [0u8; 16];
    match family as u32 {
        AF_INET => {
            let mut i = 0;
            while i < 4 {
                addr[i] = bytes[4 + i];
                i += 1;
            }
        }
        AF_INET6 => {
            let mut i = 0;
            while i < 16 {
                addr[i] = bytes[8 + i];
                i += 1;
            }
        }
        _ => return None,
    }
    Some(Address { family, port, addr })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parse_sockaddr_gives_back_what_was_written(v6: bool, port: u16, addr: [u8; 16], rest: [u8; 28]) {
            let mut bytes = rest;
            let family = if v6 { AF_INET6 } else { AF_INET } as u16;
            bytes[..2].copy_from_slice(&family.to_ne_bytes());
            bytes[2..4].copy_from_slice(&port.to_be_bytes());
            let (at, len) = if v6 { (8, 16) } else { (4, 4) };
            bytes[at..at + len].copy_from_slice(&addr[..len]);
            let got = parse_sockaddr(&bytes).unwrap();
            prop_assert_eq!((got.family, got.port), (family, port));
            prop_assert_eq!(&got.addr[..len], &addr[..len]);
            prop_assert!(got.addr[len..].iter().all(|b| *b == 0));
        }

        #[test]
        fn parse_sockaddr_refuses_other_families(bytes: [u8; 28]) {
            let family = u32::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
            prop_assume!(family != AF_INET && family != AF_INET6);
            prop_assert!(parse_sockaddr(&bytes).is_none());
        }
    }

    #[test]
    fn tcp_udp_unix_and_netlink_are_usual() {
        assert!(!is_uncommon(AF_INET, SOCK_STREAM | 0o2_000_000, 0));
        assert!(!is_uncommon(AF_INET6, SOCK_DGRAM, 17));
        assert!(!is_uncommon(AF_UNIX, SOCK_DGRAM, 0));
        assert!(!is_uncommon(AF_NETLINK, SOCK_RAW, 0));
    }

    #[test]
    fn raw_packet_vsock_sctp_and_alg_are_uncommon() {
        assert!(is_uncommon(AF_INET, SOCK_RAW | 0o4000, 1));
        assert!(is_uncommon(17, SOCK_RAW, 0x300));
        assert!(is_uncommon(40, SOCK_STREAM, 0));
        assert!(is_uncommon(AF_INET, SOCK_STREAM, IPPROTO_SCTP));
        assert!(is_uncommon(38, 5, 0));
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

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

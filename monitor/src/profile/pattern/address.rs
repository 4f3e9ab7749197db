//! Addresses: protocols and ports, networks, and the partition of the address space into scopes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::profile::doc::Scope;

/// `IPPROTO_TCP`, `IPPROTO_MPTCP`: one and the same to a rule.
const TCP: [u16; 2] = [6, 262];
/// `IPPROTO_UDP`, `IPPROTO_UDPLITE`.
const UDP: [u16; 2] = [17, 136];

/// A protocol with a range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    protocols: Option<[u16; 2]>,
    from: u16,
    to: u16,
}

impl Port {
    /// Whether protocol and port are within.
    pub(crate) fn matches(self, protocol: u16, port: u16) -> bool {
        self.protocols.is_none_or(|p| p.contains(&protocol)) && (self.from..=self.to).contains(&port)
    }
}

/// Parses `tcp:443`, `udp:53`, `any:53`, `tcp:8000-8100`, `tcp`.
pub(crate) fn parse_ports<'a>(texts: impl IntoIterator<Item = &'a String>) -> Result<Box<[Port]>, String> {
    texts.into_iter().map(|t| parse_port(t)).collect()
}

fn parse_port(text: &str) -> Result<Port, String> {
    let wrong = || {
        format!(
            "`{text}` is not a protocol and port: write `tcp:443`, `udp:53`, `any:53`, `tcp:8000-8100` or `tcp`"
        )
    };
    if text.starts_with('$') {
        return Err(format!(
            "`{text}`: a fact names an address, with its port if it has one: use it in `address`"
        ));
    }
    let (protocol, ports) = text.split_once(':').map_or((text, None), |(p, r)| (p, Some(r)));
    let protocols = match protocol {
        "tcp" => Some(TCP),
        "udp" => Some(UDP),
        "any" => None,
        _ => return Err(wrong()),
    };
    let (from, to) = match ports {
        None => (0, u16::MAX),
        Some(range) => {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            (from.parse().map_err(|_| wrong())?, to.parse().map_err(|_| wrong())?)
        }
    };
    if to < from {
        return Err(format!("`{text}`: the range of ports is empty"));
    }
    Ok(Port { protocols, from, to })
}

/// Networks and single addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Networks(Box<[IpNet]>);

impl Networks {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Whether one of them holds the (canonical) address.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }
}

/// Parses `10.0.0.0/8`, `169.254.169.254`, `fd00::/8`.
pub(crate) fn parse_networks<'a>(texts: impl IntoIterator<Item = &'a String>) -> Result<Networks, String> {
    let parse = |text: &String| {
        let host = || text.parse::<IpAddr>().map(|a| IpNet::from(canonical(a)));
        text.parse::<IpNet>().or_else(|_| host()).map_err(|_| {
            format!("`{text}` is neither an address nor a network: write `10.0.0.0/8` or `169.254.169.254`")
        })
    };
    texts.into_iter().map(parse).collect::<Result<Vec<_>, _>>().map(|v| Networks(v.into()))
}

/// The IPv4 address inside an IPv4-mapped or NAT64 (64:ff9b::/96) IPv6 address, else the address itself: the same host
/// must not get another scope by another spelling.
pub(crate) fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return IpAddr::V4(v4);
    }
    match v6.octets() {
        [0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        _ => address,
    }
}

/// The scope of a canonical address; never [`Scope::Any`].
pub(crate) fn scope_of(address: IpAddr) -> Scope {
    match address {
        IpAddr::V4(v4) => scope_of_v4(v4),
        IpAddr::V6(v6) => scope_of_v6(v6),
    }
}

fn scope_of_v4(a: Ipv4Addr) -> Scope {
    let [first, second, third, _] = a.octets();
    match (first, second) {
        (127, _) => Scope::Loopback,
        // net/ipv4/route.c ip_route_output_key_hash_rcu: a destination of 0.0.0.0 becomes 127.0.0.1.
        _ if a.is_unspecified() => Scope::Loopback,
        (169, 254) => Scope::LinkLocal,
        (224, 0) if third == 0 => Scope::LinkLocal,
        (10, _) | (172, 16..=31) | (192, 168) | (100, 64..=127) => Scope::Private,
        _ => Scope::Public,
    }
}

fn scope_of_v6(a: Ipv6Addr) -> Scope {
    let first = a.segments()[0];
    if a.is_loopback() || a.is_unspecified() {
        return Scope::Loopback;
    }
    match first {
        _ if first & 0xffc0 == 0xfe80 => Scope::LinkLocal,
        _ if first & 0xff0f == 0xff02 => Scope::LinkLocal,
        _ if first & 0xfe00 == 0xfc00 => Scope::Private,
        // Site-local, deprecated by RFC 3879 but still routed inside sites.
        _ if first & 0xffc0 == 0xfec0 => Scope::Private,
        _ => Scope::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        scope_of(canonical(text.parse().unwrap()))
    }

    #[test]
    fn addresses_fall_into_their_scopes() {
        for (address, expected) in [
            ("127.0.0.53", Scope::Loopback),
            ("::1", Scope::Loopback),
            ("0.0.0.0", Scope::Loopback),
            ("::ffff:127.0.0.1", Scope::Loopback),
            ("169.254.1.1", Scope::LinkLocal),
            ("fe80::1", Scope::LinkLocal),
            ("10.1.2.3", Scope::Private),
            ("172.31.0.1", Scope::Private),
            ("172.32.0.1", Scope::Public),
            ("100.100.100.200", Scope::Private),
            ("fd00:ec2::254", Scope::Private),
            ("64:ff9b::a9fe:a9fe", Scope::LinkLocal),
            ("8.8.8.8", Scope::Public),
            ("2606:4700::1", Scope::Public),
        ] {
            assert_eq!(scope(address), expected, "{address}");
        }
    }

    #[test]
    fn ports_take_a_protocol_a_range_and_mptcp_as_tcp() {
        let one = |text: &str| parse_port(text).unwrap();
        assert!(one("tcp:443").matches(262, 443));
        assert!(!one("tcp:443").matches(17, 443));
        assert!(one("any:53").matches(17, 53));
        assert!(one("tcp:8000-8100").matches(6, 8050));
        assert!(one("udp").matches(17, 1));
        for bad in ["443", "tcp:", "tcp:99999", "tcp:9-1", "icmp:1", "$db"] {
            assert!(parse_port(bad).is_err(), "{bad}");
        }
    }
}

//! Connects: addresses against scopes, networks and endpoints; and uncommon sockets.

use std::net::IpAddr;

use super::held::Held;
use crate::event::{Connect, Socket};
use crate::profile::doc::Scope;
use crate::profile::facts::Facts;
use crate::profile::model::{AddressMeaning, ConnectRule, Family, Match};
use crate::profile::pattern::scope_of;

/// A connect with what its address means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) address: IpAddr,
    pub(super) meaning: AddressMeaning,
}

impl Place {
    /// Whether one of the scopes contains the address; none contains an address of the endpoint catalogue.
    fn within(&self, scopes: &[Scope]) -> bool {
        !self.meaning.listed && (scopes.contains(&Scope::Any) || scopes.contains(&scope_of(self.address)))
    }
}

/// Everything an allow item asks of an address.
pub(super) fn allowed(rule: &ConnectRule, place: &Place, connect: &Connect, facts: &Facts) -> bool {
    if !rule.to.is_empty() && !rule.to.iter().any(|p| p.matches(connect.protocol, connect.port)) {
        return false;
    }
    if !rule.endpoint.is_empty() && !place.meaning.endpoint.is_some_and(|e| rule.endpoint.contains(&e)) {
        return false;
    }
    let here = || rule.address.contains(place.address, connect.port, facts);
    if !rule.address.is_empty() && (place.meaning.listed || !here()) {
        return false;
    }
    rule.scope.is_empty() || !rule.endpoint.is_empty() || place.within(&rule.scope)
}

/// What a detection asks of a connect.
pub(super) fn connect_held(m: &Match, place: &Place, connect: &Connect, facts: &Facts, held: &mut Held) {
    let _ = (m.to.is_empty() || held.and(m.to.iter().any(|p| p.matches(connect.protocol, connect.port))))
        && (m.scope.is_empty() || held.and(place.within(&m.scope)))
        && (m.address.is_empty() || held.and(m.address.contains(place.address, connect.port, facts)))
        && (m.endpoint.is_empty()
            || held.and(place.meaning.endpoint.is_some_and(|e| m.endpoint.contains(&e))));
}

/// Whether a socket is of one of these kinds.
pub(super) fn family(wanted: &[Family], socket: &Socket) -> bool {
    use monitor_common::socket::{AF_INET, AF_INET6, SOCK_RAW, SOCK_TYPE_MASK};
    let ip = matches!(socket.family, AF_INET | AF_INET6);
    wanted.iter().any(|w| match *w {
        Family::Number(number) => socket.family == number,
        Family::RawIp => ip && socket.sock_type & SOCK_TYPE_MASK == SOCK_RAW,
        Family::IpProtocol(protocol) => ip && socket.protocol == protocol,
    })
}

//! What rules compile to.

mod expect;
mod posture;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::profile::actor::{RoleId, RoleKind};
use crate::profile::attribution::Attribution;
use crate::profile::doc::{AccessName, HomeName, MountName, On, OnlyBy, ProcFile, ProcOf, Scope, StdioName};
use crate::profile::facts::Facts;
use crate::profile::finding::{Endpoint, Identity, Refs, Respond, RuleRef, Tier};
use crate::profile::pattern::{ArgvAny, ArgvPattern, GlobIndex, Globs, Networks, Port, Programs, Scripts};
use monitor_common::filter::access;

pub(in crate::profile) use posture::{Asks, AsksMount, Posture};

pub(in crate::profile) use expect::{
    Common, ConnectRule, Exception, ExecRule, Expect, FileRule, IdentityRule, SectionSpec, SocketRule,
    UnixRule,
};

/// Index of a detection.
pub(in crate::profile) type DetectionIdx = u16;
/// Index of an identity.
pub(in crate::profile) type IdentityIdx = u16;
/// Index of an endpoint.
pub(in crate::profile) type EndpointIdx = u16;

/// The identity catalogue.
#[derive(Debug, Default)]
pub(in crate::profile) struct IdentityTable {
    pub(in crate::profile) all: Vec<Arc<Identity>>,
    pub(in crate::profile) by_id: HashMap<Arc<str>, IdentityIdx>,
    pub(in crate::profile) paths: GlobIndex<IdentityIdx>,
    pub(in crate::profile) sockets: GlobIndex<IdentityIdx>,
    /// By identity: paths that are not meant.
    pub(in crate::profile) except: Vec<Globs>,
    /// By identity: the names of environment variables that carry it.
    pub(in crate::profile) variables: Vec<Globs>,
}

impl IdentityTable {
    /// The identity that a file path belongs to.
    pub(in crate::profile) fn of_path(&self, path: &str) -> Option<IdentityIdx> {
        self.paths.first(path, |i| !self.except[usize::from(*i)].matches(path)).copied()
    }
    /// The identity that a socket belongs to (abstract names with a leading `@`).
    pub(in crate::profile) fn of_socket(&self, path: &str) -> Option<IdentityIdx> {
        self.sockets.first(path, |_| true).copied()
    }
    /// Whether a variable of this name carries an identity.
    pub(in crate::profile) fn is_carried_by(&self, at: IdentityIdx, variable: &str) -> bool {
        self.variables[usize::from(at)].matches(variable)
    }
    pub(in crate::profile) fn get(&self, at: IdentityIdx) -> &Arc<Identity> {
        &self.all[usize::from(at)]
    }
}

/// The endpoint catalogue.
#[derive(Debug, Default)]
pub(in crate::profile) struct EndpointTable {
    pub(in crate::profile) all: Vec<Arc<Endpoint>>,
    pub(in crate::profile) by_id: HashMap<Arc<str>, EndpointIdx>,
    pub(in crate::profile) rules: Vec<EndpointRule>,
}

/// How an endpoint is recognised.
#[derive(Debug)]
pub(in crate::profile) struct EndpointRule {
    pub(in crate::profile) networks: Networks,
    pub(in crate::profile) ports: Box<[Port]>,
}

/// What the catalogue says of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::profile) struct AddressMeaning {
    /// Some endpoint lists the address (with whatever port): no scope contains it.
    pub(in crate::profile) listed: bool,
    /// The endpoint that address, protocol and port make; one with addresses goes before one known by port only.
    pub(in crate::profile) endpoint: Option<EndpointIdx>,
}

impl EndpointTable {
    /// What a canonical address with protocol and port means.
    pub(in crate::profile) fn meaning(
        &self,
        address: std::net::IpAddr,
        protocol: u16,
        port: u16,
    ) -> AddressMeaning {
        let mut out = AddressMeaning::default();
        let mut by_port = None;
        for (at, rule) in (0..).zip(&self.rules) {
            let fits = || rule.ports.is_empty() || rule.ports.iter().any(|p| p.matches(protocol, port));
            if rule.networks.is_empty() {
                if by_port.is_none() && fits() {
                    by_port = Some(at);
                }
            } else if rule.networks.contains(address) {
                out.listed = true;
                if out.endpoint.is_none() && fits() {
                    out.endpoint = Some(at);
                }
            }
        }
        out.endpoint = out.endpoint.or(by_port);
        out
    }
    pub(in crate::profile) fn get(&self, at: EndpointIdx) -> &Arc<Endpoint> {
        &self.all[usize::from(at)]
    }
}

/// Access bits of an [`AccessName`].
pub(in crate::profile) const fn access_bits(name: AccessName) -> u32 {
    match name {
        AccessName::Read => access::READ,
        AccessName::Write => access::WRITE,
        AccessName::ReadWrite => access::READ | access::WRITE,
        AccessName::Any => access::ANY,
    }
}

/// A compiled detection.
#[derive(Debug)]
pub(in crate::profile) struct Detection {
    pub(in crate::profile) id: Arc<str>,
    pub(in crate::profile) title: Arc<str>,
    pub(in crate::profile) on: On,
    pub(in crate::profile) tier: Tier,
    pub(in crate::profile) roles: RoleWords,
    /// The tier that the incident so far must have reached.
    pub(in crate::profile) after: Option<Tier>,
    pub(in crate::profile) matches: Match,
    /// The paths it asks for, as they are written.
    pub(in crate::profile) paths: Vec<String>,
    pub(in crate::profile) refs: Refs,
    pub(in crate::profile) respond: Respond,
    pub(in crate::profile) rule: RuleRef,
}

/// The roles a detection names.
#[derive(Debug, Default)]
pub(in crate::profile) struct RoleWords {
    /// None means any role.
    pub(in crate::profile) words: Box<[Arc<str>]>,
}

impl RoleWords {
    /// Whether a role of this name and kind is meant.
    pub(in crate::profile) fn covers(&self, name: &str, kind: RoleKind) -> bool {
        self.words.is_empty()
            || self.words.iter().any(|word| match &**word {
                "any" => true,
                "engine_side" => kind.engine_side(),
                "author_side" => kind.author_side(),
                "author" => kind == RoleKind::Author,
                word => word == name,
            })
    }
    /// Whether the engine's own processes are meant: what `generic` holds against `entry` one tier down. What only
    /// concerns its runners and helpers says nothing of a worker whose engine is not known.
    pub(in crate::profile) fn names_engine_roles(&self) -> bool {
        self.words.iter().any(|w| matches!(&**w, "engine" | "engine_side"))
    }
}

/// What a detection asks of its event.
#[derive(Debug, Default)]
pub(in crate::profile) struct Match {
    pub(in crate::profile) condition: Option<Arc<str>>,
    pub(in crate::profile) program: Programs,
    pub(in crate::profile) not_program: Programs,
    pub(in crate::profile) argv: Option<ArgvPattern>,
    pub(in crate::profile) argv_any: ArgvAny,
    pub(in crate::profile) stdio: Box<[StdioName]>,
    pub(in crate::profile) home: Box<[HomeName]>,
    pub(in crate::profile) gains_privilege: Option<bool>,
    pub(in crate::profile) loader_env: Option<bool>,
    pub(in crate::profile) path: Globs,
    pub(in crate::profile) not_path: Globs,
    pub(in crate::profile) access: Option<u32>,
    pub(in crate::profile) mount: Box<[MountName]>,
    pub(in crate::profile) proc: Box<[ProcFile]>,
    pub(in crate::profile) of: Box<[ProcOf]>,
    pub(in crate::profile) identity: Box<[IdentityIdx]>,
    pub(in crate::profile) to: Box<[Port]>,
    pub(in crate::profile) scope: Box<[Scope]>,
    pub(in crate::profile) address: Addresses,
    pub(in crate::profile) endpoint: Box<[EndpointIdx]>,
    pub(in crate::profile) family: Box<[Family]>,
    pub(in crate::profile) to_worker: Option<bool>,
}

/// Networks, and facts of the site that name places.
#[derive(Debug, Default)]
pub(in crate::profile) struct Addresses {
    pub(in crate::profile) networks: Networks,
    pub(in crate::profile) facts: Box<[Arc<str>]>,
}

impl Addresses {
    /// Nothing was asked for.
    pub(in crate::profile) fn is_empty(&self) -> bool {
        self.networks.is_empty() && self.facts.is_empty()
    }
    /// Whether one of them holds the (canonical) address and port.
    pub(in crate::profile) fn contains(&self, address: std::net::IpAddr, port: u16, facts: &Facts) -> bool {
        self.networks.contains(address) || self.facts.iter().any(|name| facts.is_at(name, address, port))
    }
}

/// A kind of uncommon socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::profile) enum Family {
    /// `AF_*`.
    Number(u32),
    /// An IPv4 or IPv6 socket of type `SOCK_RAW`.
    RawIp,
    /// An IPv4 or IPv6 socket of this protocol.
    IpProtocol(u32),
}

/// A compiled profile.
#[derive(Debug)]
pub(in crate::profile) struct Profile {
    pub(in crate::profile) name: Arc<str>,
    pub(in crate::profile) title: Arc<str>,
    pub(in crate::profile) engine: Arc<str>,
    pub(in crate::profile) select: Vec<Select>,
    /// Facts a site may state, by name, each with what it means.
    pub(in crate::profile) facts: BTreeMap<Arc<str>, String>,
    /// Health commands.
    pub(in crate::profile) probes: Vec<ArgvPattern>,
    /// What enters the sealed worker from outside and is no probe.
    pub(in crate::profile) entered: RoleId,
    /// Built-in roles first, in the order of their ids.
    pub(in crate::profile) roles: Vec<RoleSpec>,
    /// Programs that `trust: pinned` items and roles name.
    pub(in crate::profile) pinned: Vec<Programs>,
    pub(in crate::profile) attribution: Vec<Attribution>,
    pub(in crate::profile) sources: Vec<String>,
    pub(in crate::profile) cannot_see: Vec<String>,
    pub(in crate::profile) false_positives: Vec<String>,
    pub(in crate::profile) rule: RuleRef,
}

impl Profile {
    /// The role with this id; an id of another set falls back to `stray`, of which nothing is expected.
    pub(in crate::profile) fn role(&self, role: RoleId) -> &RoleSpec {
        self.roles.get(usize::from(role.0)).unwrap_or_else(|| &self.roles[usize::from(RoleId::STRAY.0)])
    }
}

/// One item of `select`.
#[derive(Debug)]
pub(in crate::profile) struct Select {
    pub(in crate::profile) cgroup: Option<Globs>,
    pub(in crate::profile) unit: Option<Globs>,
    pub(in crate::profile) namespace: Option<Globs>,
    pub(in crate::profile) owner: Option<Globs>,
    pub(in crate::profile) container: Option<Globs>,
    pub(in crate::profile) image: Option<Globs>,
    pub(in crate::profile) pod_labels: Vec<(String, Globs)>,
    pub(in crate::profile) process: Option<ImagePattern>,
    pub(in crate::profile) rule: RuleRef,
}

/// What an image must be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::profile) struct ImagePattern {
    pub(in crate::profile) program: Programs,
    pub(in crate::profile) script: Scripts,
    pub(in crate::profile) argv: Option<ArgvPattern>,
    /// No argument may match one of these.
    pub(in crate::profile) argv_none: Globs,
    /// The executable may be one that the worker itself could have written, as long as it stays the same.
    pub(in crate::profile) pinned: bool,
    /// The same in words.
    pub(in crate::profile) words: String,
}

impl ImagePattern {
    /// Nothing is asked that would tell one program from another.
    pub(in crate::profile) fn is_empty(&self) -> bool {
        self.program.is_empty() && self.script.is_empty() && self.argv.is_none()
    }
}

impl RoleSpec {
    /// Whether an exec gives it only by an allow item that says `becomes`.
    pub(in crate::profile) fn only_by_becomes(&self) -> bool {
        self.only_by.contains(&OnlyBy::Becomes)
    }
    /// Whether an exec can give it by what the program looks like.
    pub(in crate::profile) fn by_looks(&self) -> bool {
        self.only_by.is_empty()
    }
}

/// A compiled role.
#[derive(Debug)]
pub(in crate::profile) struct RoleSpec {
    pub(in crate::profile) name: Arc<str>,
    pub(in crate::profile) kind: RoleKind,
    pub(in crate::profile) parents: Vec<RoleId>,
    pub(in crate::profile) image: ImagePattern,
    /// The only ways it is given; none: by what the program looks like, too.
    pub(in crate::profile) only_by: Box<[OnlyBy]>,
    pub(in crate::profile) below_author: bool,
    pub(in crate::profile) forked: Option<RoleId>,
    /// What its memory holds.
    pub(in crate::profile) holds: Box<[IdentityIdx]>,
    pub(in crate::profile) expect: Expect,
    /// By signal ([`on_index`]): detections that apply to this role, with their tier for it.
    pub(in crate::profile) detections: [Vec<(DetectionIdx, Tier)>; ON_COUNT],
    pub(in crate::profile) rule: RuleRef,
    pub(in crate::profile) why: Option<String>,
}

/// Number of signals detections look at.
pub(in crate::profile) const ON_COUNT: usize = 6;

/// Index of a signal.
pub(in crate::profile) const fn on_index(on: On) -> usize {
    match on {
        On::Exec => 0,
        On::Open => 1,
        On::Connect => 2,
        On::Unix => 3,
        On::Socket => 4,
        On::CgroupMove => 5,
    }
}

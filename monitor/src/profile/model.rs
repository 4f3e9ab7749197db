//! What rules compile to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::actor::{RoleId, RoleKind};
use super::attribution::Attribution;
use super::doc::{AccessName, HomeName, MountName, On, OnlyBy, ProcFile, ProcOf, Scope, StdioName};
use super::facts::Facts;
use super::finding::{Endpoint, Identity, Refs, Respond, RuleRef, Tier};
use super::pattern::{ArgvPattern, GlobIndex, Globs, Networks, Port, Programs};
use monitor_common::filter::access;

/// Index of a detection.
pub(super) type DetectionIdx = u16;
/// Index of an identity.
pub(super) type IdentityIdx = u16;
/// Index of an endpoint.
pub(super) type EndpointIdx = u16;

/// The identity catalogue.
#[derive(Debug, Default)]
pub(super) struct IdentityTable {
    pub(super) all: Vec<Arc<Identity>>,
    pub(super) by_id: HashMap<Arc<str>, IdentityIdx>,
    pub(super) paths: GlobIndex<IdentityIdx>,
    pub(super) sockets: GlobIndex<IdentityIdx>,
    /// By identity: paths that are not meant.
    pub(super) except: Vec<Globs>,
}

impl IdentityTable {
    /// The identity that a file path belongs to.
    pub(super) fn of_path(&self, path: &str) -> Option<IdentityIdx> {
        self.paths.first(path, |i| !self.except[usize::from(*i)].matches(path)).copied()
    }
    /// The identity that a socket belongs to (abstract names with a leading `@`).
    pub(super) fn of_socket(&self, path: &str) -> Option<IdentityIdx> {
        self.sockets.first(path, |_| true).copied()
    }
    pub(super) fn get(&self, at: IdentityIdx) -> &Arc<Identity> {
        &self.all[usize::from(at)]
    }
}

/// The endpoint catalogue.
#[derive(Debug, Default)]
pub(super) struct EndpointTable {
    pub(super) all: Vec<Arc<Endpoint>>,
    pub(super) by_id: HashMap<Arc<str>, EndpointIdx>,
    pub(super) rules: Vec<EndpointRule>,
}

/// How an endpoint is recognised.
#[derive(Debug)]
pub(super) struct EndpointRule {
    pub(super) networks: Networks,
    pub(super) ports: Box<[Port]>,
}

/// What the catalogue says of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AddressMeaning {
    /// Some endpoint lists the address (with whatever port): no scope contains it.
    pub(super) listed: bool,
    /// The endpoint that address, protocol and port make; one with addresses goes before one known by port only.
    pub(super) endpoint: Option<EndpointIdx>,
}

impl EndpointTable {
    /// What a canonical address with protocol and port means.
    pub(super) fn meaning(&self, address: std::net::IpAddr, protocol: u16, port: u16) -> AddressMeaning {
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
    pub(super) fn get(&self, at: EndpointIdx) -> &Arc<Endpoint> {
        &self.all[usize::from(at)]
    }
}

/// Access bits of an [`AccessName`].
pub(super) const fn access_bits(name: AccessName) -> u32 {
    match name {
        AccessName::Read => access::READ,
        AccessName::Write => access::WRITE,
        AccessName::ReadWrite => access::READ | access::WRITE,
        AccessName::Any => access::ANY,
    }
}

/// A compiled detection.
#[derive(Debug)]
pub(super) struct Detection {
    pub(super) id: Arc<str>,
    pub(super) title: Arc<str>,
    pub(super) on: On,
    pub(super) tier: Tier,
    pub(super) roles: RoleWords,
    /// The tier that the incident so far must have reached.
    pub(super) after: Option<Tier>,
    pub(super) matches: Match,
    pub(super) refs: Refs,
    pub(super) respond: Respond,
    pub(super) rule: RuleRef,
}

/// The roles a detection names.
#[derive(Debug, Default)]
pub(super) struct RoleWords {
    /// None means any role.
    pub(super) words: Box<[Arc<str>]>,
}

impl RoleWords {
    /// Whether a role of this name and kind is meant.
    pub(super) fn covers(&self, name: &str, kind: RoleKind) -> bool {
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
    pub(super) fn names_engine_roles(&self) -> bool {
        self.words.iter().any(|w| matches!(&**w, "engine" | "engine_side"))
    }
}

/// What a detection asks of its event.
#[derive(Debug, Default)]
pub(super) struct Match {
    pub(super) condition: Option<Arc<str>>,
    pub(super) program: Programs,
    pub(super) not_program: Programs,
    pub(super) argv: Option<ArgvPattern>,
    pub(super) argv_any: Globs,
    pub(super) stdio: Box<[StdioName]>,
    pub(super) home: Box<[HomeName]>,
    pub(super) gains_privilege: Option<bool>,
    pub(super) loader_env: Option<bool>,
    pub(super) path: Globs,
    pub(super) not_path: Globs,
    pub(super) access: Option<u32>,
    pub(super) mount: Box<[MountName]>,
    pub(super) proc: Box<[ProcFile]>,
    pub(super) of: Box<[ProcOf]>,
    pub(super) identity: Box<[IdentityIdx]>,
    pub(super) to: Box<[Port]>,
    pub(super) scope: Box<[Scope]>,
    pub(super) address: Addresses,
    pub(super) endpoint: Box<[EndpointIdx]>,
    pub(super) family: Box<[Family]>,
    pub(super) to_worker: Option<bool>,
}

/// Networks, and facts of the site that name places.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    pub(super) networks: Networks,
    pub(super) facts: Box<[Arc<str>]>,
}

impl Addresses {
    /// Nothing was asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.networks.is_empty() && self.facts.is_empty()
    }
    /// Whether one of them holds the (canonical) address and port.
    pub(super) fn contains(&self, address: std::net::IpAddr, port: u16, facts: &Facts) -> bool {
        self.networks.contains(address) || self.facts.iter().any(|name| facts.is_at(name, address, port))
    }
}

/// A kind of uncommon socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// `AF_*`.
    Number(u32),
    /// An IPv4 or IPv6 socket of type `SOCK_RAW`.
    RawIp,
    /// An IPv4 or IPv6 socket of this protocol.
    IpProtocol(u32),
}

/// A compiled profile.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) name: Arc<str>,
    pub(super) title: Arc<str>,
    pub(super) engine: Arc<str>,
    pub(super) select: Vec<Select>,
    /// Facts a site may state, by name, each with what it means.
    pub(super) facts: BTreeMap<Arc<str>, String>,
    /// Health commands.
    pub(super) probes: Vec<ArgvPattern>,
    /// What enters the sealed worker from outside and is no probe.
    pub(super) entered: RoleId,
    /// Built-in roles first, in the order of their ids.
    pub(super) roles: Vec<RoleSpec>,
    /// Programs that `trust: pinned` items and roles name.
    pub(super) pinned: Vec<Programs>,
    pub(super) attribution: Vec<Attribution>,
    pub(super) sources: Vec<String>,
    pub(super) cannot_see: Vec<String>,
    pub(super) false_positives: Vec<String>,
    pub(super) rule: RuleRef,
}

impl Profile {
    /// The role with this id; an id of another set falls back to `stray`, of which nothing is expected.
    pub(super) fn role(&self, role: RoleId) -> &RoleSpec {
        self.roles.get(usize::from(role.0)).unwrap_or_else(|| &self.roles[usize::from(RoleId::STRAY.0)])
    }
}

/// One item of `select`.
#[derive(Debug)]
pub(super) struct Select {
    pub(super) cgroup: Option<Globs>,
    pub(super) unit: Option<Globs>,
    pub(super) namespace: Option<Globs>,
    pub(super) owner: Option<Globs>,
    pub(super) container: Option<Globs>,
    pub(super) image: Option<Globs>,
    pub(super) pod_labels: Vec<(String, Globs)>,
    pub(super) process: Option<ImagePattern>,
    pub(super) rule: RuleRef,
}

/// What an image must be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ImagePattern {
    pub(super) program: Programs,
    pub(super) script: Globs,
    pub(super) argv: Option<ArgvPattern>,
    /// No argument may match one of these.
    pub(super) argv_none: Globs,
    /// The executable may be one that the worker itself could have written, as long as it stays the same.
    pub(super) pinned: bool,
    /// The same in words.
    pub(super) words: String,
}

impl ImagePattern {
    /// Nothing is asked that would tell one program from another.
    pub(super) fn is_empty(&self) -> bool {
        self.program.is_empty() && self.script.is_empty() && self.argv.is_none()
    }
}

impl RoleSpec {
    /// Whether an exec gives it only by an allow item that says `becomes`.
    pub(super) fn only_by_becomes(&self) -> bool {
        self.only_by.contains(&OnlyBy::Becomes)
    }
    /// Whether an exec can give it by what the program looks like.
    pub(super) fn by_looks(&self) -> bool {
        self.only_by.is_empty()
    }
}

/// A compiled role.
#[derive(Debug)]
pub(super) struct RoleSpec {
    pub(super) name: Arc<str>,
    pub(super) kind: RoleKind,
    pub(super) parents: Vec<RoleId>,
    pub(super) image: ImagePattern,
    /// The only ways it is given; none: by what the program looks like, too.
    pub(super) only_by: Box<[OnlyBy]>,
    pub(super) below_author: bool,
    pub(super) forked: Option<RoleId>,
    pub(super) expect: Expect,
    /// By signal ([`on_index`]): detections that apply to this role, with their tier for it.
    pub(super) detections: [Vec<(DetectionIdx, Tier)>; ON_COUNT],
    pub(super) rule: RuleRef,
    pub(super) why: Option<String>,
}

/// Number of signals detections look at.
pub(super) const ON_COUNT: usize = 6;

/// Index of a signal.
pub(super) const fn on_index(on: On) -> usize {
    match on {
        On::Exec => 0,
        On::Open => 1,
        On::Connect => 2,
        On::Unix => 3,
        On::Socket => 4,
        On::CgroupMove => 5,
    }
}

/// What is expected of a role.
#[derive(Debug)]
pub(super) struct Expect {
    pub(super) exec: SectionSpec<ExecRule>,
    pub(super) identities: SectionSpec<IdentityRule>,
    pub(super) connect: SectionSpec<ConnectRule>,
    pub(super) unix: SectionSpec<UnixRule>,
    pub(super) files: SectionSpec<FileRule>,
    pub(super) socket: SectionSpec<SocketRule>,
}

/// What is allowed for one signal.
#[derive(Debug)]
pub(super) struct SectionSpec<R> {
    pub(super) rules: Vec<R>,
    /// What exceptions add, with their numbers.
    pub(super) excepted: Vec<(u16, R)>,
    /// What everything else is; `None`: nothing.
    pub(super) otherwise: Option<Tier>,
    /// Where it is said.
    pub(super) rule: RuleRef,
    /// The same in words, for findings.
    pub(super) words: Arc<str>,
}

/// What every allow item may say.
#[derive(Debug, Default)]
pub(super) struct Common {
    pub(super) within: Option<u64>,
    /// A fact that has to hold.
    pub(super) condition: Option<Arc<str>>,
    pub(super) program: Programs,
    /// The program need not be of the image.
    pub(super) installed: bool,
    pub(super) permits: Box<[DetectionIdx]>,
    /// It also permits the built-in finding of a loader variable that the engine did not have itself.
    pub(super) permits_loader: bool,
    pub(super) words: String,
    pub(super) line: u32,
}

/// An exception, without its item, which stands at the role it is about.
#[derive(Debug)]
pub(super) struct Exception {
    pub(super) id: Arc<str>,
    pub(super) worker: Globs,
    /// `worker` is about the cgroup path.
    pub(super) by_cgroup: bool,
    pub(super) profile: Arc<str>,
    pub(super) role: Arc<str>,
    pub(super) words: String,
    pub(super) owner: String,
    pub(super) reason: String,
    /// Last day, as written.
    pub(super) expires: String,
    /// End of that day, seconds since the epoch.
    pub(super) until: u64,
    pub(super) rule: RuleRef,
}

/// An allowed exec.
#[derive(Debug)]
pub(super) struct ExecRule {
    pub(super) any: bool,
    pub(super) becomes: Option<RoleId>,
    pub(super) image: ImagePattern,
    pub(super) common: Common,
}

/// An allowed identity.
#[derive(Debug)]
pub(super) struct IdentityRule {
    pub(super) any: bool,
    pub(super) own: bool,
    pub(super) script: Globs,
    pub(super) ids: Box<[IdentityIdx]>,
    pub(super) access: u32,
    pub(super) common: Common,
}

/// An allowed connect.
#[derive(Debug)]
pub(super) struct ConnectRule {
    pub(super) to: Box<[Port]>,
    pub(super) scope: Box<[Scope]>,
    pub(super) address: Addresses,
    pub(super) endpoint: Box<[EndpointIdx]>,
    pub(super) common: Common,
}

/// An allowed unix socket.
#[derive(Debug)]
pub(super) struct UnixRule {
    pub(super) any: bool,
    pub(super) path: Globs,
    pub(super) common: Common,
}

/// An allowed watched file.
#[derive(Debug)]
pub(super) struct FileRule {
    pub(super) path: Globs,
    pub(super) proc: Box<[ProcFile]>,
    pub(super) of: Box<[ProcOf]>,
    pub(super) own: bool,
    pub(super) access: u32,
    pub(super) common: Common,
}

/// An allowed uncommon socket.
#[derive(Debug)]
pub(super) struct SocketRule {
    pub(super) family: Box<[Family]>,
    pub(super) common: Common,
}

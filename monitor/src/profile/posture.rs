//! Which postures a worker has.
//!
//! Every condition has three answers: it holds, it does not, or what it goes by is not known. A posture is found when all its
//! conditions hold; one that would be found if something were known is named as not known, and is not taken for absent.

use std::sync::Arc;

use super::actor::ProfileId;
use super::doc::NamespaceName;
use super::finding::{Refs, Respond, RuleRef};
use super::model::{Asks, AsksMount, IdentityIdx, Posture};
use super::ruleset::RuleSet;
use super::setup::{Mounted, Mounts, Setup, names};
use crate::alert::Severity;

/// Most mounts and variables named in one detail.
const NAMED_MAX: usize = 16;

/// What a worker is judged by.
#[derive(Clone, Copy, Debug)]
pub struct SetUp<'a> {
    /// What was read of it.
    pub setup: &'a Setup,
    /// The arguments of the processes on its engine's side, where they are known.
    pub arguments: &'a [&'a [Arc<str>]],
}

/// A posture that a worker has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostureFinding {
    /// Its id.
    pub id: Arc<str>,
    /// What is the matter.
    pub title: Arc<str>,
    /// How bad it is.
    pub severity: Severity,
    /// Who leaves the sandbox has the host.
    pub reaches_host: bool,
    /// What it was told by: mounts, capabilities, names of variables; may be empty.
    pub detail: String,
    /// What to do.
    pub respond: Respond,
    /// References.
    pub refs: Refs,
    /// Where it stands.
    pub rule: RuleRef,
}

/// What a worker's set-up comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostureVerdict {
    /// What it has, in the order of the rules.
    pub findings: Vec<PostureFinding>,
    /// Ids of those of which it is not known.
    pub unknown: Vec<Arc<str>>,
}

/// The answer to a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Holds(String),
    Not,
    Unknown,
}

impl Answer {
    fn of(known: Option<bool>) -> Self {
        match known {
            Some(true) => Self::Holds(String::new()),
            Some(false) => Self::Not,
            None => Self::Unknown,
        }
    }
}

impl RuleSet {
    /// The postures of a worker.
    pub fn postures(&self, profile: ProfileId, worker: &SetUp<'_>) -> PostureVerdict {
        let mut verdict = PostureVerdict::default();
        let name = self.profile_name(profile);
        let all = self.inner.postures.iter();
        for posture in all.filter(|p| p.profiles.is_empty() || p.profiles.iter().any(|p| &**p == name)) {
            match self.answer(&posture.asks, profile, worker) {
                Answer::Holds(detail) => verdict.findings.push(found(posture, detail)),
                Answer::Not => {}
                Answer::Unknown => verdict.unknown.push(posture.id.clone()),
            }
        }
        verdict
    }

    /// Whether the value of a variable of this name is asked for by a posture.
    pub fn asks_for_setting(&self, name: &str) -> bool {
        let all = self.inner.postures.iter().map(|posture| &posture.asks);
        all.into_iter().any(|asks| {
            asks.env.iter().any(|(known, _)| &**known == name)
                || asks.env_absent.iter().any(|known| &**known == name)
        })
    }

    /// How many postures there are.
    pub fn posture_count(&self) -> usize {
        self.inner.postures.len()
    }

    fn answer(&self, asks: &Asks, profile: ProfileId, worker: &SetUp<'_>) -> Answer {
        let setup = worker.setup;
        let mut details = Vec::new();
        let mut unknown = false;
        let mut take = |answer: Answer| {
            match answer {
                Answer::Holds(detail) if detail.is_empty() => {}
                Answer::Holds(detail) => details.push(detail),
                Answer::Not => return false,
                Answer::Unknown => unknown = true,
            }
            true
        };
        let same = |asked: Option<bool>, known: Option<bool>| match asked {
            None => Answer::Holds(String::new()),
            Some(asked) => Answer::of(known.map(|known| known == asked)),
        };
        let all = take(same(asks.container, setup.container))
            && take(shares(&asks.shares, setup))
            && take(capabilities(asks, setup))
            && take(uid(asks.uid, setup))
            && take(same(asks.seccomp, setup.seccomp))
            && take(same(asks.root_writable, root_writable(setup)))
            && take(block_devices(asks.block_devices, setup))
            && take(asks.mount.as_ref().map_or(Answer::Holds(String::new()), |asks| mount(asks, setup)))
            && take(same(Some(false), Some(self.expects(asks.unless_expected, profile))))
            && take(environment(asks, setup))
            && take(arguments(asks, worker.arguments));
        match (all, unknown) {
            (false, _) => Answer::Not,
            (true, true) => Answer::Unknown,
            (true, false) => Answer::Holds(details.join("; ")),
        }
    }

    /// Whether some role of a profile may read an identity. Of a worker whose engine is not known nothing is expected either
    /// way: there it is held against nobody.
    fn expects(&self, identity: Option<IdentityIdx>, profile: ProfileId) -> bool {
        let Some(identity) = identity else { return false };
        let roles = &self.spec(profile).roles;
        let mut rules = roles.iter().flat_map(|role| &role.expect.identities.rules);
        profile == ProfileId::GENERIC || rules.any(|rule| rule.any || rule.ids.contains(&identity))
    }
}

fn found(posture: &Posture, detail: String) -> PostureFinding {
    PostureFinding {
        id: posture.id.clone(),
        title: posture.title.clone(),
        severity: posture.severity,
        reaches_host: posture.reaches_host,
        detail,
        respond: posture.respond.clone(),
        refs: posture.refs.clone(),
        rule: posture.rule.clone(),
    }
}

/// One of them is enough; what is not known counts only if none is.
fn shares(asked: &[NamespaceName], setup: &Setup) -> Answer {
    if asked.is_empty() {
        return Answer::Holds(String::new());
    }
    let known = |kind: &NamespaceName| setup.shares.get(kind).copied();
    let shared: Vec<&str> =
        asked.iter().filter(|kind| known(kind) == Some(true)).map(|kind| kind.word()).collect();
    if !shared.is_empty() {
        return Answer::Holds(String::new());
    }
    if asked.iter().any(|kind| known(kind).is_none()) { Answer::Unknown } else { Answer::Not }
}

/// Capabilities count where they are the host's: those of a user namespace of its own reach nothing outside.
fn capabilities(asks: &Asks, setup: &Setup) -> Answer {
    if asks.capabilities == 0 && asks.privileged.is_none() {
        return Answer::Holds(String::new());
    }
    let is_hosts = setup.shares.get(&NamespaceName::User).copied();
    let usable = match (is_hosts, setup.capabilities) {
        (Some(false), _) => Some(0),
        (Some(true), Some(capabilities)) => Some(capabilities.usable()),
        _ => None,
    };
    let Some(usable) = usable else { return Answer::Unknown };
    if let Some(asked) = asks.privileged {
        // Nothing at all is no whole.
        let host = setup.capabilities.map_or(0, |capabilities| capabilities.host);
        let is_privileged = host != 0 && usable & host == host;
        if is_privileged != asked {
            return Answer::Not;
        }
    }
    if asks.capabilities == 0 {
        return Answer::Holds(String::new());
    }
    match usable & asks.capabilities {
        0 => Answer::Not,
        some => Answer::Holds(format!("capabilities {}", names(some).collect::<Vec<_>>().join(", "))),
    }
}

/// A user of a user namespace of its own is not the host's.
fn uid(asked: Option<u32>, setup: &Setup) -> Answer {
    let Some(asked) = asked else { return Answer::Holds(String::new()) };
    match (setup.shares.get(&NamespaceName::User), setup.uid) {
        (Some(false), _) => Answer::Not,
        (Some(true), Some(uid)) => Answer::of(Some(uid == asked)),
        _ => Answer::Unknown,
    }
}

fn root_writable(setup: &Setup) -> Option<bool> {
    // The last one covers those before it.
    Some(setup.mounts.as_ref()?.all.iter().rev().find(|mount| &*mount.point == "/")?.writable)
}

fn block_devices(asked: Option<bool>, setup: &Setup) -> Answer {
    let Some(asked) = asked else { return Answer::Holds(String::new()) };
    match &setup.block_devices {
        None => Answer::Unknown,
        Some(devices) if devices.is_empty() == asked => Answer::Not,
        Some(devices) => Answer::Holds(list("devices", devices.iter().map(|name| name.to_string()))),
    }
}

fn mount(asks: &AsksMount, setup: &Setup) -> Answer {
    let Some(Mounts { all, cut, host_unknown }) = &setup.mounts else { return Answer::Unknown };
    let fits = |mounted: &&Mounted| {
        let host = mounted.host.as_deref();
        (asks.host.is_empty() || host.is_some_and(|host| asks.host.matches(host)))
            && (asks.not_host.is_empty() || host.is_some_and(|host| !asks.not_host.matches(host)))
            && (asks.point.is_empty() || asks.point.matches(&mounted.point))
            && !asks.not_point.matches(&mounted.point)
            && (asks.kind.is_empty() || asks.kind.matches(&mounted.kind))
            && asks.writable.is_none_or(|asked| asked == mounted.writable)
    };
    let found: Vec<&Mounted> = all.iter().filter(fits).collect();
    if found.is_empty() {
        let may_be = *cut || (*host_unknown && asks.asks_for_host());
        return if may_be { Answer::Unknown } else { Answer::Not };
    }
    let words = found.iter().map(|mounted| {
        let host = mounted.host.as_deref().filter(|host| **host != *mounted.point);
        let host = host.map_or(String::new(), |host| format!(" (the host's {host})"));
        let how = if mounted.writable { "writable" } else { "read-only" };
        format!("{}{host}, {how}", mounted.point)
    });
    Answer::Holds(list("mounted", words))
}

fn environment(asks: &Asks, setup: &Setup) -> Answer {
    if asks.credentials.is_none() && asks.env.is_empty() && asks.env_absent.is_empty() {
        return Answer::Holds(String::new());
    }
    let Some(environment) = &setup.environment else { return Answer::Unknown };
    let mut details = Vec::new();
    let mut unknown = false;
    if let Some(asked) = asks.credentials {
        match (environment.credentials.is_empty(), environment.cut) {
            (true, true) => unknown = true,
            (none, _) if none == asked => return Answer::Not,
            (true, false) => {}
            (false, _) => {
                details.push(list("variables", environment.credentials.iter().map(|name| name.to_string())));
            }
        }
    }
    let value = |name: &str| environment.settings.iter().find(|(known, _)| &**known == name);
    for (name, globs) in &asks.env {
        match value(name) {
            Some((_, value)) if globs.matches(value) => details.push(format!("{name} is set so")),
            Some(_) => return Answer::Not,
            None if environment.cut => unknown = true,
            None => return Answer::Not,
        }
    }
    for name in &asks.env_absent {
        match (value(name).is_some(), environment.cut) {
            (true, _) => return Answer::Not,
            (false, true) => unknown = true,
            (false, false) => details.push(format!("{name} is not set")),
        }
    }
    if unknown { Answer::Unknown } else { Answer::Holds(details.join("; ")) }
}

fn arguments(asks: &Asks, all: &[&[Arc<str>]]) -> Answer {
    if asks.argv_any.is_empty() && asks.argv_none.is_empty() {
        return Answer::Holds(String::new());
    }
    if all.is_empty() {
        return Answer::Unknown;
    }
    let fits = |argv: &&[Arc<str>]| {
        (asks.argv_any.is_empty() || asks.argv_any.matches(argv)) && !asks.argv_none.matches(argv)
    };
    Answer::of(Some(all.iter().any(fits)))
}

fn list(what: &str, all: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = all.collect();
    let more = all.len().saturating_sub(NAMED_MAX);
    let shown = all[..all.len() - more].join(", ");
    if more > 0 { format!("{what} {shown} and {more} more") } else { format!("{what} {shown}") }
}

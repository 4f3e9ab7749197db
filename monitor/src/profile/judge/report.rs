//! From broken rules to one finding: the highest tier leads, the others are named.

use std::sync::Arc;

use super::held::Held;
use super::image::{loads_agent, shown_name};
use super::offer::allow_with;
use super::{Scene, built_in, open};
use crate::event::{Body, Outcome, Signal};
use crate::profile::actor::{ProcTarget, RoleKind};
use crate::profile::doc::ProcFile;
use crate::profile::finding::{
    Also, BINARY_CHANGED, Certainty, Endpoint, Finding, FindingKind, Identity, LOADER_INJECTION,
    OPERATOR_SESSION, ProcessRead, ReadOf, Refs, Respond, RuleRef, Tier,
};
use crate::profile::model::{Detection, DetectionIdx, SectionSpec};
use monitor_common::filter::access;

/// A rule that an event broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// This detection matched.
    Detection(DetectionIdx),
    /// An exec that is not expected.
    Exec,
    /// An identity that the role may not use.
    Identity,
    /// A watched open whose path could not be resolved.
    Unresolved,
    /// A connect that is not expected.
    Connect,
    /// A unix socket that is not expected.
    Unix,
    /// An uncommon socket that is not expected.
    Socket,
    /// Somebody entered from outside.
    OperatorSession,
    /// A pinned program is another file than before.
    BinaryChanged,
    /// A helper was given a loader variable.
    LoaderInjection,
}

impl Broken {
    const fn kind(self) -> FindingKind {
        match self {
            Self::Detection(_) | Self::BinaryChanged | Self::LoaderInjection => FindingKind::Detection,
            _ => FindingKind::Expectation,
        }
    }

    const fn expectation_id(self) -> &'static str {
        match self {
            Self::Detection(_) => "detection",
            Self::Exec => "unexpected-exec",
            Self::Identity => "unexpected-identity",
            Self::Unresolved => "unresolved-open",
            Self::Connect => "unexpected-connect",
            Self::Unix => "unexpected-unix",
            Self::Socket => "unexpected-socket",
            Self::OperatorSession => OPERATOR_SESSION,
            Self::BinaryChanged => BINARY_CHANGED,
            Self::LoaderInjection => LOADER_INJECTION,
        }
    }
}

/// What an event broke so far.
pub(super) struct Report<'s, 'a> {
    scene: &'s Scene<'a>,
    outcome: Outcome,
    broken: Vec<(Broken, Tier, Held)>,
}

impl<'s, 'a> Report<'s, 'a> {
    pub(super) fn new(scene: &'s Scene<'a>, outcome: Outcome) -> Self {
        Self { scene, outcome, broken: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.broken.is_empty()
    }

    /// Adds a broken rule: a denied action is one tier lower, and an operator's session pages for nothing below
    /// `identity`.
    pub(super) fn add(&mut self, what: Broken, tier: Tier, held: Held) {
        let mut tier = if self.outcome == Outcome::Denied { tier.lower() } else { tier };
        if self.scene.role.is_some_and(|r| r.kind == RoleKind::Operator) && tier < Tier::Identity {
            tier = Tier::Deviation;
        }
        self.broken.push((what, tier, held));
    }

    /// The finding, if anything was broken.
    pub(super) fn finish(mut self) -> Option<Finding> {
        // Stable: of the same tier and kind the rule that stands first leads.
        self.broken.sort_by_key(|(what, tier, _)| {
            (std::cmp::Reverse(*tier), what.kind() == FindingKind::Expectation)
        });
        let (lead, tier, held) = *self.broken.first()?;
        let scene = self.scene;
        let detection = self.detection(lead);
        let identity = scene.identity.map(|i| scene.rules.inner.identities.get(i).clone());
        let endpoint = scene
            .place
            .and_then(|p| p.meaning.endpoint)
            .map(|e| scene.rules.inner.endpoints.get(e).clone())
            .filter(|e| !e.benign);
        let broke_identity = self.broken.iter().any(|(what, ..)| *what == Broken::Identity);
        let read = match &scene.event.body {
            Body::Open(open) => open.access & access::READ != 0 || open.access == 0,
            _ => true,
        };
        let unknown: Vec<&'static str> = held.unknown().collect();
        let (expected, stated) = self.section();
        Some(Finding {
            id: self.id(lead),
            kind: lead.kind(),
            tier,
            signal: signal(scene),
            outcome: self.outcome,
            certainty: if unknown.is_empty() { Certainty::Known } else { Certainty::Unknown(unknown) },
            rule: self.rule(lead),
            title: detection.map_or_else(
                || title(scene, lead, identity.as_deref(), endpoint.as_deref()),
                |d| d.title.to_string(),
            ),
            expected: (lead.kind() == FindingKind::Expectation || stated).then_some(expected).flatten(),
            taken: broke_identity && read && self.outcome == Outcome::Ok,
            process_read: self.process_read().filter(|_| read && self.outcome == Outcome::Ok),
            leaked: Vec::new(),
            refs: self.refs(identity.as_deref(), endpoint.as_deref()),
            respond: self.respond(identity.as_deref(), endpoint.as_deref()),
            allow_with: (lead.kind() == FindingKind::Expectation
                && tier == Tier::Deviation
                && self.broken.len() == 1)
                .then(|| allow_with(scene, lead))
                .flatten(),
            also: self.broken[1..].iter().map(|(what, tier, _)| self.also(*what, *tier)).collect(),
            identity,
            endpoint,
        })
    }

    /// The process whose memory or environment was opened, if one of the broken rules is about that.
    fn process_read(&self) -> Option<ProcessRead> {
        let Body::Open(open) = &self.scene.event.body else { return None };
        let file = open::proc_file(open)?;
        let what = match file {
            ProcFile::Mem => ReadOf::Memory,
            ProcFile::Environ => ReadOf::Environment,
            _ => return None,
        };
        let about_it = |d: &Detection| d.matches.proc.contains(&file);
        self.broken.iter().any(|(what, ..)| self.detection(*what).is_some_and(about_it)).then_some(())?;
        let own = || open::proc_target(self.scene, open) == Some(ProcTarget::Own);
        let pid = open.proc_pid.or_else(|| own().then_some(self.scene.event.subject.key.pid))?;
        Some(ProcessRead { what, pid })
    }

    fn detection(&self, what: Broken) -> Option<&'a Detection> {
        match what {
            Broken::Detection(at) => self.scene.rules.inner.detections.get(usize::from(at)),
            _ => None,
        }
    }

    fn id(&self, what: Broken) -> Arc<str> {
        self.detection(what).map_or_else(|| what.expectation_id().into(), |d| d.id.clone())
    }

    fn rule(&self, what: Broken) -> RuleRef {
        if let Some(detection) = self.detection(what) {
            return detection.rule.clone();
        }
        let Some(role) = self.scene.role else { return self.scene.profile.rule.clone() };
        let expect = &role.expect;
        match what {
            Broken::Exec | Broken::BinaryChanged | Broken::LoaderInjection => expect.exec.rule.clone(),
            Broken::Identity => expect.identities.rule.clone(),
            Broken::Connect => expect.connect.rule.clone(),
            Broken::Unix => expect.unix.rule.clone(),
            Broken::Socket => expect.socket.rule.clone(),
            Broken::Unresolved | Broken::OperatorSession | Broken::Detection(_) => role.rule.clone(),
        }
    }

    fn also(&self, what: Broken, tier: Tier) -> Also {
        Also { id: self.id(what), kind: what.kind(), tier, rule: self.rule(what) }
    }

    /// What the profile expects of the role for this signal, and whether it says so with any item.
    fn section(&self) -> (Option<String>, bool) {
        let Some(role) = self.scene.role else { return (None, false) };
        let said = |words: &str, items: usize| (Some(words.to_owned()), items > 0);
        fn parts<R>(section: &SectionSpec<R>) -> (&str, usize) {
            (&section.words, section.rules.len())
        }
        let expect = &role.expect;
        let (words, items) = match &self.scene.event.body {
            Body::Exec(_) => parts(&expect.exec),
            Body::Connect(_) => parts(&expect.connect),
            Body::Open(_) if self.scene.identity.is_some() => parts(&expect.identities),
            Body::Open(_) => parts(&expect.files),
            Body::Unix(_) if self.scene.identity.is_some() => parts(&expect.identities),
            Body::Unix(_) => parts(&expect.unix),
            Body::Socket(_) => parts(&expect.socket),
            _ => return (None, false),
        };
        said(words, items)
    }

    fn refs(&self, identity: Option<&Identity>, endpoint: Option<&Endpoint>) -> Refs {
        let mut all = Refs::new();
        let of_rules = self.broken.iter().filter_map(|(what, ..)| self.detection(*what)).map(|d| &d.refs);
        let of_things = identity.map(|i| &i.refs).into_iter().chain(endpoint.map(|e| &e.refs));
        for (catalogue, ids) in self.broken.iter().flat_map(|(what, ..)| built_in::refs(*what)) {
            let list = all.entry((*catalogue).to_owned()).or_default();
            list.extend(ids.iter().map(|id| (*id).to_owned()));
        }
        for refs in of_rules.chain(of_things) {
            for (catalogue, ids) in refs {
                let list = all.entry(catalogue.clone()).or_default();
                for id in ids {
                    if !list.contains(id) {
                        list.push(id.clone());
                    }
                }
            }
        }
        all
    }

    /// The detection says how to contain, the identity how to make what was taken worthless.
    fn respond(&self, identity: Option<&Identity>, endpoint: Option<&Endpoint>) -> Respond {
        let mut out = Respond::default();
        let of_rules = self.broken.iter().filter_map(|(what, ..)| self.detection(*what)).map(|d| &d.respond);
        let of_things = identity.map(|i| &i.respond).into_iter().chain(endpoint.map(|e| &e.respond));
        let fill = |to: &mut Option<String>, from: &Option<String>| {
            if to.is_none() {
                to.clone_from(from);
            }
        };
        let built_in: Vec<Respond> = self.broken.iter().map(|(what, ..)| built_in::respond(*what)).collect();
        for things_first in of_things.clone() {
            fill(&mut out.revoke, &things_first.revoke);
            fill(&mut out.rotate, &things_first.rotate);
        }
        for from in of_rules.chain(&built_in).chain(of_things) {
            fill(&mut out.contain, &from.contain);
            fill(&mut out.preserve, &from.preserve);
            fill(&mut out.revoke, &from.revoke);
            fill(&mut out.rotate, &from.rotate);
            fill(&mut out.review, &from.review);
        }
        out
    }
}

fn signal(scene: &Scene<'_>) -> Signal {
    match &scene.event.body {
        Body::Fork(_) => Signal::Fork,
        Body::Exec(_) | Body::CgroupMove { .. } => Signal::Exec,
        Body::Exit { .. } => Signal::Exit,
        Body::Open(_) => Signal::Open,
        Body::Connect(connect) if connect.send => Signal::Send,
        Body::Connect(_) | Body::ConnectResult { .. } => Signal::Connect,
        Body::Unix(_) => Signal::Unix,
        Body::Socket(_) => Signal::Socket,
    }
}

/// `Unexpected` things in one line.
fn title(
    scene: &Scene<'_>,
    what: Broken,
    identity: Option<&Identity>,
    endpoint: Option<&Endpoint>,
) -> String {
    let profile = &scene.profile.name;
    let who = match scene.role {
        Some(role) => format!("Role {} of {profile}", role.name),
        None => format!("A process of {profile} whose role is not known"),
    };
    let name = || scene.image.as_ref().map_or("a program", shown_name);
    let thing = match (&scene.event.body, what) {
        (_, Broken::OperatorSession) => {
            return format!("Somebody entered the worker from outside and started {}", name());
        }
        (_, Broken::BinaryChanged) => {
            return format!("{} is another file than when this worker first executed it", name());
        }
        (_, Broken::LoaderInjection) if scene.image.as_ref().is_some_and(loads_agent) => {
            format!("started {} with an agent loaded into it", name())
        }
        (_, Broken::LoaderInjection) => {
            format!("started {} with a loader variable that it does not have itself", name())
        }
        (Body::Exec(_), _) => {
            format!("executed {}, which is not expected of it", name())
        }
        (Body::Open(_) | Body::Unix(_), Broken::Identity) => {
            let verb = if matches!(scene.event.body, Body::Unix(_)) { "used" } else { "opened" };
            let gives =
                identity.map_or_else(|| "an identity".to_owned(), |i| format!("{} ({})", i.id, i.gives));
            format!("{verb} {gives}")
        }
        (Body::Open(_), _) => "opened a watched file whose name could not be resolved".to_owned(),
        (Body::Connect(connect), _) => {
            let named = endpoint.map_or_else(String::new, |e| format!(" ({})", e.title));
            format!(
                "connected to {}{named}, which is not expected of it",
                std::net::SocketAddr::new(connect.addr, connect.port)
            )
        }
        (Body::Unix(unix), _) => {
            format!("connected to the socket {}, which is not expected of it", unix.path.view)
        }
        (Body::Socket(socket), _) => format!("created a socket of family {}", socket.family),
        _ => "did something that is not expected of it".to_owned(),
    };
    format!("{who} {thing}")
}

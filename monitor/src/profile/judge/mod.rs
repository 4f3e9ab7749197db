//! What an event breaks.
//!
//! Detections that apply to the actor's role and the expectations of that role are both looked at; the result is one
//! finding that the highest tier leads. An allow item makes an expectation hold; a detection it silences only if it
//! names it in `permits`. Nothing is allocated unless there is a finding.

mod allow;
mod built_in;
mod connect;
mod expect;
mod held;
mod image;
mod offer;
mod open;
mod report;

use std::sync::Arc;

use crate::event::{Body, Event, Outcome};
use crate::profile::actor::{Actor, Image, RoleContext, RoleId, RoleKind};
use crate::profile::doc::On;
use crate::profile::finding::{Finding, Identity, Tier};
use crate::profile::model::{DetectionIdx, IdentityIdx, Profile, RoleSpec, on_index};
use crate::profile::pattern::{RuleBits, canonical};
use crate::profile::ruleset::RuleSet;
use monitor_common::filter::access;

pub(super) use held::Held;
pub(super) use image::{exec_rule_holds, image_matches, trusted};
pub(super) use open::{identity_of_path, identity_of_socket};

use held::Tri;
use report::{Broken, Report};

/// What came of an event.
#[derive(Debug, Default)]
pub struct Verdict<'a> {
    /// What it broke.
    pub finding: Option<Finding>,
    /// The identity that author code, or code below it, used as it may: nothing is wrong, but whoever controls that code
    /// holds the identity.
    pub used: Option<&'a Arc<Identity>>,
}

/// One event with everything that is looked up once for all rules.
struct Scene<'a> {
    rules: &'a RuleSet,
    actor: &'a Actor<'a>,
    event: &'a Event,
    profile: &'a Profile,
    /// `None`: the process is not known.
    role: Option<&'a RoleSpec>,
    /// Time since the role was taken.
    since: u64,
    /// For an exec: the new image.
    image: Option<Image<'a>>,
    identity: Option<IdentityIdx>,
    place: Option<connect::Place>,
    /// For an open: the detections that name its path.
    paths: RuleBits,
    /// For an exec: the detections that name its program.
    programs: RuleBits,
    /// For an exec: the role it leads to.
    becomes: Option<RoleId>,
}

impl RuleSet {
    /// What an event breaks, if anything. An exec is judged with the role before it.
    pub fn judge(&self, actor: &Actor<'_>, event: &Event) -> Option<Finding> {
        self.verdict(actor, event).finding
    }

    /// What an event breaks, and what it uses without breaking anything.
    pub fn verdict(&self, actor: &Actor<'_>, event: &Event) -> Verdict<'_> {
        let Some(outcome) = outcome_of(&event.body).filter(|outcome| *outcome != Outcome::Absent) else {
            return Verdict::default();
        };
        let scene = self.scene(actor, event);
        let mut report = Report::new(&scene, outcome);
        detections(&scene, &mut report);
        match &event.body {
            Body::Exec(exec) => expect::expect_exec(&scene, exec, &mut report),
            Body::Open(open) => expect::expect_open(&scene, open, &mut report),
            Body::Connect(_) => expect::expect_connect(&scene, &mut report),
            Body::Unix(unix) => expect::expect_unix(&scene, unix, &mut report),
            Body::Socket(socket) => expect::expect_socket(&scene, socket, &mut report),
            _ => {}
        }
        let used = scene.used(outcome).map(|at| self.inner.identities.get(at));
        let finding = report.finish();
        let used = used.filter(|_| finding.is_none());
        Verdict { finding, used }
    }

    fn scene<'a>(&'a self, actor: &'a Actor<'a>, event: &'a Event) -> Scene<'a> {
        let profile = self.spec(actor.profile);
        let identities = &self.inner.identities;
        let mut scene = Scene {
            rules: self,
            actor,
            event,
            profile,
            role: actor.role.map(|r| profile.role(r)),
            since: event.time.saturating_sub(actor.role_since),
            image: actor.image,
            identity: None,
            place: None,
            paths: RuleBits::default(),
            programs: RuleBits::default(),
            becomes: None,
        };
        let known = || actor.known_identity.and_then(|id| identities.by_id.get(id).copied());
        match &event.body {
            Body::Exec(exec) => {
                let image = Image { pin: actor.pin, ..Image::of_exec(exec, event.subject.uid) };
                scene.image = Some(image);
                scene.programs = self.inner.exec_programs.find(image::names(&image));
                scene.becomes = actor.role.map(|role| {
                    let at = RoleContext {
                        profile: actor.profile,
                        role,
                        role_since: actor.role_since,
                        below_author: actor.below_author,
                        entering: actor.entering,
                        facts: actor.facts,
                        probes: &[],
                        now: event.time,
                    };
                    if actor.entering { role } else { self.role_of_exec(&at, &image).role }
                });
            }
            Body::Open(open) => {
                scene.identity = identity_of_path(identities, &open.path).or_else(known);
                scene.paths = open::path_hits(&self.inner.open_paths, &open.path);
            }
            Body::Unix(unix) => scene.identity = identity_of_socket(identities, unix).or_else(known),
            Body::Connect(connect) => {
                let address = canonical(connect.addr);
                let meaning = self.inner.endpoints.meaning(address, connect.protocol, connect.port);
                scene.place = Some(connect::Place { address, meaning });
            }
            _ => {}
        }
        scene
    }
}

impl Scene<'_> {
    /// The identity that was read or connected to by author code or below it.
    fn used(&self, outcome: Outcome) -> Option<IdentityIdx> {
        let author = self.role.is_some_and(|r| matches!(r.kind, RoleKind::Author | RoleKind::Descendant));
        let read = match &self.event.body {
            Body::Open(open) => open.access & access::READ != 0,
            Body::Unix(_) => true,
            _ => false,
        };
        self.identity.filter(|_| author && read && outcome == Outcome::Ok)
    }

    /// Whether an allow item gives the role that the exec leads to.
    fn becomes_by_item(&self) -> bool {
        let (Some(role), Some(becomes)) = (self.role, self.becomes) else { return false };
        role.expect
            .exec
            .rules
            .iter()
            .any(|rule| rule.becomes == Some(becomes) && allow::exec_allowed(self, rule).holds())
    }
}

/// What became of the action; `None` for events that are no action.
fn outcome_of(body: &Body) -> Option<Outcome> {
    match body {
        Body::Exec(_) | Body::CgroupMove { .. } => Some(Outcome::Ok),
        Body::Open(open) => Some(open.outcome),
        Body::Connect(connect) => Some(connect.outcome),
        Body::Unix(unix) => Some(unix.outcome),
        Body::Socket(socket) => Some(socket.outcome),
        Body::Fork(_) | Body::Exit { .. } | Body::ConnectResult { .. } => None,
    }
}

fn on_of(body: &Body) -> Option<On> {
    Some(match body {
        Body::Exec(_) => On::Exec,
        Body::Open(_) => On::Open,
        Body::Connect(_) => On::Connect,
        Body::Unix(_) => On::Unix,
        Body::Socket(_) => On::Socket,
        Body::CgroupMove { .. } => On::CgroupMove,
        Body::Fork(_) | Body::Exit { .. } | Body::ConnectResult { .. } => return None,
    })
}

fn detections(scene: &Scene<'_>, report: &mut Report<'_, '_>) {
    let Some(on) = on_of(&scene.event.body) else { return };
    match scene.role {
        Some(role) => {
            for (at, tier) in &role.detections[on_index(on)] {
                detection(scene, *at, *tier, false, report);
            }
        }
        None => {
            for (at, d) in (0..).zip(&scene.rules.inner.detections) {
                if d.on == on {
                    detection(scene, at, d.tier, !d.roles.words.is_empty(), report);
                }
            }
        }
    }
}

fn detection(
    scene: &Scene<'_>,
    at: DetectionIdx,
    tier: Tier,
    role_unknown: bool,
    report: &mut Report<'_, '_>,
) {
    let detection = &scene.rules.inner.detections[usize::from(at)];
    let m = &detection.matches;
    let mut held = Held::default();
    held.gate(detection.after.is_none_or(|tier| scene.actor.reached.is_some_and(|reached| reached >= tier)));
    if role_unknown {
        held.and(Tri::Unknown("role"));
    }
    if let Some(fact) = &m.condition
        && !scene.actor.facts.holds(fact)
    {
        return;
    }
    match &scene.event.body {
        Body::Exec(exec) => {
            if let Some(image) = &scene.image {
                image::exec_held(m, scene.programs.has(at), exec, &scene.event.subject, image, &mut held);
            }
        }
        Body::Open(open) => open::open_held(m, at, scene, open, &mut held),
        Body::Unix(unix) => open::unix_held(m, scene, unix, &mut held),
        Body::Connect(connect) => {
            if let Some(place) = &scene.place {
                connect::connect_held(m, place, connect, scene.actor.facts, &mut held);
            }
        }
        Body::Socket(socket) => {
            held.and(m.family.is_empty() || connect::family(&m.family, socket));
        }
        Body::CgroupMove { to_labelled, .. } => {
            held.and(m.to_worker.is_none_or(|wanted| wanted == *to_labelled));
        }
        Body::Fork(_) | Body::Exit { .. } | Body::ConnectResult { .. } => return,
    }
    if held.may_hold() && !allow::silenced(scene, at) {
        report.add(Broken::Detection(at), tier, held);
    }
}

#[cfg(test)]
pub(super) mod tests;

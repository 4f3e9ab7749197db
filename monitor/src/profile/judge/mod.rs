//! What an event breaks.
//!
//! Detections that apply to the actor's role and the expectations of that role are both looked at; the result is one
//! finding that the highest tier leads. An allow item makes an expectation hold; a detection it silences only if it
//! names it in `permits`. Nothing is allocated unless there is a finding.

mod connect;
mod held;
mod image;
mod open;
mod report;

use crate::event::{Body, Connect, Event, Open, Outcome, Socket, Unix};
use crate::profile::actor::{Actor, Image, RoleContext, RoleId};
use crate::profile::doc::On;
use crate::profile::finding::{Finding, Tier};
use crate::profile::model::{
    Common, DetectionIdx, ExecRule, FileRule, IdentityIdx, IdentityRule, Profile, RoleSpec, SocketRule,
    UnixRule, on_index,
};
use crate::profile::pattern::canonical;
use crate::profile::ruleset::RuleSet;
use monitor_common::filter::access;

pub(super) use held::Held;
pub(super) use image::{exec_rule_holds, image_matches};
pub(super) use open::{identity_of_path, identity_of_socket};

use held::Tri;
use open::PathHits;
use report::{Broken, Report};

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
    paths: PathHits,
    /// For an exec: the role it leads to.
    becomes: Option<RoleId>,
}

impl RuleSet {
    /// What an event breaks, if anything. An exec is judged with the role before it.
    pub fn judge(&self, actor: &Actor<'_>, event: &Event) -> Option<Finding> {
        let scene = self.scene(actor, event);
        let outcome = outcome_of(&event.body)?;
        if outcome == Outcome::Absent {
            return None;
        }
        let mut report = Report::new(&scene, outcome);
        detections(&scene, &mut report);
        match &event.body {
            Body::Exec(_) => expect_exec(&scene, &mut report),
            Body::Open(open) => expect_open(&scene, open, &mut report),
            Body::Connect(connect) => expect_connect(&scene, connect, &mut report),
            Body::Unix(unix) => expect_unix(&scene, unix, &mut report),
            Body::Socket(socket) => expect_socket(&scene, socket, &mut report),
            _ => {}
        }
        report.finish()
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
            paths: PathHits::default(),
            becomes: None,
        };
        let known = || actor.known_identity.and_then(|id| identities.by_id.get(id).copied());
        match &event.body {
            Body::Exec(exec) => {
                let image = Image::of_exec(exec, event.subject.uid);
                scene.image = Some(image);
                scene.becomes = actor.role.map(|role| {
                    let at = RoleContext {
                        profile: actor.profile,
                        role,
                        role_since: actor.role_since,
                        below_author: actor.below_author,
                        now: event.time,
                    };
                    self.role_of_exec(&at, &image).role
                });
            }
            Body::Open(open) => {
                scene.identity = identity_of_path(identities, &open.path).or_else(known);
                scene.paths = PathHits::of(&self.inner.open_paths, &open.path);
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
    match &scene.event.body {
        Body::Exec(exec) => {
            if let Some(image) = &scene.image {
                image::exec_held(m, exec, &scene.event.subject, image, &mut held);
            }
        }
        Body::Open(open) => open::open_held(m, at, scene, open, &mut held),
        Body::Unix(unix) => open::unix_held(m, scene, unix, &mut held),
        Body::Connect(connect) => {
            if let Some(place) = &scene.place {
                connect::connect_held(m, place, connect, &mut held);
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
    if held.may_hold() && !silenced(scene, at) {
        report.add(Broken::Detection(at), tier, held);
    }
}

/// Whether an allow item that matches the event names this detection.
fn silenced(scene: &Scene<'_>, at: DetectionIdx) -> bool {
    let Some(role) = scene.role else { return false };
    let names = |common: &Common| common.permits.contains(&at);
    let expect = &role.expect;
    match &scene.event.body {
        Body::Exec(_) => expect.exec.rules.iter().any(|r| names(&r.common) && exec_allowed(scene, r).holds()),
        Body::Open(open) => {
            expect.files.rules.iter().any(|r| names(&r.common) && file_allowed(scene, r, open).holds())
                || expect
                    .identities
                    .rules
                    .iter()
                    .any(|r| names(&r.common) && identity_allowed(scene, r, open.access).holds())
        }
        Body::Unix(unix) => {
            expect.unix.rules.iter().any(|r| names(&r.common) && unix_allowed(scene, r, unix).holds())
                || expect
                    .identities
                    .rules
                    .iter()
                    .any(|r| names(&r.common) && identity_allowed(scene, r, access::READ).holds())
        }
        Body::Connect(connect) => expect.connect.rules.iter().any(|r| {
            names(&r.common)
                && scene.place.as_ref().is_some_and(|p| connect::allowed(r, p, connect))
                && common_allowed(scene, &r.common).holds()
        }),
        Body::Socket(socket) => {
            expect.socket.rules.iter().any(|r| names(&r.common) && socket_allowed(scene, r, socket).holds())
        }
        _ => false,
    }
}

fn common_allowed(scene: &Scene<'_>, common: &Common) -> Held {
    let mut held = Held::default();
    image::common_held(common, scene.image.as_ref(), scene.since, &mut held);
    held
}

fn exec_allowed(scene: &Scene<'_>, rule: &ExecRule) -> Held {
    let Some(image) = &scene.image else { return Held::default() };
    let mut held = exec_rule_holds(rule, image, scene.since);
    if rule.becomes.is_some() {
        held.and(rule.becomes == scene.becomes);
    }
    held
}

fn identity_allowed(scene: &Scene<'_>, rule: &IdentityRule, bits: u32) -> Held {
    let mut held = Held::default();
    let listed = rule.any || scene.identity.is_some_and(|i| rule.ids.contains(&i));
    if held.and(listed)
        && held.and(bits & !rule.access == 0)
        && image::common_held(&rule.common, scene.image.as_ref(), scene.since, &mut held)
        && !rule.script.is_empty()
    {
        held.and(match scene.image.as_ref() {
            Some(image) => image::script_held(&rule.script, image),
            None => Tri::Unknown("argv"),
        });
    }
    held
}

fn file_allowed(scene: &Scene<'_>, rule: &FileRule, open: &Open) -> Held {
    let mut held = Held::default();
    let path = rule.path.is_empty() || held.and(open::path_held(&rule.path, &open.path));
    if path
        && open::proc_held(&rule.proc, &rule.of, scene, open, &mut held)
        && held.and(open.access & !rule.access == 0)
    {
        image::common_held(&rule.common, scene.image.as_ref(), scene.since, &mut held);
    }
    held
}

fn unix_allowed(scene: &Scene<'_>, rule: &UnixRule, unix: &Unix) -> Held {
    let mut held = Held::default();
    if rule.any || held.and(open::path_held(&rule.path, &unix.path)) {
        image::common_held(&rule.common, scene.image.as_ref(), scene.since, &mut held);
    }
    held
}

fn socket_allowed(scene: &Scene<'_>, rule: &SocketRule, socket: &Socket) -> Held {
    let mut held = Held::default();
    if held.and(connect::family(&rule.family, socket)) {
        image::common_held(&rule.common, scene.image.as_ref(), scene.since, &mut held);
    }
    held
}

/// Whether one of the items holds; else the first that only unknown fields kept from holding.
fn one_of(items: impl Iterator<Item = Held>) -> Result<(), Held> {
    let mut open = Held::default();
    for held in items {
        if held.holds() {
            return Ok(());
        }
        if held.is_open() && !open.is_open() {
            open = held;
        }
    }
    Err(open)
}

/// A process whose role is not known: nothing can be said of its expectations but that.
fn role_unknown() -> Held {
    let mut held = Held::default();
    held.and(Tri::Unknown("role"));
    held
}

fn expect_exec(scene: &Scene<'_>, report: &mut Report<'_, '_>) {
    let Some(role) = scene.role else { return report.add(Broken::Exec, Tier::Deviation, role_unknown()) };
    let section = &role.expect.exec;
    if let (Some(tier), Err(held)) =
        (section.otherwise, one_of(section.rules.iter().map(|r| exec_allowed(scene, r))))
    {
        report.add(Broken::Exec, tier, held);
    }
}

fn expect_open(scene: &Scene<'_>, open: &Open, report: &mut Report<'_, '_>) {
    // An O_PATH handle reads nothing; what is done with it later is an open of its own.
    if scene.identity.is_some() && open.access != access::PATH {
        return expect_identity(scene, open.access, report);
    }
    let unresolved = !open.path.none && !open.path.is_known();
    if unresolved && report.is_empty() {
        let mut held = Held::default();
        held.and(Tri::Unknown("path"));
        report.add(Broken::Unresolved, Tier::Boundary, held);
    }
}

fn expect_identity(scene: &Scene<'_>, bits: u32, report: &mut Report<'_, '_>) {
    let Some(role) = scene.role else { return report.add(Broken::Identity, Tier::Identity, role_unknown()) };
    let section = &role.expect.identities;
    let Some(tier) = section.otherwise else { return };
    if let Err(held) = one_of(section.rules.iter().map(|r| identity_allowed(scene, r, bits))) {
        // Nothing is taken by writing alone.
        let tier = if bits == access::WRITE { tier.lower() } else { tier };
        report.add(Broken::Identity, tier, held);
    }
}

fn expect_connect(scene: &Scene<'_>, connect: &Connect, report: &mut Report<'_, '_>) {
    let Some(place) = &scene.place else { return };
    let endpoints = &scene.rules.inner.endpoints;
    if place.meaning.endpoint.is_some_and(|e| endpoints.get(e).benign) {
        return;
    }
    let Some(role) = scene.role else { return report.add(Broken::Connect, Tier::Deviation, role_unknown()) };
    let section = &role.expect.connect;
    let items = section
        .rules
        .iter()
        .filter(|r| connect::allowed(r, place, connect))
        .map(|r| common_allowed(scene, &r.common));
    if let (Some(tier), Err(held)) = (section.otherwise, one_of(items)) {
        report.add(Broken::Connect, tier, held);
    }
}

fn expect_unix(scene: &Scene<'_>, unix: &Unix, report: &mut Report<'_, '_>) {
    if scene.identity.is_some() {
        return expect_identity(scene, access::READ, report);
    }
    let Some(role) = scene.role else { return };
    let section = &role.expect.unix;
    if let (Some(tier), Err(held)) =
        (section.otherwise, one_of(section.rules.iter().map(|r| unix_allowed(scene, r, unix))))
    {
        report.add(Broken::Unix, tier, held);
    }
}

fn expect_socket(scene: &Scene<'_>, socket: &Socket, report: &mut Report<'_, '_>) {
    let Some(role) = scene.role else { return };
    let section = &role.expect.socket;
    if let (Some(tier), Err(held)) =
        (section.otherwise, one_of(section.rules.iter().map(|r| socket_allowed(scene, r, socket))))
    {
        report.add(Broken::Socket, tier, held);
    }
}

#[cfg(test)]
pub(super) mod tests;

//! Expectations: what no item of the actor's role allows.

use super::Scene;
use super::allow::{
    connect_allowed, exec_allowed, identity_allowed, permitted, section_allows, socket_allowed, unix_allowed,
};
use super::held::{Held, Tri};
use super::image::loads_agent;
use super::report::{Broken, Report};
use crate::event::{Exec, Open, Socket, Unix};
use crate::profile::actor::{Pin, RoleKind};
use crate::profile::finding::Tier;
use monitor_common::filter::access;

/// A process whose role is not known: nothing can be said of its expectations but that.
fn role_unknown() -> Held {
    unknown("role")
}

fn unknown(field: &'static str) -> Held {
    let mut held = Held::default();
    held.and(Tri::Unknown(field));
    held
}

pub(super) fn expect_exec(scene: &Scene<'_>, exec: &Exec, report: &mut Report<'_, '_>) {
    let Some(role) = scene.role else { return report.add(Broken::Exec, Tier::Deviation, role_unknown()) };
    if scene.actor.entering && role.kind == RoleKind::Operator {
        report.add(Broken::OperatorSession, Tier::Deviation, Held::default());
    }
    if scene.actor.pin == Pin::Changed {
        report.add(Broken::BinaryChanged, Tier::Boundary, Held::default());
    }
    // What starts the engine (the image's scripts) sets its variables; from then on nobody should.
    if exec.loader_env && role.kind == RoleKind::Named {
        loader_injection(scene, report);
    }
    if scene.image.as_ref().is_some_and(loads_agent) && scene.becomes_by_item() {
        agent_loaded(scene, role.kind, report);
    }
    let section = &role.expect.exec;
    if let Some(tier) = section.otherwise
        && let Err(held) = section_allows(scene, section, |r| exec_allowed(scene, r))
    {
        report.add(Broken::Exec, tier, held);
    }
}

/// A helper that the engine starts, with a loader variable that the engine does not have itself: whoever set it runs code
/// in the helper's place.
fn loader_injection(scene: &Scene<'_>, report: &mut Report<'_, '_>) {
    let held = match scene.actor.loader_before {
        Some(true) => return,
        Some(false) => Held::default(),
        None => unknown("environment before"),
    };
    if scene.becomes_by_item() && !permitted(scene, &|common| common.permits_loader) {
        report.add(Broken::LoaderInjection, Tier::Boundary, held);
    }
}

/// A program of the engine's with an agent beside its code: what starts the engine may have one on purpose, and should say
/// so; nobody else has.
fn agent_loaded(scene: &Scene<'_>, by: RoleKind, report: &mut Report<'_, '_>) {
    if !permitted(scene, &|common| common.permits_loader) {
        let tier = if by == RoleKind::Entry { Tier::Deviation } else { Tier::Boundary };
        report.add(Broken::LoaderInjection, tier, Held::default());
    }
}

pub(super) fn expect_open(scene: &Scene<'_>, open: &Open, report: &mut Report<'_, '_>) {
    // An O_PATH handle reads nothing; what is done with it later is an open of its own.
    if scene.identity.is_some() && open.access != access::PATH {
        return expect_identity(scene, open.access, report);
    }
    let unresolved = !open.path.none && !open.path.is_known();
    if unresolved && report.is_empty() {
        report.add(Broken::Unresolved, Tier::Boundary, unknown("path"));
    }
}

fn expect_identity(scene: &Scene<'_>, bits: u32, report: &mut Report<'_, '_>) {
    let Some(role) = scene.role else { return report.add(Broken::Identity, Tier::Identity, role_unknown()) };
    let section = &role.expect.identities;
    let Some(tier) = section.otherwise else { return };
    if let Err(held) = section_allows(scene, section, |r| identity_allowed(scene, r, bits)) {
        // Nothing is taken by writing alone.
        let tier = if bits == access::WRITE { tier.lower() } else { tier };
        report.add(Broken::Identity, tier, held);
    }
}

pub(super) fn expect_connect(scene: &Scene<'_>, report: &mut Report<'_, '_>) {
    let Some(place) = &scene.place else { return };
    let endpoints = &scene.rules.inner.endpoints;
    if place.meaning.endpoint.is_some_and(|e| endpoints.get(e).benign) {
        return;
    }
    let Some(role) = scene.role else { return report.add(Broken::Connect, Tier::Deviation, role_unknown()) };
    let section = &role.expect.connect;
    if let Some(tier) = section.otherwise
        && let Err(held) = section_allows(scene, section, |r| connect_allowed(scene, r))
    {
        report.add(Broken::Connect, tier, held);
    }
}

pub(super) fn expect_unix(scene: &Scene<'_>, unix: &Unix, report: &mut Report<'_, '_>) {
    if scene.identity.is_some() {
        return expect_identity(scene, access::READ, report);
    }
    let Some(role) = scene.role else { return };
    let section = &role.expect.unix;
    if let Some(tier) = section.otherwise
        && let Err(held) = section_allows(scene, section, |r| unix_allowed(scene, r, unix))
    {
        report.add(Broken::Unix, tier, held);
    }
}

pub(super) fn expect_socket(scene: &Scene<'_>, socket: &Socket, report: &mut Report<'_, '_>) {
    let Some(role) = scene.role else { return };
    let section = &role.expect.socket;
    if let Some(tier) = section.otherwise
        && let Err(held) = section_allows(scene, section, |r| socket_allowed(scene, r, socket))
    {
        report.add(Broken::Socket, tier, held);
    }
}

//! Allow items against an event: whether one holds, and whether it silences a detection.

use super::held::{Held, Tri};
use super::{Scene, connect, image, open};
use crate::event::{Body, Open, Socket, Unix};
use crate::profile::model::{
    Common, ConnectRule, DetectionIdx, ExecRule, FileRule, IdentityRule, SectionSpec, SocketRule, UnixRule,
};
use monitor_common::filter::access;

/// Whether an allow item that matches the event names this detection.
pub(super) fn silenced(scene: &Scene<'_>, at: DetectionIdx) -> bool {
    permitted(scene, &|common| common.permits.contains(&at))
}

/// Whether an allow item that matches the event and of which `names` holds is there.
pub(super) fn permitted(scene: &Scene<'_>, names: &dyn Fn(&Common) -> bool) -> bool {
    let Some(role) = scene.role else { return false };
    let expect = &role.expect;
    match &scene.event.body {
        Body::Exec(_) => any(scene, &expect.exec, |r| names(&r.common) && exec_allowed(scene, r).holds()),
        Body::Open(open) => {
            any(scene, &expect.files, |r| names(&r.common) && file_allowed(scene, r, open).holds())
                || any(scene, &expect.identities, |r| {
                    names(&r.common) && identity_allowed(scene, r, open.access).holds()
                })
        }
        Body::Unix(unix) => {
            any(scene, &expect.unix, |r| names(&r.common) && unix_allowed(scene, r, unix).holds())
                || any(scene, &expect.identities, |r| {
                    names(&r.common) && identity_allowed(scene, r, access::READ).holds()
                })
        }
        Body::Connect(_) => {
            any(scene, &expect.connect, |r| names(&r.common) && connect_allowed(scene, r).holds())
        }
        Body::Socket(socket) => {
            any(scene, &expect.socket, |r| names(&r.common) && socket_allowed(scene, r, socket).holds())
        }
        _ => false,
    }
}

/// Whether it holds for one of a section's items, or of the exceptions that are in force for the worker.
fn any<R>(scene: &Scene<'_>, section: &SectionSpec<R>, holds: impl Fn(&R) -> bool) -> bool {
    section.rules.iter().any(&holds)
        || section.excepted.iter().any(|(number, rule)| holds(rule) && in_force(scene, *number))
}

/// Whether an exception is about this worker and has not expired.
pub(super) fn in_force(scene: &Scene<'_>, number: u16) -> bool {
    let (Some(exception), Some(worker), Some(now)) =
        (scene.rules.inner.exceptions.get(usize::from(number)), scene.actor.worker, scene.actor.wall)
    else {
        return false;
    };
    now < exception.until
        && exception.worker.matches(if exception.by_cgroup { worker.cgroup } else { worker.name })
}

fn common_allowed(scene: &Scene<'_>, common: &Common, held: &mut Held) -> bool {
    image::common_held(common, scene, held)
}

pub(super) fn exec_allowed(scene: &Scene<'_>, rule: &ExecRule) -> Held {
    let Some(image) = &scene.image else { return Held::default() };
    let mut held = image::exec_rule_holds(rule, image, scene.since, scene.actor.facts);
    // With something unknown the role was not taken for that reason, which is what is to be said.
    if rule.becomes.is_some() && !held.is_open() {
        held.and(rule.becomes == scene.becomes);
    }
    held
}

pub(super) fn identity_allowed(scene: &Scene<'_>, rule: &IdentityRule, bits: u32) -> Held {
    let mut held = Held::default();
    let listed = rule.any || scene.identity.is_some_and(|i| rule.ids.contains(&i));
    if held.and(listed)
        && held.and(bits & !rule.access == 0)
        && (!rule.own || held.and(own(scene)))
        && common_allowed(scene, &rule.common, &mut held)
        && !rule.script.is_empty()
    {
        held.and(match scene.image.as_ref() {
            Some(image) => image::script_held(&rule.script, image),
            None => Tri::Unknown("argv"),
        });
    }
    held
}

/// Whether the opened file belongs to the run: see [`open::belongs_to`].
fn own(scene: &Scene<'_>) -> Tri {
    let path = match &scene.event.body {
        Body::Open(open) => &open.path,
        Body::Unix(unix) => &unix.path,
        _ => return Tri::No,
    };
    match scene.actor.run_dir {
        _ if !path.is_known() => Tri::Unknown("path"),
        Some(folder) => open::belongs_to(folder, &path.view).into(),
        None => Tri::Unknown("run folder"),
    }
}

pub(super) fn file_allowed(scene: &Scene<'_>, rule: &FileRule, open: &Open) -> Held {
    let mut held = Held::default();
    let path = rule.path.is_empty() || held.and(open::path_held(&rule.path, &open.path));
    if path
        && open::proc_held(&rule.proc, &rule.of, scene, open, &mut held)
        && held.and(open.access & !rule.access == 0)
        && (!rule.own || held.and(own(scene)))
    {
        common_allowed(scene, &rule.common, &mut held);
    }
    held
}

pub(super) fn unix_allowed(scene: &Scene<'_>, rule: &UnixRule, unix: &Unix) -> Held {
    let mut held = Held::default();
    if rule.any || held.and(open::path_held(&rule.path, &unix.path)) {
        common_allowed(scene, &rule.common, &mut held);
    }
    held
}

pub(super) fn connect_allowed(scene: &Scene<'_>, rule: &ConnectRule) -> Held {
    let mut held = Held::default();
    let (Body::Connect(to), Some(place)) = (&scene.event.body, &scene.place) else {
        held.and(Tri::No);
        return held;
    };
    if held.and(connect::allowed(rule, place, to, scene.actor.facts)) {
        common_allowed(scene, &rule.common, &mut held);
    }
    held
}

pub(super) fn socket_allowed(scene: &Scene<'_>, rule: &SocketRule, socket: &Socket) -> Held {
    let mut held = Held::default();
    if held.and(connect::family(&rule.family, socket)) {
        common_allowed(scene, &rule.common, &mut held);
    }
    held
}

/// Whether a section allows the event: one of its items holds, or an exception does; else the first that only unknown
/// fields kept from holding.
pub(super) fn section_allows<R>(
    scene: &Scene<'_>,
    section: &SectionSpec<R>,
    held: impl Fn(&R) -> Held,
) -> Result<(), Held> {
    let mut open = Held::default();
    for rule in &section.rules {
        let held = held(rule);
        if held.holds() {
            return Ok(());
        }
        if held.is_open() && !open.is_open() {
            open = held;
        }
    }
    let excepted =
        section.excepted.iter().any(|(number, rule)| held(rule).holds() && in_force(scene, *number));
    if excepted { Ok(()) } else { Err(open) }
}

//! Which role a process takes by an exec or a fork.

use super::actor::{Image, ProfileId, RoleContext, RoleId, RoleKind, Trust};
use super::judge::{Held, exec_rule_holds, image_matches, trusted};
use super::model::{Profile, RoleSpec};
use super::ruleset::{RoleTaken, RuleSet};

impl RuleSet {
    /// The role a process takes by an exec: the first in the profile's order whose parent is the role before, whose
    /// names match, and whose executable can be relied on; else it stays `entry`, is a `descendant` below an author
    /// root, or a `stray`. One that enters the sealed worker from outside takes a role whose parent is `outside`, or is a
    /// probe, or what the profile says of those who enter. Also for processes found in /proc ([`Image::scanned`]).
    pub fn role_of_exec(&self, at: &RoleContext<'_>, image: &Image<'_>) -> RoleTaken {
        let profile = self.spec(at.profile);
        let named = (RoleId::FIRST_NAMED..)
            .map(RoleId)
            .zip(profile.roles.iter().skip(usize::from(RoleId::FIRST_NAMED)))
            .find(|(id, role)| takes(profile, at, *id, role, image))
            .map(|(id, _)| id);
        let role = match named {
            Some(id) => id,
            None if at.entering => entered(profile, at, image),
            None => unnamed(profile, at),
        };
        // Who stays what it was is no new root.
        let author = profile.role(role).kind == RoleKind::Author && (named.is_some() || at.entering);
        RoleTaken {
            role,
            author_root: author && !at.below_author,
            below_author: at.below_author || author || role == RoleId::STRAY,
            changed: role != at.role,
        }
    }

    /// The role of a fork that does not exec, if the parent's role says so (`forked`).
    pub fn role_of_fork(&self, profile: ProfileId, parent: RoleId) -> Option<RoleId> {
        self.spec(profile).role(parent).forked
    }

    /// Whether a rule of the profile pins programs of this name.
    pub fn pins(&self, profile: ProfileId, image: &Image<'_>) -> bool {
        let Some(exe) = image.exe else { return false };
        let names = [Some(exe), image.given];
        self.spec(profile)
            .pinned
            .iter()
            .any(|programs| names.into_iter().flatten().any(|name| programs.matches(name)))
    }
}

fn takes(profile: &Profile, at: &RoleContext<'_>, id: RoleId, role: &RoleSpec, image: &Image<'_>) -> bool {
    let before = if at.entering { RoleId::OUTSIDE } else { at.role };
    if !role.parents.contains(&before) || (at.below_author && !role.below_author) {
        return false;
    }
    if role.only_by_becomes() && !at.entering {
        let since = at.now.saturating_sub(at.role_since);
        let before = profile.role(at.role);
        return before
            .expect
            .exec
            .rules
            .iter()
            .any(|rule| rule.becomes == Some(id) && exec_rule_holds(rule, image, since, at.facts).holds());
    }
    role.by_looks() && relied_on(role, image) && image_matches(&role.image, image)
}

/// Whether the executable can be relied on to be what its path says. A layer that is not known (no BTF of the overlay
/// module) does not keep a process from its role: the role's expectations are stricter than what would be expected
/// without one.
fn relied_on(role: &RoleSpec, image: &Image<'_>) -> bool {
    let mut held = Held::default();
    match image.trust {
        Trust::Untrusted(_) => held.and(trusted(&role.image, image)),
        _ => !role.image.pinned || image.pin != super::actor::Pin::Changed,
    }
}

/// What a process is that enters by this exec and in no role of its own.
fn entered(profile: &Profile, at: &RoleContext<'_>, image: &Image<'_>) -> RoleId {
    let named = profile.probes.iter().any(|probe| probe.matches(image.argv));
    let stated = at.probes.iter().any(|probe| {
        probe.len() == image.argv.len() && probe.iter().zip(image.argv).all(|(a, b)| **a == **b)
    });
    if (named || stated) && !image.argv_truncated { RoleId::PROBE } else { profile.entered }
}

fn unnamed(profile: &Profile, at: &RoleContext<'_>) -> RoleId {
    match profile.role(at.role).kind {
        RoleKind::Entry | RoleKind::Operator | RoleKind::Probe | RoleKind::Stray => at.role,
        RoleKind::Author | RoleKind::Descendant => RoleId::DESCENDANT,
        RoleKind::Named if at.below_author => RoleId::DESCENDANT,
        RoleKind::Named => RoleId::STRAY,
    }
}

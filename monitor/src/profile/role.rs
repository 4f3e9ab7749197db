//! Which role a process takes by an exec.

use super::actor::{Image, ProfileId, RoleContext, RoleId, RoleKind, Trust};
use super::judge::{exec_rule_holds, image_matches};
use super::model::{Profile, RoleSpec};
use super::ruleset::{RoleTaken, RuleSet};

impl RuleSet {
    /// The role a process takes by an exec: the first in the profile's order whose parent is the role before, whose
    /// names match, and whose executable can be relied on; else it stays `entry`, is a `descendant` below an author
    /// root, or a `stray`. Also for processes found in /proc ([`Image::scanned`]).
    pub fn role_of_exec(&self, at: &RoleContext, image: &Image<'_>) -> RoleTaken {
        let profile = self.spec(at.profile);
        let named = (RoleId::FIRST_NAMED..)
            .map(RoleId)
            .zip(profile.roles.iter().skip(usize::from(RoleId::FIRST_NAMED)))
            .find(|(id, role)| takes(profile, at, *id, role, image));
        let (role, author) = match named {
            Some((id, spec)) => (id, spec.kind == RoleKind::Author),
            None => (unnamed(profile, at), false),
        };
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
}

fn takes(profile: &Profile, at: &RoleContext, id: RoleId, role: &RoleSpec, image: &Image<'_>) -> bool {
    if !role.parents.contains(&at.role) || (at.below_author && !role.below_author) {
        return false;
    }
    if role.only_by_becomes {
        let since = at.now.saturating_sub(at.role_since);
        let before = profile.role(at.role);
        return before
            .expect
            .exec
            .rules
            .iter()
            .any(|rule| rule.becomes == Some(id) && exec_rule_holds(rule, image, since).holds());
    }
    // A layer that is not known (no BTF of the overlay module) does not keep a process from its role: the role's
    // expectations are stricter than what would be expected without one.
    !matches!(image.trust, Trust::Untrusted(_)) && image_matches(&role.image, image)
}

fn unnamed(profile: &Profile, at: &RoleContext) -> RoleId {
    match profile.role(at.role).kind {
        RoleKind::Entry | RoleKind::Operator | RoleKind::Probe | RoleKind::Stray => at.role,
        RoleKind::Author | RoleKind::Descendant => RoleId::DESCENDANT,
        RoleKind::Named if at.below_author => RoleId::DESCENDANT,
        RoleKind::Named => RoleId::STRAY,
    }
}

//! What the memory and environment of a role hold.

use std::sync::Arc;

use super::actor::{ProfileId, RoleId};
use super::finding::Identity;
use super::ruleset::RuleSet;

impl RuleSet {
    /// The identities that the memory of a role holds.
    pub fn holds(&self, profile: ProfileId, role: RoleId) -> impl Iterator<Item = &Arc<Identity>> {
        self.spec(profile).role(role).holds.iter().map(|at| self.inner.identities.get(*at))
    }

    /// The identities of a role's memory that variables can carry, too: what its environment may hold as far as is known.
    pub fn may_carry(&self, profile: ProfileId, role: RoleId) -> impl Iterator<Item = &Arc<Identity>> {
        let table = &self.inner.identities;
        let holds = self.spec(profile).role(role).holds.iter();
        holds.filter(|at| !table.variables[usize::from(**at)].is_empty()).map(|at| table.get(*at))
    }

    /// Whether a variable of this name carries an identity of the catalogue.
    pub fn names_identity(&self, variable: &str) -> bool {
        self.inner.identities.variables.iter().any(|names| names.matches(variable))
    }

    /// The identity that a variable of this name carries in the environment of a role: one that the role holds, else one
    /// that another role of its profile does, else one that no profile says anything of. What only other engines hold is
    /// not meant by a name that several use.
    pub fn identity_of_variable(
        &self,
        of: Option<(ProfileId, RoleId)>,
        variable: &str,
    ) -> Option<&Arc<Identity>> {
        let table = &self.inner.identities;
        let own = of.map_or(&[][..], |(profile, role)| &self.spec(profile).role(role).holds);
        let beside = of.into_iter().flat_map(|(profile, _)| &self.spec(profile).roles).flat_map(|r| &r.holds);
        let all = (0..).zip(&table.all).map(|(at, _)| at);
        let free = all.filter(|at| !self.inner.held.contains(at));
        let mut candidates = own.iter().chain(beside).copied().chain(free);
        candidates.find(|at| table.is_carried_by(*at, variable)).map(|at| table.get(at))
    }
}

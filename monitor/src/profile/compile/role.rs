//! Roles: names, how each is recognised, and by whom it is given.

use std::collections::HashMap;
use std::sync::Arc;

use super::item::Looks;
use super::profile::BUILT_IN;
use super::section::RoleAt;
use super::{BUILT_IN_ROLES, Compiler, Placed, is_name};
use crate::profile::actor::{RoleId, RoleKind};
use crate::profile::doc::{At, OnlyBy, ProfileDoc, RoleDoc};
use crate::profile::finding::RuleRef;
use crate::profile::model::RoleSpec;

/// Stands among a role's parents for a process that enters the sealed worker from outside.
pub(super) const OUTSIDE: &str = "outside";

impl Compiler {
    pub(super) fn role_names(&mut self, part: &Placed<ProfileDoc>) -> HashMap<Arc<str>, RoleId> {
        let mut names: HashMap<Arc<str>, RoleId> =
            (0..).zip(BUILT_IN).map(|(id, (name, _))| (Arc::from(name), RoleId(id))).collect();
        for (id, role) in (RoleId::FIRST_NAMED..).zip(&part.doc.roles) {
            let name = &role.value.name;
            let place = part.at(name.line, name.column);
            if !is_name(&name.value) {
                self.errors.push(place.error(
                    format!("`{}` is not a name for a role", name.value),
                    "use lower-case letters, digits and `-`, beginning with a letter",
                ));
            } else if BUILT_IN_ROLES.contains(&name.value.as_str()) {
                self.errors.push(
                    place.error(format!("the role name `{}` is taken", name.value), "give it another name"),
                );
            } else if names.insert(name.value.as_str().into(), RoleId(id)).is_some() {
                self.errors.push(
                    place.error(format!("the role `{}` is there twice", name.value), "rename one of them"),
                );
            }
        }
        names
    }

    pub(super) fn compile_role(
        &mut self,
        part: &Placed<ProfileDoc>,
        role: &At<RoleDoc>,
        names: &HashMap<Arc<str>, RoleId>,
    ) -> RoleSpec {
        let doc = &role.value;
        let place = part.at(role.line, role.column);
        let rule = RuleRef { file: part.place.file.clone(), line: role.line };
        let (outside, within): (Vec<String>, Vec<String>) =
            doc.parent.value.0.iter().cloned().partition(|parent| parent == OUTSIDE);
        let parents = self.resolve(&part.at(doc.parent.line, doc.parent.column), "role", &within, names);
        let parents: Vec<RoleId> =
            parents.into_iter().chain((!outside.is_empty()).then_some(RoleId::OUTSIDE)).collect();
        if doc.parent.value.is_empty() {
            self.errors.push(
                place.error(format!("role `{}` has no parent", doc.name.value), "say which role starts it"),
            );
        }
        let looks = Looks {
            program: &doc.program.value,
            script: &doc.script.value,
            argv: doc.argv.as_ref().map(|a| &*a.value),
            argv_none: &doc.argv_none.value,
            trust: doc.trust,
        };
        let image = self.image_pattern(&place, &looks);
        if image.is_empty() && doc.only_by.is_empty() {
            self.errors.push(place.error(
                format!("role `{}` does not say how its process is recognised", doc.name.value),
                "add `program`, `script` or `argv`, or `only_by: becomes` (or forked, entered)",
            ));
        }
        let forked = doc.forked.as_ref().and_then(|name| {
            let place = part.at(name.line, name.column);
            self.resolve(&place, "role", std::slice::from_ref(&name.value), names).first().copied()
        });
        let holds = {
            let place = part.at(doc.holds.line, doc.holds.column);
            self.identity_set(&place, &doc.holds.value.0, &[])
        };
        self.held.extend(holds.iter().copied());
        let kind = if doc.author { RoleKind::Author } else { RoleKind::Named };
        let at = RoleAt {
            profile: &part.doc.name.value,
            name: &doc.name.value,
            kind,
            names,
            facts: &part.doc.facts,
            rule: rule.clone(),
        };
        let expect = part.doc.expect.get(&doc.name.value).map(|e| &e.value);
        let expect = self.compile_expect(part, &at, expect);
        RoleSpec {
            name: doc.name.value.as_str().into(),
            kind,
            parents,
            image,
            only_by: doc.only_by.0.clone().into(),
            below_author: doc.below_author,
            forked,
            holds,
            expect,
            detections: Default::default(),
            rule,
            why: doc.why.clone(),
        }
    }

    /// A role that is only given in some ways must be given in one of them, and only by its parents.
    pub(super) fn check_givers(&mut self, part: &Placed<ProfileDoc>, roles: &[RoleSpec], entered: RoleId) {
        let mut errors = Vec::new();
        // A wrong name has an error of its own, and may be the one that is missed here.
        let items =
            part.doc.expect.values().filter_map(|e| e.value.exec.as_ref()).flat_map(|s| &s.value.allow);
        let given: Vec<&str> =
            items.filter_map(|item| item.value.becomes.as_ref()).map(|name| &*name.value).collect();
        let forks: Vec<&str> =
            part.doc.roles.iter().filter_map(|r| r.value.forked.as_ref()).map(|name| &*name.value).collect();
        let misnamed =
            |names: &[&str]| names.iter().any(|name| roles.iter().all(|role| *role.name != **name));
        for (id, role) in (0..).map(RoleId).zip(roles) {
            let becomes = || {
                (0..).map(RoleId).zip(roles).flat_map(move |(giver, r)| {
                    let given = r.expect.exec.rules.iter().filter(move |i| i.becomes == Some(id));
                    given.map(move |i| (giver, i.common.line, "becomes"))
                })
            };
            let forked = || {
                let given = (0..).map(RoleId).zip(roles).filter(move |(_, r)| r.forked == Some(id));
                given.map(|(giver, r)| (giver, r.rule.line, "forked"))
            };
            let is_given = |by: &OnlyBy| match by {
                OnlyBy::Becomes => becomes().next().is_some() || misnamed(&given),
                OnlyBy::Forked => forked().next().is_some() || misnamed(&forks),
                OnlyBy::Entered => entered == id,
            };
            for by in role.only_by.iter().filter(|by| !is_given(by)) {
                let (word, fix) = match by {
                    OnlyBy::Becomes => {
                        ("becomes", "add an allow item that says so to the expectations of its parent")
                    }
                    OnlyBy::Forked => ("forked", "add it to the role that forks it"),
                    OnlyBy::Entered => ("entered", "add it to the profile"),
                };
                errors.push(part.at(role.rule.line, 0).error(
                    format!("role `{}` is given by `{word}`, but nothing says `{word}: {0}`", role.name),
                    fix,
                ));
            }
            for (giver, line, word) in becomes().chain(forked()) {
                if !role.parents.contains(&giver) {
                    errors.push(part.at(line, 0).error(
                        format!(
                            "`{word}: {}`: `{}` is not a parent of that role",
                            role.name,
                            roles[usize::from(giver.0)].name
                        ),
                        "add it to the role's `parent`",
                    ));
                }
            }
        }
        self.errors.extend(errors);
    }

    /// The role that `entered` names.
    pub(super) fn entered(&mut self, part: &Placed<ProfileDoc>, names: &HashMap<Arc<str>, RoleId>) -> RoleId {
        let Some(entered) = &part.doc.entered else { return RoleId::OPERATOR };
        let place = part.at(entered.line, entered.column);
        if entered.value == "author" {
            let authors: Vec<&str> = part
                .doc
                .roles
                .iter()
                .filter(|r| r.value.author)
                .map(|r| r.value.name.value.as_str())
                .collect();
            if let [only] = authors.as_slice() {
                return names.get(*only).copied().unwrap_or(RoleId::OPERATOR);
            }
            self.errors.push(place.error(
                format!("`entered: author`: the profile has {} roles that are author's", authors.len()),
                "write the role's name",
            ));
            return RoleId::OPERATOR;
        }
        let found = self.resolve(&place, "role", std::slice::from_ref(&entered.value), names);
        found.first().copied().unwrap_or(RoleId::OPERATOR)
    }
}

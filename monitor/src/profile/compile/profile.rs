//! Profiles: selection, roles, expectations.

use std::collections::HashMap;
use std::sync::Arc;

use super::section::RoleAt;
use super::{BUILT_IN_ROLES, Compiler, Placed, is_name};
use crate::profile::actor::{RoleId, RoleKind};
use crate::profile::doc::{At, OnlyBy, ProfileDoc, RoleDoc, SelectDoc};
use crate::profile::error::{Place, suggest};
use crate::profile::finding::RuleRef;
use crate::profile::model::{ImagePattern, Profile, RoleSpec, Select};
use crate::profile::pattern::Globs;

/// The roles every profile has, in the order of their ids.
const BUILT_IN: [(&str, RoleKind); 5] = [
    ("entry", RoleKind::Entry),
    ("descendant", RoleKind::Descendant),
    ("stray", RoleKind::Stray),
    ("operator", RoleKind::Operator),
    ("probe", RoleKind::Probe),
];

/// The profile of unknown workers when no file gives one.
const GENERIC: &str = "schema: sandwatch/profile/v1\nname: generic\ntitle: A worker whose engine is not known\nexpect:\n  entry:\n    exec: { allow: [{ any: true }] }\n    connect: { allow: [{ scope: any }] }\n";

impl Compiler {
    pub(super) fn compile_profiles(&mut self, parts: &[Placed<ProfileDoc>]) {
        let generic = parts.iter().position(|p| p.doc.name.value == "generic");
        match generic {
            Some(at) => self.compile_profile(&parts[at]),
            None => {
                let file: Arc<str> = "built-in".into();
                match super::parse_yaml(&file, GENERIC) {
                    Ok(doc) => {
                        let place = Place { file, line: 0, column: 0 };
                        self.compile_profile(&Placed { doc, place, layer: 0 });
                    }
                    Err(e) => self.errors.push(e),
                }
            }
        }
        for (at, part) in parts.iter().enumerate() {
            if Some(at) != generic {
                self.compile_profile(part);
            }
        }
    }

    fn compile_profile(&mut self, part: &Placed<ProfileDoc>) {
        let doc = &part.doc;
        let names = self.role_names(part);
        let select = doc.select.iter().filter_map(|s| self.compile_select(part, s)).collect();
        let mut roles = Vec::new();
        for (name, kind) in BUILT_IN {
            let expect = doc.expect.get(name);
            let rule =
                RuleRef { file: part.place.file.clone(), line: expect.map_or(part.place.line, |e| e.line) };
            let at = RoleAt { profile: &doc.name.value, name, kind, names: &names, rule: rule.clone() };
            let expect = self.compile_expect(part, &at, expect.map(|e| &e.value));
            roles.push(RoleSpec {
                name: name.into(),
                kind,
                parents: Vec::new(),
                image: ImagePattern::default(),
                only_by_becomes: false,
                below_author: false,
                forked: None,
                expect,
                detections: Default::default(),
                rule,
                why: None,
            });
        }
        for role in &doc.roles {
            let spec = self.compile_role(part, role, &names);
            roles.push(spec);
        }
        for (name, expect) in &doc.expect {
            let place = part.at(expect.line, expect.column);
            if name == "stray" {
                self.errors.push(place.error(
                    "nothing can be expected of a stray",
                    "give its process a role, or allow the exec that starts it",
                ));
            } else if !names.contains_key(name.as_str()) {
                self.errors.push(place.error(
                    format!("`expect`: there is no role `{name}` in this profile"),
                    suggest(name, names.keys().map(|k| &**k)),
                ));
            }
        }
        self.check_becomes(part, &roles);
        let attribution =
            doc.attribution.iter().filter_map(|a| self.compile_attribution(part, a, &names)).collect();
        self.profiles.push(Profile {
            name: doc.name.value.as_str().into(),
            title: doc.title.as_str().into(),
            engine: doc.engine.as_deref().unwrap_or(&doc.name.value).into(),
            select,
            roles,
            attribution,
            sources: doc.sources.clone(),
            cannot_see: doc.cannot_see.clone(),
            false_positives: doc.false_positives.clone(),
            rule: part.rule(),
        });
    }

    fn role_names(&mut self, part: &Placed<ProfileDoc>) -> HashMap<Arc<str>, RoleId> {
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

    fn compile_role(
        &mut self,
        part: &Placed<ProfileDoc>,
        role: &At<RoleDoc>,
        names: &HashMap<Arc<str>, RoleId>,
    ) -> RoleSpec {
        let doc = &role.value;
        let place = part.at(role.line, role.column);
        let rule = RuleRef { file: part.place.file.clone(), line: role.line };
        let parents =
            self.resolve(&part.at(doc.parent.line, doc.parent.column), "role", &doc.parent.value.0, names);
        if doc.parent.value.is_empty() {
            self.errors.push(
                place.error(format!("role `{}` has no parent", doc.name.value), "say which role starts it"),
            );
        }
        let image = self.image_pattern(
            &place,
            &doc.program.value,
            &doc.script.value,
            doc.argv.as_ref().map(|a| &*a.value),
        );
        let only_by_becomes = doc.only_by == Some(OnlyBy::Becomes);
        if image.is_empty() && !only_by_becomes {
            self.errors.push(place.error(
                format!("role `{}` does not say how its process is recognised", doc.name.value),
                "add `program`, `script` or `argv`, or `only_by: becomes`",
            ));
        }
        let forked = doc.forked.as_ref().and_then(|name| {
            let place = part.at(name.line, name.column);
            self.resolve(&place, "role", std::slice::from_ref(&name.value), names).first().copied()
        });
        if let Some(entered) = &doc.entered {
            self.errors.push(
                part.at(entered.line, entered.column).error("`entered` is not supported yet", "leave it out"),
            );
        }
        let kind = if doc.author { RoleKind::Author } else { RoleKind::Named };
        let at =
            RoleAt { profile: &part.doc.name.value, name: &doc.name.value, kind, names, rule: rule.clone() };
        let expect = part.doc.expect.get(&doc.name.value).map(|e| &e.value);
        let expect = self.compile_expect(part, &at, expect);
        RoleSpec {
            name: doc.name.value.as_str().into(),
            kind,
            parents: parents.into(),
            image,
            only_by_becomes,
            below_author: doc.below_author,
            forked,
            expect,
            detections: Default::default(),
            rule,
            why: doc.why.clone(),
        }
    }

    /// A role that is only given by `becomes` must be given by someone, and only by its parents.
    fn check_becomes(&mut self, part: &Placed<ProfileDoc>, roles: &[RoleSpec]) {
        let mut errors = Vec::new();
        for (id, role) in (0..).map(RoleId).zip(roles) {
            let givers: Vec<(RoleId, u32)> = (0..)
                .map(RoleId)
                .zip(roles)
                .flat_map(|(giver, r)| {
                    r.expect
                        .exec
                        .rules
                        .iter()
                        .filter(|i| i.becomes == Some(id))
                        .map(move |i| (giver, i.common.line))
                })
                .collect();
            if role.only_by_becomes && givers.is_empty() {
                errors.push(part.at(role.rule.line, 0).error(
                    format!(
                        "role `{}` is only given by `becomes`, but no allow item says `becomes: {0}`",
                        role.name
                    ),
                    "add one to the expectations of its parent",
                ));
            }
            for (giver, line) in givers {
                if !role.parents.contains(&giver) {
                    errors.push(part.at(line, 0).error(
                        format!(
                            "`becomes: {}`: `{}` is not a parent of that role",
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

    fn compile_select(&mut self, part: &Placed<ProfileDoc>, item: &At<SelectDoc>) -> Option<Select> {
        let place = part.at(item.line, item.column);
        let doc = &item.value;
        let empty = doc.cgroup.is_none()
            && doc.unit.is_none()
            && doc.image.is_none()
            && doc.pod_labels.is_empty()
            && doc.process.is_none();
        if empty {
            self.errors.push(place.error(
                "this item selects every worker",
                "give `cgroup`, `unit`, `image`, `pod_labels` or `process`",
            ));
            return None;
        }
        let mut paths = |text: &Option<String>| text.as_ref().map(|t| self.take(&place, Globs::paths([t])));
        let (cgroup, image) = (paths(&doc.cgroup), paths(&doc.image));
        let unit = doc.unit.as_ref().map(|t| self.take(&place, Globs::flat([t])));
        let pod_labels =
            doc.pod_labels.iter().map(|(k, v)| (k.clone(), self.take(&place, Globs::flat([v])))).collect();
        let process = doc.process.as_ref().map(|p| {
            let image = self.image_pattern(&place, &p.program, &p.script, p.argv.as_deref());
            if image.is_empty() {
                self.errors.push(place.error("`process` says nothing", "give `program`, `script` or `argv`"));
            }
            image
        });
        let rule = RuleRef { file: part.place.file.clone(), line: item.line };
        Some(Select { cgroup, unit, image, pod_labels, process, rule })
    }
}

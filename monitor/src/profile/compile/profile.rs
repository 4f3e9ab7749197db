//! Profiles: selection, roles, expectations.

use std::sync::Arc;

use super::item::Looks;
use super::section::RoleAt;
use super::{Compiler, Placed, is_name};
use crate::profile::actor::RoleKind;
use crate::profile::doc::{At, ProfileDoc, SelectDoc};
use crate::profile::error::{Place, suggest};
use crate::profile::finding::RuleRef;
use crate::profile::model::{ImagePattern, Profile, RoleSpec, Select};
use crate::profile::pattern::{ArgvPattern, Globs, Programs};

/// The roles every profile has, in the order of their ids.
pub(super) const BUILT_IN: [(&str, RoleKind); 5] = [
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
            let at = RoleAt {
                profile: &doc.name.value,
                name,
                kind,
                names: &names,
                facts: &doc.facts,
                rule: rule.clone(),
            };
            let expect = self.compile_expect(part, &at, expect.map(|e| &e.value));
            roles.push(RoleSpec {
                name: name.into(),
                kind,
                parents: Vec::new(),
                image: ImagePattern::default(),
                only_by: Box::default(),
                below_author: false,
                forked: None,
                holds: Box::default(),
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
        for (name, meaning) in &doc.facts {
            if !is_name(name) {
                self.errors.push(part.at(meaning.line, meaning.column).error(
                    format!("`{name}` is not a name for a fact"),
                    "use lower-case letters, digits, `_` and `-`, beginning with a letter",
                ));
            }
        }
        let entered = self.entered(part, &names);
        self.check_givers(part, &roles, entered);
        let probes =
            doc.probes.iter().map(|argv| self.probe(&part.at(argv.line, argv.column), &argv.value)).collect();
        trust_as_roles_do(&mut roles);
        let pinned = pinned(&roles);
        let attribution =
            doc.attribution.iter().filter_map(|a| self.compile_attribution(part, a, &names)).collect();
        self.profiles.push(Profile {
            name: doc.name.value.as_str().into(),
            title: doc.title.as_str().into(),
            engine: doc.engine.as_deref().unwrap_or(&doc.name.value).into(),
            select,
            facts: doc.facts.iter().map(|(k, v)| (Arc::from(k.as_str()), v.value.clone())).collect(),
            probes,
            entered,
            roles,
            pinned,
            attribution,
            sources: doc.sources.clone(),
            cannot_see: doc.cannot_see.clone(),
            false_positives: doc.false_positives.clone(),
            rule: part.rule(),
        });
    }

    fn probe(&mut self, place: &Place, argv: &[String]) -> ArgvPattern {
        // The arguments are all there is to know a probe by.
        if argv.iter().all(|element| matches!(element.as_str(), "*" | "**")) {
            self.errors.push(place.error("this probe is any command at all", "write its arguments"));
        }
        ArgvPattern::new(argv).unwrap_or_else(|e| {
            self.errors.push(place.error(e.to_string(), ""));
            ArgvPattern::default()
        })
    }

    fn compile_select(&mut self, part: &Placed<ProfileDoc>, item: &At<SelectDoc>) -> Option<Select> {
        let place = part.at(item.line, item.column);
        let doc = &item.value;
        let empty = doc.cgroup.is_none()
            && doc.unit.is_none()
            && doc.namespace.is_none()
            && doc.owner.is_none()
            && doc.container.is_none()
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
        let mut flat = |text: &Option<String>| text.as_ref().map(|t| self.take(&place, Globs::flat([t])));
        let unit = flat(&doc.unit);
        let (namespace, owner, container) = (flat(&doc.namespace), flat(&doc.owner), flat(&doc.container));
        let pod_labels =
            doc.pod_labels.iter().map(|(k, v)| (k.clone(), self.take(&place, Globs::flat([v])))).collect();
        let process = doc.process.as_ref().map(|p| {
            let looks = Looks {
                program: &p.program,
                script: &p.script,
                argv: p.argv.as_deref(),
                argv_none: &p.argv_none,
                trust: None,
            };
            let image = self.image_pattern(&place, &looks);
            if image.is_empty() {
                self.errors.push(place.error("`process` says nothing", "give `program`, `script` or `argv`"));
            }
            image
        });
        let rule = RuleRef { file: part.place.file.clone(), line: item.line };
        Some(Select { cgroup, unit, namespace, owner, container, image, pod_labels, process, rule })
    }
}

/// An item that only says `becomes` trusts the program as the role does that it gives.
fn trust_as_roles_do(roles: &mut [RoleSpec]) {
    let pinned: Vec<bool> = roles.iter().map(|r| r.image.pinned).collect();
    for rule in roles.iter_mut().flat_map(|r| &mut r.expect.exec.rules).filter(|r| r.image.is_empty()) {
        rule.image.pinned = rule.becomes.is_some_and(|role| pinned.get(usize::from(role.0)) == Some(&true));
    }
}

/// The programs of what says `trust: pinned`.
fn pinned(roles: &[RoleSpec]) -> Vec<Programs> {
    let items = roles.iter().flat_map(|r| &r.expect.exec.rules).map(|r| &r.image);
    let all = roles.iter().map(|r| &r.image).chain(items);
    all.filter(|image| image.pinned).map(|image| image.program.clone()).collect()
}

//! Allow items, one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Compiler;
use super::section::RoleAt;
use super::words::{self, either};
use crate::profile::actor::RoleId;
use crate::profile::doc::{
    AccessName, At, ConnectAllow, ExecAllow, FileAllow, IdentityAllow, OneOrMany, SocketAllow, Span,
    TrustName, UnixAllow,
};
use crate::profile::error::{Place, suggest};
use crate::profile::finding::LOADER_INJECTION;
use crate::profile::model::{
    Addresses, Common, ConnectRule, ExecRule, FileRule, IdentityRule, ImagePattern, SocketRule, UnixRule,
    access_bits,
};
use crate::profile::pattern::{ArgvPattern, Globs, Programs, Scripts, parse_networks, parse_ports};

/// How a program is to be recognised, as it is written.
#[derive(Clone, Copy)]
pub(super) struct Looks<'a> {
    pub(super) program: &'a OneOrMany<String>,
    pub(super) script: &'a OneOrMany<String>,
    pub(super) argv: Option<&'a [String]>,
    pub(super) argv_none: &'a OneOrMany<String>,
    pub(super) trust: Option<TrustName>,
}

impl<'a> Looks<'a> {
    fn of_item(item: &'a ExecAllow) -> Self {
        Self {
            program: &item.program,
            script: &item.script,
            argv: item.argv.as_deref(),
            argv_none: &item.argv_none,
            trust: item.trust,
        }
    }
}

/// What every allow item may say, as it is written.
struct Said<'a> {
    within: Option<Span>,
    condition: &'a Option<At<String>>,
    program: &'a OneOrMany<String>,
    permits: &'a At<OneOrMany<String>>,
    /// It covers too much to silence a detection.
    broad: bool,
}

macro_rules! said {
    ($item:expr, $broad:expr) => {
        Said {
            within: $item.within,
            condition: &$item.condition,
            program: &$item.program,
            permits: &$item.permits,
            broad: $broad,
        }
    };
}

impl Compiler {
    /// What every allow item may say.
    fn common(&mut self, role: &RoleAt<'_>, place: &Place, said: &Said<'_>) -> Common {
        let at = Place {
            file: place.file.clone(),
            line: if said.permits.line == 0 { place.line } else { said.permits.line },
            column: if said.permits.line == 0 { place.column } else { said.permits.column },
        };
        if said.broad && !said.permits.value.is_empty() {
            self.errors.push(at.error(
                "an item that says `any` silences no detection",
                format!("name exactly what permits {}", either(&said.permits.value.0)),
            ));
        }
        let (built_in, detections): (Vec<String>, Vec<String>) =
            said.permits.value.0.iter().cloned().partition(|id| id == LOADER_INJECTION);
        let table = std::mem::take(&mut self.detection_ids);
        let permits = self.resolve(&at, "detection", &detections, &table);
        self.detection_ids = table;
        Common {
            installed: false,
            within: said.within.map(|Span(d)| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)),
            condition: said.condition.as_ref().and_then(|c| self.fact(role.facts, place, &c.value)),
            program: self.take(place, Programs::new(said.program.iter())),
            permits,
            permits_loader: !built_in.is_empty(),
            words: String::new(),
            line: place.line,
        }
    }

    /// The name of a fact written as `$name`.
    fn fact(
        &mut self,
        declared: &BTreeMap<String, At<String>>,
        place: &Place,
        text: &str,
    ) -> Option<Arc<str>> {
        let Some(name) = text.strip_prefix('$') else {
            self.errors.push(
                place.error(
                    format!("`{text}` is no fact"),
                    format!("write `${text}` and declare it in `facts`"),
                ),
            );
            return None;
        };
        if !declared.contains_key(name) {
            self.errors.push(place.error(
                format!("the profile has no fact `{name}`"),
                match declared.is_empty() {
                    true => format!("declare it: `facts: {{ {name}: what it means }}`"),
                    false => suggest(name, declared.keys().map(String::as_str)),
                },
            ));
        }
        Some(name.into())
    }

    /// Networks, and facts that name places.
    fn addresses(&mut self, role: &RoleAt<'_>, place: &Place, texts: &[String]) -> Addresses {
        let (facts, networks): (Vec<&String>, Vec<&String>) = texts.iter().partition(|t| t.starts_with('$'));
        let facts = facts.into_iter().filter_map(|name| self.fact(role.facts, place, name)).collect();
        Addresses { networks: self.take(place, parse_networks(networks)), facts }
    }

    /// Program, script and argument patterns.
    pub(super) fn image_pattern(&mut self, place: &Place, looks: &Looks<'_>) -> ImagePattern {
        let pattern = ImagePattern {
            program: self.take(place, Programs::new(looks.program.iter())),
            script: self.take(place, Scripts::new(looks.script.iter())),
            argv: looks.argv.and_then(|argv| self.take(place, ArgvPattern::new(argv).map(Some))),
            argv_none: self.take(place, Globs::flat(looks.argv_none.iter())),
            pinned: looks.trust == Some(TrustName::Pinned),
            words: words::image(looks.program, looks.script, looks.argv),
        };
        if pattern.pinned && pattern.program.is_empty() {
            self.errors.push(place.error("`trust: pinned` does not say of which program", "add `program`"));
        }
        pattern
    }

    pub(super) fn exec_rule(&mut self, role: &RoleAt<'_>, place: &Place, item: &ExecAllow) -> ExecRule {
        let becomes = item.becomes.as_ref().and_then(|name| {
            let found = role.names.get(name.value.as_str()).copied().filter(|r| r.0 >= RoleId::FIRST_NAMED);
            if found.is_none() {
                self.errors.push(place.error(
                    format!("`becomes`: there is no role `{}` in this profile", name.value),
                    suggest(&name.value, role.names.keys().map(|k| &**k)),
                ));
            }
            found
        });
        let image = self.image_pattern(place, &Looks::of_item(item));
        if !item.any && image.is_empty() && item.becomes.is_none() {
            self.errors.push(
                place.error("this item allows everything", "say what is allowed, or write `any: true`"),
            );
        }
        // `program` is the one that is executed, not the one that executes.
        let nothing = OneOrMany::default();
        let said = Said { program: &nothing, ..said!(item, item.any) };
        let common = Common { words: words::exec(item), ..self.common(role, place, &said) };
        ExecRule { any: item.any, becomes, image, common }
    }

    pub(super) fn identity_rule(
        &mut self,
        role: &RoleAt<'_>,
        place: &Place,
        item: &IdentityAllow,
    ) -> IdentityRule {
        if !item.any && item.id.value.is_empty() && item.class.value.is_empty() {
            self.errors.push(
                place.error("this item allows every identity", "give `id` or `class`, or write `any: true`"),
            );
        }
        if item.installed && item.program.is_empty() {
            self.errors.push(place.error("`installed` does not say which program", "add `program`"));
        }
        let ids = self.identity_set(place, &item.id.value.0, &item.class.value.0);
        let script = self.take(place, Scripts::new(item.script.iter()));
        let common = self.common(role, place, &said!(item, item.any));
        IdentityRule {
            script,
            any: item.any,
            own: item.own,
            ids,
            access: access_bits(item.access.unwrap_or(AccessName::Read)),
            common: Common { words: words::identity(item), installed: item.installed, ..common },
        }
    }

    pub(super) fn connect_rule(
        &mut self,
        role: &RoleAt<'_>,
        place: &Place,
        item: &ConnectAllow,
    ) -> ConnectRule {
        let bare = item.scope.is_empty() && item.address.value.is_empty() && item.endpoint.value.is_empty();
        if bare {
            self.errors.push(place.error(
                "this item does not say where to",
                "add `scope: any` (or loopback, link_local, private, public), `address` or `endpoint`",
            ));
        }
        let to = self.take(place, parse_ports(item.to.value.iter()));
        let address = self.addresses(role, place, &item.address.value.0);
        let endpoint = self.endpoint_set(place, &item.endpoint.value.0);
        // A scope alone never silences; what names an endpoint or a network does.
        let broad =
            item.endpoint.value.is_empty() && item.address.value.is_empty() && item.to.value.is_empty();
        let common = self.common(role, place, &said!(item, broad));
        let common = Common { words: words::connect(item), ..common };
        ConnectRule { to, scope: item.scope.0.clone().into(), address, endpoint, common }
    }

    pub(super) fn unix_rule(&mut self, role: &RoleAt<'_>, place: &Place, item: &UnixAllow) -> UnixRule {
        if !item.any && item.path.value.is_empty() {
            self.errors
                .push(place.error("this item allows every socket", "give `path`, or write `any: true`"));
        }
        let path = self.take(place, Globs::paths(item.path.value.iter()));
        let common = self.common(role, place, &said!(item, item.any));
        UnixRule { any: item.any, path, common: Common { words: words::unix(item), ..common } }
    }

    pub(super) fn file_rule(&mut self, role: &RoleAt<'_>, place: &Place, item: &FileAllow) -> FileRule {
        if item.path.value.is_empty() && item.proc.is_empty() {
            self.errors.push(place.error("this item allows every file", "give `path` or `proc`"));
        }
        if item.permits.value.is_empty() {
            self.errors.push(place.error(
                "this item does nothing: watched files that are no identity are expected unless a detection says otherwise",
                "name the detections it silences in `permits`",
            ));
        }
        let path = self.take(place, Globs::paths(item.path.value.iter()));
        let common = self.common(role, place, &said!(item, false));
        FileRule {
            path,
            proc: item.proc.0.clone().into(),
            of: item.of.0.clone().into(),
            own: item.own,
            access: access_bits(item.access.unwrap_or(AccessName::Read)),
            common: Common { words: words::file(item), ..common },
        }
    }

    pub(super) fn socket_rule(&mut self, role: &RoleAt<'_>, place: &Place, item: &SocketAllow) -> SocketRule {
        let family = self.families(place, &item.family.value.0);
        let common = self.common(role, place, &said!(item, false));
        SocketRule { family, common: Common { words: words::socket(item), ..common } }
    }
}

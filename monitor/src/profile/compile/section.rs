//! Expectations: the allow items of a role, by signal.

use std::collections::HashMap;
use std::sync::Arc;

use super::words::{self, either};
use super::{Compiler, Placed};
use crate::profile::actor::{RoleId, RoleKind};
use crate::profile::doc::{
    AccessName, At, ConnectAllow, ExecAllow, ExpectDoc, FileAllow, IdentityAllow, OneOrMany, ProfileDoc,
    Section, SocketAllow, Span, TrustName, UnixAllow,
};
use crate::profile::error::{Place, suggest};
use crate::profile::finding::{RuleRef, Tier};
use crate::profile::model::{
    Common, ConnectRule, ExecRule, Expect, FileRule, IdentityRule, ImagePattern, SectionSpec, SocketRule,
    UnixRule, access_bits,
};
use crate::profile::pattern::{ArgvPattern, Globs, Programs, parse_networks, parse_ports};

/// The role whose expectations are compiled.
pub(super) struct RoleAt<'a> {
    pub(super) profile: &'a str,
    pub(super) name: &'a str,
    pub(super) kind: RoleKind,
    pub(super) names: &'a HashMap<Arc<str>, RoleId>,
    /// Where the role is defined: the place of what is not said.
    pub(super) rule: RuleRef,
}

/// What everything else is, if `else` does not say.
fn default_else(signal: &str, kind: RoleKind) -> Option<Tier> {
    match (signal, kind) {
        ("exec" | "connect", RoleKind::Probe) => None,
        ("exec", RoleKind::Named | RoleKind::Stray) => Some(Tier::Boundary),
        ("exec" | "connect", _) => Some(Tier::Deviation),
        ("identities", _) => Some(Tier::Identity),
        _ => None,
    }
}

impl Compiler {
    /// The expectations of one role; `doc` is `None` when the profile says nothing of it.
    pub(super) fn compile_expect(
        &mut self,
        part: &Placed<ProfileDoc>,
        role: &RoleAt<'_>,
        doc: Option<&ExpectDoc>,
    ) -> Expect {
        let doc = doc.cloned().unwrap_or_default();
        if let Some(section) = &doc.files
            && section.value.otherwise.is_some()
        {
            self.errors.push(part.at(section.line, section.column).error(
                "`files` has no `else`: which files are watched is said by detections",
                "leave `else` out",
            ));
        }
        Expect {
            exec: self.section(part, role, "exec", doc.exec.as_ref(), Self::exec_rule),
            identities: self.section(part, role, "identities", doc.identities.as_ref(), Self::identity_rule),
            connect: self.section(part, role, "connect", doc.connect.as_ref(), Self::connect_rule),
            unix: self.section(part, role, "unix", doc.unix.as_ref(), Self::unix_rule),
            files: self.section(part, role, "files", doc.files.as_ref(), Self::file_rule),
            socket: self.section(part, role, "socket", doc.socket.as_ref(), Self::socket_rule),
        }
    }

    fn section<A, R: HasCommon>(
        &mut self,
        part: &Placed<ProfileDoc>,
        role: &RoleAt<'_>,
        signal: &'static str,
        doc: Option<&At<Section<A>>>,
        compile: fn(&mut Self, &RoleAt<'_>, &Place, &A) -> R,
    ) -> SectionSpec<R> {
        let mut rules = Vec::new();
        let mut rule = role.rule.clone();
        let mut otherwise = default_else(signal, role.kind);
        if let Some(section) = doc {
            rule.line = section.line;
            if section.value.otherwise.is_some() {
                otherwise = section.value.otherwise;
            }
            for item in &section.value.allow {
                let place = part.at(item.line, item.column);
                let mut compiled = compile(self, role, &place, &item.value);
                compiled.common_mut().line = item.line;
                rules.push(compiled);
            }
        }
        let verb = match signal {
            "exec" => "execute",
            "identities" => "use",
            "connect" => "connect to",
            "unix" => "connect to the sockets",
            "files" => "open",
            _ => "create sockets of",
        };
        let said: Vec<String> = rules.iter().map(|r| r.common().words.clone()).collect();
        let what = match (said.is_empty(), signal) {
            (false, _) => said.join("; "),
            (true, "identities") => "no identity".to_owned(),
            (true, _) => "nothing".to_owned(),
        };
        let words = format!("role {} of profile {} may {verb}: {what}", role.name, role.profile).into();
        SectionSpec { rules, otherwise, rule, words }
    }

    /// What every allow item may say.
    fn common(
        &mut self,
        place: &Place,
        within: Option<Span>,
        program: &OneOrMany<String>,
        permits: &At<OneOrMany<String>>,
        broad: bool,
    ) -> Common {
        let at = Place {
            file: place.file.clone(),
            line: if permits.line == 0 { place.line } else { permits.line },
            column: if permits.line == 0 { place.column } else { permits.column },
        };
        if broad && !permits.value.is_empty() {
            self.errors.push(at.error(
                "an item that says `any` silences no detection",
                format!("name exactly what permits {}", either(&permits.value.0)),
            ));
        }
        let table = std::mem::take(&mut self.detection_ids);
        let permits = self.resolve(&at, "detection", &permits.value.0, &table);
        self.detection_ids = table;
        Common {
            within: within.map(|Span(d)| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)),
            program: self.take(place, Programs::new(program.iter())),
            permits,
            words: String::new(),
            line: place.line,
        }
    }

    /// Program, script and argument patterns.
    pub(super) fn image_pattern(
        &mut self,
        place: &Place,
        program: &OneOrMany<String>,
        script: &OneOrMany<String>,
        argv: Option<&[String]>,
    ) -> ImagePattern {
        ImagePattern {
            program: self.take(place, Programs::new(program.iter())),
            script: self.take(place, Globs::paths(script.iter())),
            argv: argv.and_then(|argv| self.take(place, ArgvPattern::new(argv).map(Some))),
            words: words::image(program, script, argv),
        }
    }

    fn exec_rule(&mut self, role: &RoleAt<'_>, place: &Place, item: &ExecAllow) -> ExecRule {
        if item.trust == Some(TrustName::Pinned) {
            self.errors.push(place.error(
                "`trust: pinned` is not supported yet",
                "leave it out; the executable must be of the image",
            ));
        }
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
        let image = self.image_pattern(place, &item.program, &item.script, item.argv.as_deref());
        if !item.any && image.is_empty() && becomes.is_none() {
            self.errors.push(
                place.error("this item allows everything", "say what is allowed, or write `any: true`"),
            );
        }
        let mut common = self.common(place, item.within, &OneOrMany::default(), &item.permits, item.any);
        common.words = words::exec(item);
        ExecRule { any: item.any, becomes, image, common }
    }

    fn identity_rule(&mut self, _: &RoleAt<'_>, place: &Place, item: &IdentityAllow) -> IdentityRule {
        if item.own.is_some() {
            self.errors.push(place.error("`own` is not supported yet", "name the identities by `id`"));
        }
        if !item.any && item.id.value.is_empty() && item.class.value.is_empty() {
            self.errors.push(
                place.error("this item allows every identity", "give `id` or `class`, or write `any: true`"),
            );
        }
        let ids = self.identity_set(place, &item.id.value.0, &item.class.value.0);
        let script = self.take(place, Globs::paths(item.script.iter()));
        let mut common = self.common(place, item.within, &item.program, &item.permits, item.any);
        common.words = words::identity(item);
        IdentityRule {
            script,
            any: item.any,
            ids,
            access: access_bits(item.access.unwrap_or(AccessName::Read)),
            common,
        }
    }

    fn connect_rule(&mut self, _: &RoleAt<'_>, place: &Place, item: &ConnectAllow) -> ConnectRule {
        let bare = item.scope.is_empty() && item.address.value.is_empty() && item.endpoint.value.is_empty();
        if bare {
            self.errors.push(place.error(
                "this item does not say where to",
                "add `scope: any` (or loopback, link_local, private, public), `address` or `endpoint`",
            ));
        }
        let to = self.take(place, parse_ports(item.to.value.iter()));
        let address = self.take(place, parse_networks(item.address.value.iter()));
        let endpoint = self.endpoint_set(place, &item.endpoint.value.0);
        // A scope alone never silences; what names an endpoint or a network does.
        let broad =
            item.endpoint.value.is_empty() && item.address.value.is_empty() && item.to.value.is_empty();
        let mut common = self.common(place, item.within, &item.program, &item.permits, broad);
        common.words = words::connect(item);
        ConnectRule { to, scope: item.scope.0.clone().into(), address, endpoint, common }
    }

    fn unix_rule(&mut self, _: &RoleAt<'_>, place: &Place, item: &UnixAllow) -> UnixRule {
        if !item.any && item.path.value.is_empty() {
            self.errors
                .push(place.error("this item allows every socket", "give `path`, or write `any: true`"));
        }
        let path = self.take(place, Globs::paths(item.path.value.iter()));
        let mut common = self.common(place, item.within, &item.program, &item.permits, item.any);
        common.words = words::unix(item);
        UnixRule { any: item.any, path, common }
    }

    fn file_rule(&mut self, _: &RoleAt<'_>, place: &Place, item: &FileAllow) -> FileRule {
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
        let mut common = self.common(place, item.within, &item.program, &item.permits, false);
        common.words = words::file(item);
        FileRule {
            path,
            proc: item.proc.0.clone().into(),
            of: item.of.0.clone().into(),
            access: access_bits(item.access.unwrap_or(AccessName::Read)),
            common,
        }
    }

    fn socket_rule(&mut self, _: &RoleAt<'_>, place: &Place, item: &SocketAllow) -> SocketRule {
        let family = self.families(place, &item.family.value.0);
        let mut common = self.common(place, item.within, &item.program, &item.permits, false);
        common.words = words::socket(item);
        SocketRule { family, common }
    }
}

/// Rules that have a [`Common`] part.
pub(crate) trait HasCommon {
    fn common(&self) -> &Common;
    fn common_mut(&mut self) -> &mut Common;
}

macro_rules! has_common {
    ($($rule:ty),*) => { $(impl HasCommon for $rule {
        fn common(&self) -> &Common { &self.common }
        fn common_mut(&mut self) -> &mut Common { &mut self.common }
    })* };
}
has_common!(ExecRule, IdentityRule, ConnectRule, UnixRule, FileRule, SocketRule);

//! Expectations: the allow items of a role, by signal.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Compiler, Placed};
use crate::profile::actor::{RoleId, RoleKind};
use crate::profile::doc::{At, ExpectDoc, ProfileDoc, Section};
use crate::profile::error::Place;
use crate::profile::finding::{RuleRef, Tier};
use crate::profile::model::{
    Common, ConnectRule, ExecRule, Expect, FileRule, IdentityRule, SectionSpec, SocketRule, UnixRule,
};

/// The role whose expectations are compiled.
pub(super) struct RoleAt<'a> {
    pub(super) profile: &'a str,
    pub(super) name: &'a str,
    pub(super) kind: RoleKind,
    pub(super) names: &'a HashMap<Arc<str>, RoleId>,
    /// The facts that the profile lets a site state.
    pub(super) facts: &'a BTreeMap<String, At<String>>,
    /// Where the role is defined: the place of what is not said.
    pub(super) rule: RuleRef,
}

/// What everything else is, if `else` does not say.
fn default_else(signal: &str, kind: RoleKind) -> Option<Tier> {
    match (signal, kind) {
        ("exec" | "connect", RoleKind::Probe | RoleKind::Operator) => None,
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
        SectionSpec { rules, excepted: Vec::new(), otherwise, rule, words }
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

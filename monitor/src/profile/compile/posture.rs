//! Postures.

use std::sync::Arc;

use super::{Compiler, Placed};
use crate::alert::Severity;
use crate::profile::doc::{MountDoc, OneOrMany, PostureDoc, SetupDoc, SeverityName};
use crate::profile::error::{Place, suggest};
use crate::profile::model::{Asks, AsksMount, Posture};
use crate::profile::pattern::{ArgvAny, Globs};
use crate::profile::setup;
use crate::worker::is_credential_name;

impl Compiler {
    /// Compiles them; after the profiles, whose names they may give.
    pub(super) fn compile_postures(&mut self, parts: &[Placed<PostureDoc>]) {
        for part in parts {
            let doc = &part.doc;
            self.warn_of_unknown_profiles(part);
            let place = part.at(doc.matches.line, doc.matches.column);
            let asks = self.compile_setup(&place, &doc.matches.value);
            self.postures.push(Posture {
                id: doc.id.value.as_str().into(),
                title: doc.title.as_str().into(),
                profiles: doc.profiles.value.iter().map(|name| name.as_str().into()).collect(),
                asks,
                severity: match doc.severity {
                    SeverityName::Low => Severity::Low,
                    SeverityName::Medium => Severity::Medium,
                    SeverityName::High => Severity::High,
                },
                reaches_host: doc.reaches_host,
                respond: doc.respond.clone(),
                refs: doc.refs.clone(),
                rule: part.rule(),
            });
        }
    }

    /// A warning: the profile may be one that is not installed here.
    fn warn_of_unknown_profiles(&mut self, part: &Placed<PostureDoc>) {
        let known: Vec<&str> = self.profiles.iter().map(|profile| &*profile.name).collect();
        let (file, line) = (&part.place.file, part.doc.profiles.line);
        let unknown = part.doc.profiles.value.iter().filter(|name| !known.contains(&name.as_str()));
        let said: Vec<String> = unknown
            .map(|name| {
                let fix = suggest(name, known.iter().copied());
                let id = &part.doc.id.value;
                format!(
                    "{file}:{line}: posture `{id}` names the profile `{name}`, which is not loaded; {fix}"
                )
            })
            .collect();
        self.warnings.extend(said);
    }

    fn compile_setup(&mut self, place: &Place, doc: &SetupDoc) -> Asks {
        self.check_setup(place, doc);
        let mut capabilities = 0;
        for name in doc.capabilities.iter() {
            match setup::bit(name) {
                Some(bit) => capabilities |= bit,
                None => {
                    self.errors.push(place.error(
                        format!("there is no capability `{name}`"),
                        suggest(name, setup::CAPABILITIES),
                    ))
                }
            }
        }
        let unless_expected = doc.unless_expected.as_ref().and_then(|id| {
            let found = self.identity_set(place, std::slice::from_ref(id), &[]);
            found.first().copied()
        });
        let env = doc.env.iter().map(|(name, globs)| {
            self.check_variable(place, name);
            (Arc::from(name.as_str()), self.take(place, Globs::flat(globs.iter())))
        });
        let env = env.collect();
        let mount = doc.mount.as_ref().map(|mount| self.compile_mount(place, mount));
        Asks {
            container: doc.container,
            shares: doc.shares.iter().copied().collect(),
            capabilities,
            privileged: doc.privileged,
            uid: doc.uid,
            root_writable: doc.root_writable,
            seccomp: doc.seccomp,
            mount,
            block_devices: doc.block_devices,
            unless_expected,
            credentials: doc.credentials,
            env,
            env_absent: doc.env_absent.iter().map(|name| name.as_str().into()).collect(),
            argv_any: self.take(place, ArgvAny::new(&doc.argv_any)),
            argv_none: self.take(place, ArgvAny::new(&doc.argv_none)),
        }
    }

    fn compile_mount(&mut self, place: &Place, doc: &MountDoc) -> AsksMount {
        let mut paths = |globs: &OneOrMany<String>| self.take(place, Globs::paths(globs.iter()));
        AsksMount {
            host: paths(&doc.host),
            not_host: paths(&doc.not_host),
            point: paths(&doc.point),
            not_point: paths(&doc.not_point),
            kind: self.take(place, Globs::flat(doc.kind.iter())),
            writable: doc.writable,
        }
    }

    /// A posture has to ask for something that not every worker has.
    fn check_setup(&mut self, place: &Place, doc: &SetupDoc) {
        let tells = !doc.shares.is_empty()
            || !doc.capabilities.is_empty()
            || doc.privileged.is_some()
            || doc.uid.is_some()
            || doc.root_writable.is_some()
            || doc.seccomp.is_some()
            || doc.mount.is_some()
            || doc.block_devices.is_some()
            || doc.credentials.is_some()
            || !doc.env.is_empty()
            || !doc.env_absent.is_empty()
            || !doc.argv_any.is_empty();
        if !tells {
            self.errors.push(place.error(
                "this posture is every worker's",
                "give `shares`, `capabilities`, `privileged`, `mount`, `env`, `argv_any` or another key that tells",
            ));
        }
    }

    /// The value of a credential is not looked at, whatever a rule says.
    fn check_variable(&mut self, place: &Place, name: &str) {
        if is_credential_name(name) {
            self.errors.push(place.error(
                format!("`env` asks for the value of `{name}`, which looks like a credential"),
                "values of credentials are never read; `credentials: true` tells that there is one",
            ));
        }
    }
}

//! The identity catalogue.

use std::sync::Arc;

use monitor_common::filter::access;

use super::{Compiler, Placed};
use crate::profile::doc::IdentityDoc;
use crate::profile::finding::Identity;
use crate::profile::pattern::{Glob, Globs, braces};

/// Classes of identities.
const CLASSES: [&str; 11] =
    ["host", "k8s", "cloud", "scm", "registry", "engine", "saas", "ssh", "mesh", "db", "secret-manager"];

impl Compiler {
    pub(super) fn compile_identities(&mut self, parts: &[Placed<IdentityDoc>]) {
        for part in parts {
            let doc = &part.doc;
            let Ok(at) = u16::try_from(self.identities.all.len()) else {
                self.errors.push(part.place.error("there are more than 65,535 identities", "leave some out"));
                return;
            };
            let class = &doc.class;
            if !CLASSES.contains(&class.value.as_str()) {
                self.errors.push(part.at(class.line, class.column).error(
                    format!("unknown class `{}`", class.value),
                    crate::profile::error::suggest(&class.value, CLASSES),
                ));
            }
            if doc.paths.value.is_empty() && doc.sockets.value.is_empty() {
                self.errors.push(part.place.error(
                    format!("identity `{}` has neither `paths` nor `sockets`", doc.id.value),
                    "say where it is to be found",
                ));
            }
            let id: Arc<str> = doc.id.value.as_str().into();
            let place = part.at(doc.paths.line, doc.paths.column);
            for pattern in doc.paths.value.iter() {
                if !(pattern.starts_with('/')
                    || pattern.starts_with("~/")
                    || pattern.starts_with("**/")
                    || pattern.starts_with('{'))
                {
                    self.errors.push(place.error(
                        format!("path `{pattern}` is not absolute"),
                        "begin it with `/`, `~/` (any home folder) or `**/`",
                    ));
                    continue;
                }
                let alternatives =
                    self.take(&place, braces(pattern).map_err(|e| format!("path `{pattern}`: {e}")));
                for alternative in alternatives {
                    match Glob::path(&alternative) {
                        Ok(glob) => {
                            self.watched.add(
                                &glob,
                                &alternative,
                                access::READ | access::WRITE,
                                &part.rule(),
                                Some(&id),
                                &place,
                            );
                            self.identities.paths.insert(glob, at);
                        }
                        Err(e) => self.errors.push(place.error(format!("path `{pattern}`: {e}"), "")),
                    }
                }
            }
            let place = part.at(doc.sockets.line, doc.sockets.column);
            for pattern in doc.sockets.value.iter() {
                let alternatives =
                    self.take(&place, braces(pattern).map_err(|e| format!("socket `{pattern}`: {e}")));
                for alternative in alternatives {
                    match Glob::path(&alternative) {
                        Ok(glob) => self.identities.sockets.insert(glob, at),
                        Err(e) => self.errors.push(place.error(format!("socket `{pattern}`: {e}"), "")),
                    }
                }
            }
            let place = part.at(doc.except.line, doc.except.column);
            let except = self.take(&place, Globs::paths(doc.except.value.iter()));
            self.identities.except.push(except);
            self.identities.by_id.insert(id.clone(), at);
            self.identities.all.push(Arc::new(Identity {
                id,
                class: class.value.as_str().into(),
                gives: doc.gives.as_str().into(),
                respond: doc.respond.clone(),
                refs: doc.refs.clone(),
                rule: part.rule(),
            }));
        }
    }

    /// Identities of these ids and classes.
    pub(super) fn identity_set(
        &mut self,
        place: &crate::profile::error::Place,
        ids: &[String],
        classes: &[String],
    ) -> Box<[u16]> {
        let table = std::mem::take(&mut self.identities.by_id);
        let mut out = self.resolve(place, "identity", ids, &table).into_vec();
        self.identities.by_id = table;
        for class in classes {
            if !CLASSES.contains(&class.as_str()) {
                self.errors.push(place.error(
                    format!("unknown class `{class}`"),
                    crate::profile::error::suggest(class, CLASSES),
                ));
            }
            out.extend(
                (0..).zip(&self.identities.all).filter(|(_, i)| *i.class == **class).map(|(at, _)| at),
            );
        }
        out.into()
    }
}

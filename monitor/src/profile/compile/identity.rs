//! The identity catalogue.

use std::sync::Arc;

use monitor_common::filter::access;

use super::{Compiler, Placed};
use crate::profile::doc::IdentityDoc;
use crate::profile::error::Place;
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
            let lies_nowhere = doc.paths.value.is_empty() && doc.sockets.value.is_empty();
            if lies_nowhere && doc.variables.value.is_empty() {
                self.in_memory_only.push((at, part.place.clone()));
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
            let place = part.at(doc.variables.line, doc.variables.column);
            for pattern in doc.variables.value.iter().filter(|pattern| !is_variable(pattern)) {
                self.errors.push(place.error(
                    format!("`{pattern}` is not the name of an environment variable"),
                    "use letters, digits and `_`, with `*` for any of them; never `*` alone",
                ));
            }
            let variables = self.take(&place, Globs::flat(doc.variables.value.iter()));
            self.identities.variables.push(variables);
            self.identities.by_id.insert(id.clone(), at);
            self.identities.all.push(Arc::new(Identity {
                id,
                class: class.value.as_str().into(),
                gives: doc.gives.as_str().into(),
                places: doc
                    .paths
                    .value
                    .iter()
                    .chain(doc.sockets.value.iter())
                    .cloned()
                    .chain(doc.variables.value.iter().map(|name| format!("${name}")))
                    .collect(),
                respond: doc.respond.clone(),
                refs: doc.refs.clone(),
                rule: part.rule(),
            }));
        }
    }

    /// An identity that is neither a file nor a socket nor a variable has to be in some role's memory. A warning, as the
    /// profile that says so may be one that a site has replaced.
    pub(super) fn warn_of_identities_nowhere(&mut self) {
        for (at, place) in std::mem::take(&mut self.in_memory_only) {
            if !self.held.contains(&at) {
                let (Place { file, line, .. }, id) = (place, &self.identities.get(at).id);
                self.warnings.push(format!(
                    "{file}:{line}: identity `{id}` is nowhere to be found: it has neither `paths`, `sockets` nor `variables`, \
                     and no role `holds` it"
                ));
            }
        }
    }

    /// Identities of these ids and classes.
    pub(super) fn identity_set(&mut self, place: &Place, ids: &[String], classes: &[String]) -> Box<[u16]> {
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

/// The name of an environment variable, or a pattern that says more than "any".
fn is_variable(pattern: &str) -> bool {
    pattern.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '*'))
        && pattern.chars().filter(|c| *c != '*').count() >= 3
}

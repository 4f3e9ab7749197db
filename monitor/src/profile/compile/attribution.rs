//! Attribution items.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use monitor_common::filter::access;

use super::{Compiler, ENV_NAMES_MAX, Placed};
use crate::profile::actor::{RoleId, RoleKind};
use crate::profile::attribution::{ArgvCapture, Attribution, Field, IdAt, IdSource, IdTrust, PathCapture};
use crate::profile::doc::{At, AttributionDoc, OneOrMany, ProfileDoc};
use crate::profile::error::{Place, suggest};
use crate::profile::finding::RuleRef;

/// The places an item may look at.
const SOURCES: [&str; 9] =
    ["env", "argv", "cwd", "script", "open", "label", "annotation", "owner", "event_log"];

impl Compiler {
    pub(super) fn compile_attribution(
        &mut self,
        part: &Placed<ProfileDoc>,
        item: &At<AttributionDoc>,
        names: &HashMap<Arc<str>, RoleId>,
    ) -> Option<Attribution> {
        let doc = &item.value;
        let place = part.at(item.line, item.column);
        let rule = RuleRef { file: part.place.file.clone(), line: item.line };
        let field = self.word(part, &doc.field, "field", Field::ALL, Field::name);
        let trust = self.word(part, &doc.trust, "trust", IdTrust::ALL, IdTrust::name);
        let source = self.id_source(part, doc, &place, &rule);
        let at = self.id_at(part, doc, names);
        let (field, trust, source, at) = (field?, trust?, source?, at?);
        let filled = match &source {
            IdSource::Env(_)
            | IdSource::Flag(_)
            | IdSource::Label(_)
            | IdSource::Annotation(_)
            | IdSource::Owner(_) => vec![field],
            IdSource::EventLog(_) => vec![Field::Run],
            IdSource::Argv(pattern) => pattern.fields(),
            IdSource::Cwd(pattern) | IdSource::Script(pattern) | IdSource::Open(pattern) => pattern.fields(),
        };
        if !filled.contains(&field) {
            self.errors.push(place.error(
                format!("the pattern does not say where `{}` stands", field.name()),
                format!("write `{{{}}}` in its place", field.name()),
            ));
        }
        if matches!(source, IdSource::EventLog(_)) && trust != IdTrust::Candidate {
            self.errors.push(place.error(
                "an event log says what ran at that time, not who did it",
                "write `trust: candidate`",
            ));
        }
        if matches!(source, IdSource::Annotation(_)) && trust > IdTrust::Author {
            self.errors.push(place.error(
                format!("who writes a job may write its annotations, so their trust cannot be `{}`", trust.name()),
                "write `trust: author` or `candidate`, or take it from a label that the controller forces, or the owner",
            ));
        }
        if let IdAt::Role(role) = at
            && author_side(part, role, names)
            && trust > IdTrust::Author
        {
            self.errors.push(place.error(
                format!("author code could forge this, so its trust cannot be `{}`", trust.name()),
                "write `trust: author` or `candidate`, or take it at a role of the engine's",
            ));
        }
        Some(Attribution { field, source, at, trust, rule })
    }

    fn word<T: Copy, const N: usize>(
        &mut self,
        part: &Placed<ProfileDoc>,
        given: &At<String>,
        what: &str,
        valid: [T; N],
        name: impl Fn(T) -> &'static str,
    ) -> Option<T> {
        let found = valid.into_iter().find(|value| name(*value) == given.value);
        if found.is_none() {
            self.errors.push(part.at(given.line, given.column).error(
                format!("unknown {what} `{}`", given.value),
                suggest(&given.value, valid.into_iter().map(&name)),
            ));
        }
        found
    }

    fn id_source(
        &mut self,
        part: &Placed<ProfileDoc>,
        doc: &AttributionDoc,
        place: &Place,
        rule: &RuleRef,
    ) -> Option<IdSource> {
        let from = doc.from.value.as_str();
        // Which keys go with which place.
        let wants = match from {
            "env" | "label" | "annotation" | "owner" => ["name"].as_slice(),
            "argv" => &["flag", "pattern"],
            "cwd" | "script" | "open" | "event_log" => &["pattern"],
            other => {
                self.errors.push(
                    part.at(doc.from.line, doc.from.column)
                        .error(format!("unknown source `{other}`"), suggest(other, SOURCES)),
                );
                return None;
            }
        };
        let given =
            [("name", doc.name.is_some()), ("flag", doc.flag.is_some()), ("pattern", doc.pattern.is_some())];
        let given: Vec<&str> = given.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect();
        match given.as_slice() {
            [one] if wants.contains(one) => {}
            _ => {
                self.errors.push(place.error(
                    format!("`from: {from}` takes {}", wants.join(" or ")),
                    format!("give exactly one of: {}", wants.join(", ")),
                ));
                return None;
            }
        }
        if let Some(name) = &doc.name {
            let value: Arc<str> = name.value.as_str().into();
            match from {
                "label" => return Some(IdSource::Label(value)),
                "annotation" => return Some(IdSource::Annotation(value)),
                "owner" => return Some(IdSource::Owner(value)),
                _ => {}
            }
            self.env_names.insert(value.clone());
            self.count_env_names(part, place);
            return Some(IdSource::Env(value));
        }
        if let Some(flag) = &doc.flag {
            return Some(IdSource::Flag(flag.value.as_str().into()));
        }
        let pattern = doc.pattern.as_ref()?;
        let at = part.at(pattern.line, pattern.column);
        let compiled = if from == "event_log" {
            logs(&pattern.value).map(IdSource::EventLog)
        } else if from == "argv" {
            ArgvCapture::new(&pattern.value.0).map(IdSource::Argv)
        } else {
            one_path(&pattern.value).map(|pattern| match from {
                "cwd" => IdSource::Cwd(pattern),
                "script" => IdSource::Script(pattern),
                _ => IdSource::Open(pattern),
            })
        };
        match compiled {
            Ok(source) => {
                if let IdSource::Open(pattern) = &source {
                    self.watch_ids(pattern, rule, &at);
                }
                Some(source)
            }
            Err(what) => {
                self.errors.push(at.error(what, ""));
                None
            }
        }
    }

    /// The kernel has to report the opens that an item looks at.
    fn watch_ids(&mut self, pattern: &PathCapture, rule: &RuleRef, place: &Place) {
        let (text, glob) = pattern.glob();
        match glob {
            Ok(glob) => {
                self.watched.add(&glob, &text, access::READ | access::WRITE, rule, None, place);
            }
            Err(what) => self.errors.push(place.error(what, "")),
        }
    }

    fn id_at(
        &mut self,
        part: &Placed<ProfileDoc>,
        doc: &AttributionDoc,
        names: &HashMap<Arc<str>, RoleId>,
    ) -> Option<IdAt> {
        let open = doc.from.value == "open";
        let Some(at) = &doc.at else { return Some(if open { IdAt::EngineSide } else { IdAt::Author }) };
        let place = part.at(at.line, at.column);
        if at.value == "author" && !names.contains_key("author") {
            if open {
                self.errors.push(place.error(
                    "what author code opens says what author code wants",
                    "name a role on the engine's side",
                ));
                return None;
            }
            return Some(IdAt::Author);
        }
        let role = *self.resolve(&place, "role", std::slice::from_ref(&at.value), names).first()?;
        if open && author_side(part, role, names) {
            self.errors.push(place.error(
                format!("`{}` is below author code: what it opens says what author code wants", at.value),
                "name a role on the engine's side",
            ));
            return None;
        }
        Some(IdAt::Role(role))
    }

    fn count_env_names(&mut self, part: &Placed<ProfileDoc>, place: &Place) {
        let asked = part.doc.attribution.iter().filter(|a| a.value.from.value == "env");
        let distinct: BTreeSet<&String> =
            asked.filter_map(|a| a.value.name.as_ref()).map(|name| &name.value).collect();
        if distinct.len() > ENV_NAMES_MAX {
            self.errors.push(place.error(
                format!("the profile asks for more than {ENV_NAMES_MAX} environment variables"),
                "leave some out",
            ));
        }
    }
}

fn logs(paths: &OneOrMany<String>) -> Result<Box<[Arc<str>]>, String> {
    let wrong = paths.iter().find(|path| !path.starts_with('/') || path.contains(['*', '{', '?']));
    match wrong {
        Some(path) => Err(format!("`{path}` is no path of a file; write it whole, without wildcards")),
        None => Ok(paths.iter().map(|path| Arc::from(path.as_str())).collect()),
    }
}

fn one_path(patterns: &OneOrMany<String>) -> Result<PathCapture, String> {
    match patterns.0.as_slice() {
        [pattern] => PathCapture::new(pattern),
        _ => Err("write one path here; further ones are items of their own".to_owned()),
    }
}

/// Whether processes of this role are below author code (an author root itself is not: its exec is the engine's).
fn author_side(part: &Placed<ProfileDoc>, role: RoleId, names: &HashMap<Arc<str>, RoleId>) -> bool {
    let named = names.iter().find(|(_, id)| **id == role).map(|(name, _)| &**name);
    let kind = match named {
        Some("descendant") => RoleKind::Descendant,
        Some("stray") => RoleKind::Stray,
        Some("operator") => RoleKind::Operator,
        Some("probe") => RoleKind::Probe,
        _ => RoleKind::Named,
    };
    if !kind.engine_side() {
        return true;
    }
    let doc = part.doc.roles.iter().find(|doc| Some(doc.value.name.value.as_str()) == named);
    doc.is_some_and(|doc| doc.value.below_author)
}

//! From documents to a compiled set, all or nothing: every error of every file is collected before the set is refused.
//!
//! Order: sources → documents → later folders replace earlier ones by name → identities → endpoints → detections →
//! profiles (which refer to all of them) → kernel filter.

mod attribution;
mod detection;
mod endpoint;
mod exception;
mod filter;
mod identity;
mod item;
mod lint;
mod posture;
mod profile;
mod requires;
mod role;
mod section;
mod source;
mod words;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::actor::RoleId;
use super::doc::{DetectionDoc, EndpointDoc, ExceptionDoc, IdentityDoc, PostureDoc, ProfileDoc};
use super::error::{Place, RuleError, RuleErrors, suggest};
use super::finding::RuleRef;
use super::loader::LOADER_VARIABLES;
use super::model::{
    Detection, DetectionIdx, EndpointTable, Exception, IdentityIdx, IdentityTable, Posture, Profile,
};
use super::pattern::{GlobIndex, NameIndex};
use super::ruleset::{KernelFilter, Source};

pub(crate) use exception::FILL_IN;
pub(crate) use source::{parse_yaml, read_file, rule_files};

/// Names that are not a profile's own roles, in the order of the built-in ids, then the groups detections may name, then
/// what is no role but a parent.
pub(super) const BUILT_IN_ROLES: [&str; 10] = [
    "entry",
    "descendant",
    "stray",
    "operator",
    "probe",
    "author",
    "author_side",
    "engine_side",
    "any",
    role::OUTSIDE,
];
/// Most detections in a set (a bit each while an open is judged).
pub(super) const DETECTIONS_MAX: usize = 512;
/// Most environment variables a profile may ask for.
const ENV_NAMES_MAX: usize = 16;

/// Everything a set consists of.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) digest: String,
    pub(super) identities: IdentityTable,
    pub(super) endpoints: EndpointTable,
    pub(super) detections: Vec<Detection>,
    /// Path patterns of detections on opens.
    pub(super) open_paths: GlobIndex<DetectionIdx>,
    /// Programs that detections on execs name.
    pub(super) exec_programs: NameIndex,
    pub(super) profiles: Vec<Profile>,
    pub(super) exceptions: Vec<Exception>,
    pub(super) postures: Vec<Posture>,
    pub(super) filter: KernelFilter,
    pub(super) env_names: Vec<Arc<str>>,
    /// Identities that some role's memory holds.
    pub(super) held: BTreeSet<IdentityIdx>,
    pub(super) warnings: Vec<String>,
    /// Files that ask for a later version.
    pub(super) skipped: Vec<String>,
}

/// A document's part with its place and folder number.
pub(super) struct Placed<T> {
    pub(super) doc: T,
    pub(super) place: Place,
    layer: usize,
}

impl<T> Placed<T> {
    pub(super) fn rule(&self) -> RuleRef {
        RuleRef { file: self.place.file.clone(), line: self.place.line }
    }
    /// Another place in the same file.
    pub(super) fn at(&self, line: u32, column: u32) -> Place {
        let (line, column) = if line == 0 { (self.place.line, self.place.column) } else { (line, column) };
        Place { file: self.place.file.clone(), line, column }
    }
}

/// Documents by name, in order; a later folder replaces, the same folder must not.
struct Named<T> {
    what: &'static str,
    all: Vec<Placed<T>>,
    by_name: HashMap<String, usize>,
}

impl<T> Named<T> {
    fn new(what: &'static str) -> Self {
        Self { what, all: Vec::new(), by_name: HashMap::new() }
    }

    fn add(&mut self, name: &str, part: Placed<T>, errors: &mut Vec<RuleError>) {
        if !is_name(name) {
            errors.push(part.place.error(
                format!("`{name}` is not a name for {} {}", article(self.what), self.what),
                "use lower-case letters, digits and `-`, beginning with a letter",
            ));
            return;
        }
        match self.by_name.get(name).copied() {
            None => {
                self.by_name.insert(name.to_owned(), self.all.len());
                self.all.push(part);
            }
            Some(at) if self.all[at].layer < part.layer => self.all[at] = part,
            Some(at) => {
                let other = &self.all[at].place;
                errors.push(part.place.error(
                    format!("the {} `{name}` is already defined at {}:{}", self.what, other.file, other.line),
                    "give one of them another name, or put it into a later rules folder to replace the first",
                ));
            }
        }
    }
}

fn article(what: &str) -> &'static str {
    if what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// Lower-case letters, digits and `-`, beginning with a letter.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= 64
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
}

/// Reads folders and compiles what is in them.
pub(super) fn folders<P: AsRef<Path>>(folders: &[P]) -> Result<Compiled, RuleErrors> {
    let read = source::read_folders(folders).map_err(RuleErrors)?;
    sources(&read)
}

/// Compiles sources.
pub(super) fn sources(sources: &[Source]) -> Result<Compiled, RuleErrors> {
    let mut errors = Vec::new();
    let mut profiles: Named<ProfileDoc> = Named::new("profile");
    let mut detections: Named<DetectionDoc> = Named::new("detection");
    let mut identities: Named<IdentityDoc> = Named::new("identity");
    let mut endpoints: Named<EndpointDoc> = Named::new("endpoint");
    let mut exceptions: Named<ExceptionDoc> = Named::new("exception");
    let mut postures: Named<PostureDoc> = Named::new("posture");
    let mut skipped = Vec::new();
    for from in sources {
        match requires::check(from) {
            Ok(None) => {}
            Ok(Some(why)) => {
                skipped.push(why);
                continue;
            }
            Err(e) => {
                errors.push(e);
                continue;
            }
        }
        let document = match source::parse(from) {
            Ok(document) => document,
            Err(e) => {
                errors.push(e);
                continue;
            }
        };
        let place = |line, column| Place { file: from.file.clone(), line, column };
        let layer = from.layer;
        match document {
            source::Document::Profile(doc) => {
                let (name, place) = (doc.name.value.clone(), place(doc.name.line, doc.name.column));
                profiles.add(&name, Placed { doc: *doc, place, layer }, &mut errors);
            }
            source::Document::Detections(doc) => {
                for item in doc.detections {
                    let (name, place) = (item.value.id.value.clone(), place(item.line, item.column));
                    detections.add(&name, Placed { doc: item.value, place, layer }, &mut errors);
                }
            }
            source::Document::Identities(doc) => {
                for item in doc.identities {
                    let (name, place) = (item.value.id.value.clone(), place(item.line, item.column));
                    identities.add(&name, Placed { doc: item.value, place, layer }, &mut errors);
                }
            }
            source::Document::Endpoints(doc) => {
                for item in doc.endpoints {
                    let (name, place) = (item.value.id.value.clone(), place(item.line, item.column));
                    endpoints.add(&name, Placed { doc: item.value, place, layer }, &mut errors);
                }
            }
            source::Document::Exceptions(doc) => {
                for item in doc.exceptions {
                    let (name, place) = (item.value.id.value.clone(), place(item.line, item.column));
                    exceptions.add(&name, Placed { doc: item.value, place, layer }, &mut errors);
                }
            }
            source::Document::Postures(doc) => {
                for item in doc.postures {
                    let (name, place) = (item.value.id.value.clone(), place(item.line, item.column));
                    postures.add(&name, Placed { doc: item.value, place, layer }, &mut errors);
                }
            }
        }
    }
    let mut compiler = Compiler::new(errors);
    compiler.skipped = skipped;
    compiler.facts = profiles.all.iter().flat_map(|p| p.doc.facts.keys().cloned()).collect();
    compiler.compile_identities(&identities.all);
    compiler.compile_endpoints(&endpoints.all);
    compiler.compile_detections(&detections.all);
    compiler.compile_profiles(&profiles.all);
    compiler.compile_exceptions(&exceptions.all, &profiles.all);
    compiler.compile_postures(&postures.all);
    compiler.finish(digest(sources))
}

fn digest(sources: &[Source]) -> String {
    let mut hash = Sha256::new();
    for source in sources {
        // Lengths keep two different sets from giving the same bytes.
        for part in [source.file.as_bytes(), source.text.as_bytes(), &source.layer.to_le_bytes()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    let hex: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}

/// What has been compiled so far, for the parts that refer to it.
struct Compiler {
    errors: Vec<RuleError>,
    warnings: Vec<String>,
    skipped: Vec<String>,
    identities: IdentityTable,
    endpoints: EndpointTable,
    detections: Vec<Detection>,
    detection_ids: HashMap<Arc<str>, DetectionIdx>,
    open_paths: GlobIndex<DetectionIdx>,
    exec_programs: NameIndex,
    profiles: Vec<Profile>,
    exceptions: Vec<Exception>,
    postures: Vec<Posture>,
    /// Every fact that some profile lets its site state.
    facts: BTreeSet<String>,
    watched: filter::Watched,
    env_names: BTreeSet<Arc<str>>,
    /// Identities that some role's memory holds.
    held: BTreeSet<IdentityIdx>,
    /// Those of which only that says where they are.
    in_memory_only: Vec<(IdentityIdx, Place)>,
}

impl Compiler {
    fn new(errors: Vec<RuleError>) -> Self {
        Self {
            errors,
            warnings: Vec::new(),
            skipped: Vec::new(),
            identities: IdentityTable::default(),
            endpoints: EndpointTable::default(),
            detections: Vec::new(),
            detection_ids: HashMap::new(),
            open_paths: GlobIndex::default(),
            exec_programs: NameIndex::default(),
            profiles: Vec::new(),
            exceptions: Vec::new(),
            postures: Vec::new(),
            facts: BTreeSet::new(),
            watched: filter::Watched::default(),
            env_names: BTreeSet::new(),
            held: BTreeSet::new(),
            in_memory_only: Vec::new(),
        }
    }

    /// The value, or its error at this place.
    fn take<T: Default>(&mut self, place: &Place, result: Result<T, impl ToString>) -> T {
        result.unwrap_or_else(|e| {
            self.errors.push(place.error(e.to_string(), ""));
            T::default()
        })
    }

    /// Resolves names, with a suggestion for each that is not known.
    fn resolve<I: Copy>(
        &mut self,
        place: &Place,
        what: &str,
        names: &[String],
        table: &HashMap<Arc<str>, I>,
    ) -> Box<[I]> {
        let mut out = Vec::new();
        for name in names {
            match table.get(name.as_str()) {
                Some(at) => out.push(*at),
                None => {
                    let mut known: Vec<&str> = table.keys().map(|k| &**k).collect();
                    known.sort_unstable();
                    self.errors
                        .push(place.error(format!("there is no {what} `{name}`"), suggest(name, known)));
                }
            }
        }
        out.into()
    }

    fn finish(mut self, digest: String) -> Result<Compiled, RuleErrors> {
        self.warn_of_unknown_roles();
        self.warn_of_identities_nowhere();
        self.check_env_names();
        let filter = std::mem::take(&mut self.watched).build(&mut self.errors);
        if !self.errors.is_empty() {
            self.errors.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
            return Err(RuleErrors(self.errors));
        }
        self.assign_detections();
        let lint: Vec<String> = self.profiles.iter().flat_map(|p| self.lint(p)).collect();
        self.warnings.extend(lint);
        Ok(Compiled {
            digest,
            identities: self.identities,
            endpoints: self.endpoints,
            detections: self.detections,
            open_paths: self.open_paths,
            exec_programs: self.exec_programs,
            profiles: self.profiles,
            exceptions: self.exceptions,
            postures: self.postures,
            filter,
            env_names: self.env_names.into_iter().collect(),
            held: self.held,
            warnings: self.warnings,
            skipped: self.skipped,
        })
    }

    /// By role: the detections that apply to it. `generic` knows no roles, so what names engine roles applies to its
    /// `entry` as a deviation.
    fn assign_detections(&mut self) {
        use super::finding::Tier;
        use super::model::on_index;
        for profile in &mut self.profiles {
            let generic = &*profile.name == "generic";
            for (id, role) in (0..).zip(&mut profile.roles) {
                for (at, detection) in (0..).zip(&self.detections) {
                    let is_entry = RoleId(id) == RoleId::ENTRY;
                    let by_name = detection.roles.words.iter().any(|w| &**w == "entry");
                    let tier = if generic && is_entry && !by_name && detection.roles.names_engine_roles() {
                        Tier::Deviation
                    } else if detection.roles.covers(&role.name, role.kind) {
                        detection.tier
                    } else {
                        continue;
                    };
                    role.detections[on_index(detection.on)].push((at, tier));
                }
            }
        }
    }

    /// The kernel looks for so many variables and no more, over all profiles.
    fn check_env_names(&mut self) {
        let most = monitor_common::record::ENV_NAMES_MAX - LOADER_VARIABLES.len();
        let asked = self.env_names.iter().filter(|name| !LOADER_VARIABLES.contains(&&***name)).count();
        if asked > most {
            let place = Place { file: "profiles".into(), line: 0, column: 0 };
            self.errors.push(place.error(
                format!("all profiles together ask for {asked} environment variables, and the kernel looks for {most} at most"),
                "leave some out of `attribution`, or profiles that this host does not need",
            ));
        }
    }

    /// A role that no profile has may belong to a profile that is not installed, so it is a warning.
    fn warn_of_unknown_roles(&mut self) {
        let known: BTreeSet<&str> = self
            .profiles
            .iter()
            .flat_map(|p| p.roles.iter().map(|r| &*r.name))
            .chain(BUILT_IN_ROLES)
            .collect();
        for detection in &self.detections {
            for word in detection.roles.words.iter().filter(|w| !known.contains(&***w)) {
                self.warnings.push(format!(
                    "{}:{}: detection `{}` names the role `{word}`, which no loaded profile has; {}",
                    detection.rule.file,
                    detection.rule.line,
                    detection.id,
                    suggest(word, known.iter().copied())
                ));
            }
        }
    }
}

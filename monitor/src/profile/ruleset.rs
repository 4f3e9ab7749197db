//! The compiled set of rules and the questions it answers.

use std::path::Path;
use std::sync::Arc;

use super::actor::{ProfileId, Role, RoleId};
use super::attribution::Attribution;
use super::compile::{self, Compiled};
use super::doc::On;
use super::error::RuleErrors;
use super::finding::{Endpoint, Identity, RuleRef, Tier};
use super::judge;
use super::model::Profile;
use super::pattern::canonical;
use super::secret_path::SecretPath;
use crate::event::Body;

/// One rule file's text, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// File, relative to its rules folder.
    pub file: Arc<str>,
    /// Text.
    pub text: String,
    /// Number of its rules folder: a document of a later folder replaces one of the same name of an earlier folder.
    pub layer: usize,
}

/// What is known of a worker when its profile is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerFacts {
    /// Cgroup path below the cgroup2 root, with a leading `/`.
    pub cgroup: String,
    /// Systemd unit (the innermost component of the path that ends in `.service`, `.scope`, …).
    pub unit: Option<String>,
    /// First process.
    pub entry: Option<EntryProcess>,
    /// Profile that the configuration assigns.
    pub assigned: Option<String>,
    /// Namespace of its pod.
    pub namespace: Option<String>,
    /// Name of what owns its pod.
    pub owner: Option<String>,
    /// Name of the container in the pod.
    pub container: Option<String>,
    /// Container image.
    pub image: Option<String>,
    /// Pod labels.
    pub pod_labels: Vec<(String, String)>,
}

/// A worker's first process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryProcess {
    /// Resolved executable.
    pub exe: Option<String>,
    /// Path as given to exec.
    pub given: Option<String>,
    /// Arguments.
    pub argv: Vec<Arc<str>>,
    /// Working directory.
    pub cwd: Option<String>,
}

/// By what a profile was chosen, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SelectRank {
    /// `assign` of the configuration.
    Assign,
    /// Cgroup or unit.
    Cgroup,
    /// Namespace, owner or container name of a pod: what a controller sets.
    Workload,
    /// Image.
    Image,
    /// Pod label.
    PodLabel,
    /// Entry process.
    Process,
    /// Nothing selects it: `generic`.
    None,
}

/// The profile chosen for a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Profile.
    pub profile: ProfileId,
    /// By what.
    pub rank: SelectRank,
    /// The selecting item; `None` for `assign` and for `generic` by default.
    pub rule: Option<RuleRef>,
    /// Something people should know (an assigned profile that does not exist, a claim that was not believed).
    pub notice: Option<String>,
}

/// The role a process takes by an exec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleTaken {
    /// Role.
    pub role: RoleId,
    /// The process becomes an author root.
    pub author_root: bool,
    /// It is now an author root, or below one or below a stray.
    pub below_author: bool,
    /// It differs from the role before (then `role_since` is now).
    pub changed: bool,
}

/// What the kernel has to report of opens; a superset of what the rules match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelFilter {
    /// Literal path prefixes, at most `monitor_common::filter::PREFIX_MAX` bytes, with access bits. The bits of a
    /// shorter prefix are contained in those of every longer one, as an LPM trie answers with the longest only.
    pub prefixes: Vec<(Vec<u8>, u32)>,
    /// File names (uncut; keys are made by `monitor_common::filter::name_key`), with access bits.
    pub names: Vec<(Vec<u8>, u32)>,
    /// Names of one of the last three parent folders, with access bits.
    pub parents: Vec<(Vec<u8>, u32)>,
    /// Secrets whose path has no wildcard: their device and inode are to be resolved in each worker's root.
    pub literals: Vec<LiteralPath>,
    /// Every path pattern of the identity catalogue: what could be read is looked up by them.
    pub secrets: Vec<SecretPath>,
    /// Each pattern with the key it compiled to.
    pub keys: Vec<WatchedKey>,
}

/// A path without wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiteralPath {
    /// Path in the worker's view.
    pub path: Arc<str>,
    /// Access bits of interest.
    pub access: u32,
    /// The identity it belongs to; `None` for a detection's path.
    pub identity: Option<Arc<str>>,
}

/// A watched pattern and its kernel key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedKey {
    /// The pattern, one alternative of its braces.
    pub pattern: String,
    /// `prefix`, `name` or `parent`.
    pub by: &'static str,
    /// The key.
    pub key: String,
    /// Access bits.
    pub access: u32,
    /// Rule.
    pub rule: RuleRef,
}

/// A compiled, immutable set of rules.
#[derive(Debug)]
pub struct RuleSet {
    pub(super) inner: Compiled,
}

impl RuleSet {
    /// Reads every `*.yaml` below each folder (`tests/` and `schema/` left out) and compiles them, all or nothing.
    ///
    /// # Errors
    /// Everything that is wrong, each with file, line, column, what and what to do: unreadable or world-writable files,
    /// YAML errors, unknown keys, unknown names, patterns that the kernel cannot filter.
    pub fn load<P: AsRef<Path>>(folders: &[P]) -> Result<Arc<Self>, RuleErrors> {
        Ok(Arc::new(Self { inner: compile::folders(folders)? }))
    }

    /// Compiles rule files that are in memory.
    ///
    /// # Errors
    /// As [`RuleSet::load`].
    pub fn from_sources(sources: &[Source]) -> Result<Arc<Self>, RuleErrors> {
        Ok(Arc::new(Self { inner: compile::sources(sources)? }))
    }

    /// `sha256:…` over the names and texts of all files in the set.
    pub fn digest(&self) -> &str {
        &self.inner.digest
    }

    /// What the kernel has to report of opens.
    pub fn kernel_filter(&self) -> &KernelFilter {
        &self.inner.filter
    }

    /// Names of the environment variables that profiles ask for, without duplicates.
    pub fn env_names(&self) -> &[Arc<str>] {
        &self.inner.env_names
    }

    /// Things that are not wrong but deserve a look (a role no profile has, a rule that can never match).
    pub fn warnings(&self) -> &[String] {
        &self.inner.warnings
    }

    /// Files that ask for a later version of the agent and were left out, each with why.
    pub fn skipped(&self) -> &[String] {
        &self.inner.skipped
    }

    /// A profile by name.
    pub fn profile(&self, name: &str) -> Option<ProfileId> {
        (0..).zip(&self.inner.profiles).find(|(_, p)| &*p.name == name).map(|(id, _)| ProfileId(id))
    }

    /// Every profile.
    pub fn profiles(&self) -> impl Iterator<Item = ProfileId> + '_ {
        (0..).zip(&self.inner.profiles).map(|(id, _)| ProfileId(id))
    }

    /// The profile with this id; an id of another set falls back to `generic`.
    pub(super) fn spec(&self, profile: ProfileId) -> &Profile {
        self.inner.profiles.get(usize::from(profile.0)).unwrap_or_else(|| &self.inner.profiles[0])
    }

    /// Name of a profile.
    pub fn profile_name(&self, profile: ProfileId) -> &str {
        &self.spec(profile).name
    }

    /// Engine of a profile (its name, if it gives no other).
    pub fn engine(&self, profile: ProfileId) -> &str {
        &self.spec(profile).engine
    }

    /// Name and kind of a role.
    pub fn role(&self, profile: ProfileId, role: RoleId) -> Role {
        let spec = self.spec(profile).role(role);
        Role { name: spec.name.clone(), kind: spec.kind }
    }

    /// A role of a profile by name.
    pub fn role_by_name(&self, profile: ProfileId, name: &str) -> Option<RoleId> {
        (0..).zip(&self.spec(profile).roles).find(|(_, r)| &*r.name == name).map(|(id, _)| RoleId(id))
    }

    /// Whether a profile has roles of its own.
    pub fn has_roles(&self, profile: ProfileId) -> bool {
        self.spec(profile).roles.len() > usize::from(RoleId::FIRST_NAMED)
    }

    /// Facts that a profile lets its site state, each with what it means.
    pub fn facts(&self, profile: ProfileId) -> impl Iterator<Item = (&str, &str)> {
        self.spec(profile).facts.iter().map(|(name, meaning)| (&**name, meaning.as_str()))
    }

    /// The exceptions of the set.
    pub fn exceptions(&self) -> impl Iterator<Item = ExceptionInfo<'_>> {
        self.inner.exceptions.iter().map(|e| ExceptionInfo {
            id: &e.id,
            profile: &e.profile,
            role: &e.role,
            allows: &e.words,
            owner: &e.owner,
            reason: &e.reason,
            expires: &e.expires,
            until: e.until,
            rule: &e.rule,
        })
    }

    /// Where a profile's attribution is taken from.
    pub fn attribution(&self, profile: ProfileId) -> &[Attribution] {
        &self.spec(profile).attribution
    }

    /// The identity an open or unix connect touches by its path.
    pub fn identity_of(&self, body: &Body) -> Option<&Arc<Identity>> {
        let table = &self.inner.identities;
        let at = match body {
            Body::Open(open) => judge::identity_of_path(table, &open.path),
            Body::Unix(unix) => judge::identity_of_socket(table, unix),
            _ => None,
        }?;
        Some(table.get(at))
    }

    /// An identity by id.
    pub fn identity(&self, id: &str) -> Option<&Arc<Identity>> {
        let table = &self.inner.identities;
        table.by_id.get(id).map(|at| table.get(*at))
    }

    /// The endpoint a connect goes to.
    pub fn endpoint_of(&self, body: &Body) -> Option<&Arc<Endpoint>> {
        let Body::Connect(connect) = body else { return None };
        let table = &self.inner.endpoints;
        table
            .meaning(canonical(connect.addr), connect.protocol, connect.port)
            .endpoint
            .map(|at| table.get(at))
    }

    /// The detections of the set: id, title, signal, tier, rule.
    pub fn detections(&self) -> impl Iterator<Item = DetectionInfo<'_>> {
        self.inner.detections.iter().map(|d| DetectionInfo {
            id: &d.id,
            title: &d.title,
            on: d.on,
            tier: d.tier,
            rule: &d.rule,
        })
    }
}

/// A detection, for listings (coverage names the detections that a gap weakens).
#[derive(Clone, Copy, Debug)]
pub struct DetectionInfo<'a> {
    /// Id.
    pub id: &'a str,
    /// Title.
    pub title: &'a str,
    /// Signal it looks at.
    pub on: On,
    /// Tier.
    pub tier: Tier,
    /// Where it stands.
    pub rule: &'a RuleRef,
}

/// An exception, for listings and for saying that it has expired.
#[derive(Clone, Copy, Debug)]
pub struct ExceptionInfo<'a> {
    /// Id.
    pub id: &'a str,
    /// Profile of the workers it is for.
    pub profile: &'a str,
    /// The role in it.
    pub role: &'a str,
    /// What the role may do by it, in words.
    pub allows: &'a str,
    /// Who answers for it.
    pub owner: &'a str,
    /// Why it is there.
    pub reason: &'a str,
    /// Last day it holds, as written.
    pub expires: &'a str,
    /// End of that day, seconds since the epoch.
    pub until: u64,
    /// Where it stands.
    pub rule: &'a RuleRef,
}

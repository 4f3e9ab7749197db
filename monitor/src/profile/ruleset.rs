//! The compiled set of rules and the questions it answers.

use std::path::Path;
use std::sync::Arc;

use super::actor::{Actor, Image, ProfileId, Role, RoleContext, RoleId, RoleKind};
use super::error::RuleErrors;
use super::finding::{Endpoint, Finding, Identity, RuleRef};
use crate::event::{Body, Event};

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

/// Where one field of the attribution is taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribution {
    /// `workflow`, `run`, `step`, `actor` or `tenant`.
    pub field: Arc<str>,
    /// Environment variable.
    pub env: Arc<str>,
    /// The role whose exec carries it; `None` for the author root.
    pub at: Option<RoleId>,
    /// `engine`, `controller`, `author`, `candidate` or `scan`.
    pub trust: Arc<str>,
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
    /// Paths without wildcards, whose device and inode are to be resolved in each worker's root.
    pub literals: Vec<LiteralPath>,
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
    digest: String,
    filter: KernelFilter,
    env_names: Vec<Arc<str>>,
}

impl RuleSet {
    /// Reads every `*.yaml` below each folder (`tests/` and `schema/` left out) and compiles them, all or nothing.
    ///
    /// # Errors
    /// Everything that is wrong, each with file, line, column, what and what to do: unreadable or world-writable files,
    /// YAML errors, unknown keys, unknown names, patterns that the kernel cannot filter.
    pub fn load<P: AsRef<Path>>(folders: &[P]) -> Result<Arc<Self>, RuleErrors> {
        let _ = folders;
        Self::from_sources(&[])
    }

    /// Compiles rule files that are in memory.
    ///
    /// # Errors
    /// As [`RuleSet::load`].
    pub fn from_sources(sources: &[Source]) -> Result<Arc<Self>, RuleErrors> {
        let _ = sources;
        Ok(Arc::new(Self {
            digest: "sha256:".to_owned(),
            filter: KernelFilter::default(),
            env_names: Vec::new(),
        }))
    }

    /// `sha256:…` over the names and texts of all files in the set.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What the kernel has to report of opens.
    pub fn kernel_filter(&self) -> &KernelFilter {
        &self.filter
    }

    /// Names of the environment variables that profiles ask for, without duplicates.
    pub fn env_names(&self) -> &[Arc<str>] {
        &self.env_names
    }

    /// Things that are not wrong but deserve a look (a role no profile has, a rule that can never match).
    pub fn warnings(&self) -> &[String] {
        &[]
    }

    /// The profile of a worker.
    pub fn select(&self, worker: &WorkerFacts) -> Selection {
        let _ = worker;
        Selection { profile: ProfileId::GENERIC, rank: SelectRank::None, rule: None, notice: None }
    }

    /// A profile by name.
    pub fn profile(&self, name: &str) -> Option<ProfileId> {
        (name == "generic").then_some(ProfileId::GENERIC)
    }

    /// Name of a profile.
    pub fn profile_name(&self, profile: ProfileId) -> &str {
        let _ = profile;
        "generic"
    }

    /// Engine of a profile (its name, if it gives no other).
    pub fn engine(&self, profile: ProfileId) -> &str {
        let _ = profile;
        "generic"
    }

    /// Name and kind of a role.
    pub fn role(&self, profile: ProfileId, role: RoleId) -> Role {
        let _ = (profile, role);
        Role { name: "entry".into(), kind: RoleKind::Entry }
    }

    /// The role a process takes by an exec. Also for processes found in /proc ([`Image::scanned`]).
    pub fn role_of_exec(&self, at: &RoleContext, image: &Image<'_>) -> RoleTaken {
        let _ = image;
        RoleTaken { role: at.role, author_root: false, below_author: at.below_author, changed: false }
    }

    /// The role of a fork that does not exec, if the parent's role says so (`forked`).
    pub fn role_of_fork(&self, profile: ProfileId, parent: RoleId) -> Option<RoleId> {
        let _ = (profile, parent);
        None
    }

    /// Where a profile's attribution is taken from.
    pub fn attribution(&self, profile: ProfileId) -> &[Attribution] {
        let _ = profile;
        &[]
    }

    /// The identity an open or unix connect touches by its path.
    pub fn identity_of(&self, body: &Body) -> Option<&Arc<Identity>> {
        let _ = body;
        None
    }

    /// An identity by id.
    pub fn identity(&self, id: &str) -> Option<&Arc<Identity>> {
        let _ = id;
        None
    }

    /// The endpoint a connect goes to.
    pub fn endpoint_of(&self, body: &Body) -> Option<&Arc<Endpoint>> {
        let _ = body;
        None
    }

    /// What an event breaks, if anything. An exec is judged with the role before it. Allocates only for a finding.
    pub fn judge(&self, actor: &Actor<'_>, event: &Event) -> Option<Finding> {
        let _ = (actor, event);
        None
    }
}

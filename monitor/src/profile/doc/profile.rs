//! `schema: sandwatch/profile/v1`: the expected behaviour of an engine's workers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::allow::{ConnectAllow, ExecAllow, FileAllow, IdentityAllow, Section, SocketAllow, UnixAllow};
use super::list::OneOrMany;
use super::value::{At, TrustName};

/// A profile.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileDoc {
    /// `sandwatch/profile/v1`.
    pub schema: String,
    /// The version of the agent that the file is written for (`>=0.3`): an earlier one leaves the file out, and says so.
    #[serde(default)]
    pub requires: Option<String>,
    /// Its name; `generic` is the profile of unknown workers.
    pub name: At<String>,
    /// One line for people.
    pub title: String,
    /// The engine, if it is not the name.
    #[serde(default)]
    pub engine: Option<String>,
    /// Which workers have it: items are alternatives, the keys of one item must all hold.
    #[serde(default)]
    pub select: Vec<At<SelectDoc>>,
    /// Facts that a site states in the configuration's `assign`, by name, each with what it means. Used as `$name`.
    #[serde(default)]
    pub facts: BTreeMap<String, At<String>>,
    /// Argument lists of health commands that enter the sealed worker from outside (patterns, as in roles).
    #[serde(default)]
    pub probes: Vec<At<Vec<String>>>,
    /// What a process is that enters the sealed worker from outside and is no probe: `operator` if not given, `author`
    /// (the profile's only role that is one), or a role's name.
    #[serde(default)]
    pub entered: Option<At<String>>,
    /// Roles, in order, the first match wins.
    #[serde(default)]
    pub roles: Vec<At<RoleDoc>>,
    /// By role: what is allowed, and what everything else is.
    #[serde(default)]
    pub expect: BTreeMap<String, At<ExpectDoc>>,
    /// Where workflow, run, step, actor and tenant are to be found.
    #[serde(default)]
    pub attribution: Vec<At<AttributionDoc>>,
    /// Where this knowledge comes from.
    #[serde(default)]
    pub sources: Vec<String>,
    /// What this profile cannot see.
    #[serde(default)]
    pub cannot_see: Vec<String>,
    /// Known false positives and what covers them.
    #[serde(default)]
    pub false_positives: Vec<String>,
    /// Anything else a reader should know.
    #[serde(default)]
    pub notes: Option<String>,
}

/// One way to select a worker.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SelectDoc {
    /// Cgroup path below the cgroup2 root, a path glob.
    #[serde(default)]
    pub cgroup: Option<String>,
    /// Systemd unit name, a glob.
    #[serde(default)]
    pub unit: Option<String>,
    /// Namespace of the pod, a glob.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Name of what owns the pod, a glob.
    #[serde(default)]
    pub owner: Option<String>,
    /// Name of the container in its pod, a glob.
    #[serde(default)]
    pub container: Option<String>,
    /// Container image, a glob.
    #[serde(default)]
    pub image: Option<String>,
    /// Pod labels, each with a glob for its value.
    #[serde(default)]
    pub pod_labels: BTreeMap<String, String>,
    /// The entry process.
    #[serde(default)]
    pub process: Option<SelectProcess>,
}

/// The entry process of a worker.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SelectProcess {
    /// A name of the program.
    #[serde(default)]
    pub program: OneOrMany<String>,
    /// Its script, as in roles.
    #[serde(default)]
    pub script: OneOrMany<String>,
    /// Its arguments.
    #[serde(default)]
    pub argv: Option<Vec<String>>,
    /// No argument (argv[0] not counted) may match one of these globs.
    #[serde(default)]
    pub argv_none: OneOrMany<String>,
}

/// A role.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleDoc {
    /// Its name: lower case, digits and `-`.
    pub name: At<String>,
    /// The roles a process may have before the exec that gives it this one; `outside` is one that enters the sealed
    /// worker from outside.
    pub parent: At<OneOrMany<String>>,
    /// A name of the program: resolved or as given, never argv[0] alone.
    #[serde(default)]
    pub program: At<OneOrMany<String>>,
    /// The script: the first argument of a known interpreter that is not an option, or the archive after `java -jar`, as a
    /// path glob; or `-m NAME`, a module that Python runs. None has one if its options load other code first.
    #[serde(default)]
    pub script: At<OneOrMany<String>>,
    /// The arguments.
    #[serde(default)]
    pub argv: Option<At<Vec<String>>>,
    /// It runs author-controlled code: its first process is an author root.
    #[serde(default)]
    pub author: bool,
    /// No argument (argv[0] not counted) may match one of these globs (`*` also crosses `/` here).
    #[serde(default)]
    pub argv_none: At<OneOrMany<String>>,
    /// It is only given in these ways, never by what the program looks like alone.
    #[serde(default)]
    pub only_by: OneOrMany<OnlyBy>,
    /// How the executable is trusted; `image` if not given.
    #[serde(default)]
    pub trust: Option<TrustName>,
    /// It may be taken below an author or a stray process.
    #[serde(default)]
    pub below_author: bool,
    /// The role of forks of this role that do not exec, from their first event that is not an exec.
    #[serde(default)]
    pub forked: Option<At<String>>,
    /// Identities that its memory holds: whoever reads that memory has them. What its environment holds is told by the
    /// names of the variables.
    #[serde(default)]
    pub holds: At<OneOrMany<String>>,
    /// Anything a reader should know.
    #[serde(default)]
    pub why: Option<String>,
}

/// How a role may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnlyBy {
    /// By an allow item that says `becomes`.
    Becomes,
    /// By another role's `forked`.
    Forked,
    /// By the profile's `entered`.
    Entered,
}

/// What a role may do.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectDoc {
    /// Programs it executes. Else: `boundary` for engine roles and strays, `deviation` otherwise.
    #[serde(default)]
    pub exec: Option<At<Section<ExecAllow>>>,
    /// Identities it opens (files) or connects to (sockets). Else: `identity`.
    #[serde(default)]
    pub identities: Option<At<Section<IdentityAllow>>>,
    /// Where it connects. Else: `deviation`.
    #[serde(default)]
    pub connect: Option<At<Section<ConnectAllow>>>,
    /// Unix sockets that are no identity. Else: nothing, unless `else` is given.
    #[serde(default)]
    pub unix: Option<At<Section<UnixAllow>>>,
    /// Watched files that are no identity (what detections name by path or /proc). Else: nothing, unless `else` is
    /// given; here stands what silences a detection on opens.
    #[serde(default)]
    pub files: Option<At<Section<FileAllow>>>,
    /// Uncommon sockets. Else: nothing, unless `else` is given.
    #[serde(default)]
    pub socket: Option<At<Section<SocketAllow>>>,
}

/// Where one field of the attribution is to be found.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttributionDoc {
    /// `workflow`, `run`, `step`, `actor` or `tenant`.
    pub field: At<String>,
    /// `env`, `argv`, `cwd`, `script`, `open`, `label`, `annotation`, `owner` (the name of what owns the pod, which no author
    /// of a job sets) or `event_log` (n8n's: what was running then, as candidates).
    pub from: At<String>,
    /// For `env` the variable, for `label` and `annotation` that of the pod, for `owner` its kind (`Workflow`).
    #[serde(default)]
    pub name: Option<At<String>>,
    /// For `argv`: the flag whose value it is (`--pack x`, `--pack=x`).
    #[serde(default)]
    pub flag: Option<At<String>>,
    /// For `event_log` paths of the log, the first that is there counts. For `argv` the arguments, else a path, with `{workflow}`, `{run}`, `{step}`, `{actor}` or `{tenant}` where the value
    /// stands; one of them is `field`, others fill their own.
    #[serde(default)]
    pub pattern: Option<At<OneOrMany<String>>>,
    /// Whose exec: `author` (the author root's) or that of a role; `author` if not given. For `open`: a role on the engine's
    /// side, any of them if not given.
    #[serde(default)]
    pub at: Option<At<String>>,
    /// `engine`, `controller`, `author`, `candidate` or `scan`.
    pub trust: At<String>,
}

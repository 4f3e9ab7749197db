//! `schema: sandwatch/profile/v1`: the expected behaviour of an engine's workers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::value::{AccessName, At, OneOrMany, ProcFile, ProcOf, Scope, Span, TrustName};
use crate::profile::finding::Tier;

/// A profile.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileDoc {
    /// `sandwatch/profile/v1`.
    pub schema: String,
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
    /// Its script, a path glob.
    #[serde(default)]
    pub script: OneOrMany<String>,
    /// Its arguments.
    #[serde(default)]
    pub argv: Option<Vec<String>>,
}

/// A role.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleDoc {
    /// Its name: lower case, digits and `-`.
    pub name: At<String>,
    /// The role the process has before the exec that gives it this one.
    pub parent: At<OneOrMany<String>>,
    /// A name of the program: resolved or as given, never argv[0] alone.
    #[serde(default)]
    pub program: At<OneOrMany<String>>,
    /// The script: the first argument of a known interpreter that is not an option; a path glob.
    #[serde(default)]
    pub script: At<OneOrMany<String>>,
    /// The arguments.
    #[serde(default)]
    pub argv: Option<At<Vec<String>>>,
    /// It runs author-controlled code: its first process is an author root.
    #[serde(default)]
    pub author: bool,
    /// It is only given by an allow item that says `becomes`.
    #[serde(default)]
    pub only_by: Option<OnlyBy>,
    /// It may be taken below an author or a stray process.
    #[serde(default)]
    pub below_author: bool,
    /// The role of forks of this role that do not exec.
    #[serde(default)]
    pub forked: Option<At<String>>,
    /// The role of processes that enter from outside (not supported yet).
    #[serde(default)]
    pub entered: Option<At<String>>,
    /// Anything a reader should know.
    #[serde(default)]
    pub why: Option<String>,
}

/// How a role may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnlyBy {
    /// Only by an allow item that says `becomes`.
    Becomes,
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

/// What is allowed for one signal, and what everything else is.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, bound(deserialize = "A: Deserialize<'de>"))]
pub struct Section<A> {
    /// Alternatives.
    #[serde(default)]
    pub allow: Vec<At<A>>,
    /// What everything else is.
    #[serde(default, rename = "else")]
    pub otherwise: Option<Tier>,
}

/// An exec that is allowed: all keys must hold.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecAllow {
    /// Whatever it is. Stands alone and silences nothing.
    #[serde(default)]
    pub any: bool,
    /// The role the process takes by it.
    #[serde(default)]
    pub becomes: Option<At<String>>,
    /// A name of the program: resolved or as given, never argv[0] alone.
    #[serde(default)]
    pub program: OneOrMany<String>,
    /// The script.
    #[serde(default)]
    pub script: OneOrMany<String>,
    /// The arguments.
    #[serde(default)]
    pub argv: Option<Vec<String>>,
    /// Only this long after the role was taken.
    #[serde(default)]
    pub within: Option<Span>,
    /// How the executable is trusted; `image` if not given.
    #[serde(default)]
    pub trust: Option<TrustName>,
    /// Detections that this item silences.
    #[serde(default)]
    pub permits: At<OneOrMany<String>>,
    /// Why.
    #[serde(default)]
    pub why: Option<String>,
}

/// An identity that is allowed: all keys must hold.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentityAllow {
    /// Whichever it is. Silences nothing.
    #[serde(default)]
    pub any: bool,
    /// By id.
    #[serde(default)]
    pub id: At<OneOrMany<String>>,
    /// By class.
    #[serde(default)]
    pub class: At<OneOrMany<String>>,
    /// What for; `read` if not given.
    #[serde(default)]
    pub access: Option<AccessName>,
    /// Only this long after the role was taken.
    #[serde(default)]
    pub within: Option<Span>,
    /// Only its own (not supported yet).
    #[serde(default)]
    pub own: Option<bool>,
    /// Only by this program: resolved or as given, never argv[0] alone.
    #[serde(default)]
    pub program: OneOrMany<String>,
    /// Only when the program runs this script: the first argument of a known interpreter that is not an option; a path
    /// glob.
    #[serde(default)]
    pub script: OneOrMany<String>,
    /// Detections that this item silences.
    #[serde(default)]
    pub permits: At<OneOrMany<String>>,
    /// Why.
    #[serde(default)]
    pub why: Option<String>,
}

/// A connect that is allowed: all keys must hold.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectAllow {
    /// Protocol and port: `tcp:443`, `udp:53`, `any:53`, `tcp:8000-8100`. None means any.
    #[serde(default)]
    pub to: At<OneOrMany<String>>,
    /// Part of the address space; never holds an endpoint's address.
    #[serde(default)]
    pub scope: OneOrMany<Scope>,
    /// Addresses or networks; never holds an endpoint's address.
    #[serde(default)]
    pub address: At<OneOrMany<String>>,
    /// Endpoints by id.
    #[serde(default)]
    pub endpoint: At<OneOrMany<String>>,
    /// Only this long after the role was taken.
    #[serde(default)]
    pub within: Option<Span>,
    /// Only by this program: resolved or as given, never argv[0] alone.
    #[serde(default)]
    pub program: OneOrMany<String>,
    /// Detections that this item silences.
    #[serde(default)]
    pub permits: At<OneOrMany<String>>,
    /// Why.
    #[serde(default)]
    pub why: Option<String>,
}

/// A unix socket that is allowed: all keys must hold.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnixAllow {
    /// Whichever it is. Silences nothing.
    #[serde(default)]
    pub any: bool,
    /// Path globs, or abstract names with a leading `@`.
    #[serde(default)]
    pub path: At<OneOrMany<String>>,
    /// Only this long after the role was taken.
    #[serde(default)]
    pub within: Option<Span>,
    /// Only by this program: resolved or as given, never argv[0] alone.
    #[serde(default)]
    pub program: OneOrMany<String>,
    /// Detections that this item silences.
    #[serde(default)]
    pub permits: At<OneOrMany<String>>,
    /// Why.
    #[serde(default)]
    pub why: Option<String>,
}

/// A watched file that is allowed: all keys must hold.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileAllow {
    /// Path globs.
    #[serde(default)]
    pub path: At<OneOrMany<String>>,
    /// A file of /proc/PID.
    #[serde(default)]
    pub proc: OneOrMany<ProcFile>,
    /// Whose /proc entry.
    #[serde(default)]
    pub of: OneOrMany<ProcOf>,
    /// What for; `read` if not given.
    #[serde(default)]
    pub access: Option<AccessName>,
    /// Only this long after the role was taken.
    #[serde(default)]
    pub within: Option<Span>,
    /// Only by this program: resolved or as given, never argv[0] alone.
    #[serde(default)]
    pub program: OneOrMany<String>,
    /// Detections that this item silences.
    #[serde(default)]
    pub permits: At<OneOrMany<String>>,
    /// Why.
    #[serde(default)]
    pub why: Option<String>,
}

/// An uncommon socket that is allowed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SocketAllow {
    /// Address family, as in detections.
    pub family: At<OneOrMany<String>>,
    /// Only this long after the role was taken.
    #[serde(default)]
    pub within: Option<Span>,
    /// Only by this program.
    #[serde(default)]
    pub program: OneOrMany<String>,
    /// Detections that this item silences.
    #[serde(default)]
    pub permits: At<OneOrMany<String>>,
    /// Why.
    #[serde(default)]
    pub why: Option<String>,
}

/// Where one field of the attribution is to be found.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttributionDoc {
    /// `workflow`, `run`, `step`, `actor` or `tenant`.
    pub field: At<String>,
    /// `env`, `argv`, `cwd`, `script`, `open` or `label`.
    pub from: At<String>,
    /// For `env` the variable, for `label` the label of the pod.
    #[serde(default)]
    pub name: Option<At<String>>,
    /// For `argv`: the flag whose value it is (`--pack x`, `--pack=x`).
    #[serde(default)]
    pub flag: Option<At<String>>,
    /// For `argv` the arguments, else a path, with `{workflow}`, `{run}`, `{step}`, `{actor}` or `{tenant}` where the value
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

//! `schema: sandwatch/detections/v1`: signs of escape whichever the engine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::list::{ArgvPart, OneOrMany};
use super::value::{AccessName, At, HomeName, MountName, ProcFile, ProcOf, Scope, StdioName};
use crate::profile::finding::{Refs, Respond, Tier};

/// Detections.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Detections {
    /// `sandwatch/detections/v1`.
    pub schema: String,
    /// The version of the agent that the file is written for (`>=0.3`): an earlier one leaves the file out, and says so.
    #[serde(default)]
    pub requires: Option<String>,
    /// The detections.
    pub detections: Vec<At<DetectionDoc>>,
}

/// The signal a detection looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// A program is executed.
    Exec,
    /// A file is opened.
    Open,
    /// A connect or an unconnected send over IP.
    Connect,
    /// A connect to a unix socket.
    Unix,
    /// An uncommon socket (raw, packet, …) is created.
    Socket,
    /// A process is moved out of its cgroup.
    CgroupMove,
}

impl On {
    /// The word as written in rule files.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Open => "open",
            Self::Connect => "connect",
            Self::Unix => "unix",
            Self::Socket => "socket",
            Self::CgroupMove => "cgroup_move",
        }
    }
}

/// One detection.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DetectionDoc {
    /// Its id: lower case, digits and `-`.
    pub id: At<String>,
    /// One line for people.
    pub title: String,
    /// Signal.
    pub on: On,
    /// Roles it applies to: names of roles, or `entry`, `author`, `descendant`, `stray`, `operator`, `probe`,
    /// `engine_side` (entry and all roles of the profile that are not author), `author_side` (author and below),
    /// `any`. None means any.
    #[serde(default)]
    pub roles: At<OneOrMany<String>>,
    /// Only if the run or lineage is in an open incident that reached this tier before: `after: identity` on a
    /// connect is what a thief does next.
    #[serde(default)]
    pub after: Option<Tier>,
    /// What must hold, all keys together; the values of one key are alternatives.
    #[serde(default, rename = "match")]
    pub matches: At<MatchDoc>,
    /// Tier.
    pub tier: Tier,
    /// References by catalogue.
    #[serde(default)]
    pub refs: Refs,
    /// What to do.
    #[serde(default)]
    pub respond: Respond,
    /// Anything a reader should know (false positives, limits).
    #[serde(default)]
    pub notes: Option<String>,
}

/// What an event must be. Keys belong to signals; a key of another signal is refused.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MatchDoc {
    /// Only where the site states this fact (`$name`), and not as false.
    #[serde(default, rename = "if")]
    pub condition: Option<At<String>>,
    /// exec: a name of the program (resolved, as given, argv[0] or script): a file name glob, or a path glob with `/`.
    #[serde(default)]
    pub program: At<OneOrMany<String>>,
    /// exec: names that are not meant although `program` covers them.
    #[serde(default)]
    pub not_program: At<OneOrMany<String>>,
    /// exec: the arguments, one pattern each; `*` is one argument, `**` any number of arguments.
    #[serde(default)]
    pub argv: Option<At<Vec<String>>>,
    /// exec: at least one argument (argv[0] not counted) matches one of these globs (`*` also crosses `/` here, and upper
    /// and lower case are the same in one that begins with `(?i)`); a list is for arguments that follow each other.
    #[serde(default)]
    pub argv_any: At<OneOrMany<ArgvPart>>,
    /// exec: stdin, stdout or stderr is one of these.
    #[serde(default)]
    pub stdio: At<OneOrMany<StdioName>>,
    /// exec: where the executable lives.
    #[serde(default)]
    pub home: At<OneOrMany<HomeName>>,
    /// exec: privileges are gained (set-user-id, set-group-id, file capabilities).
    #[serde(default)]
    pub gains_privilege: Option<bool>,
    /// exec: a loader variable (LD_PRELOAD, NODE_OPTIONS, …) is present.
    #[serde(default)]
    pub loader_env: Option<bool>,
    /// open, unix: path globs; for unix also abstract names with a leading `@`.
    #[serde(default)]
    pub path: At<OneOrMany<String>>,
    /// open, unix: paths that are not meant although `path` covers them.
    #[serde(default)]
    pub not_path: At<OneOrMany<String>>,
    /// open: what for.
    #[serde(default)]
    pub access: Option<AccessName>,
    /// open: how the file's mount relates to the opener.
    #[serde(default)]
    pub mount: At<OneOrMany<MountName>>,
    /// open: a file of /proc/PID.
    #[serde(default)]
    pub proc: At<OneOrMany<ProcFile>>,
    /// open: whose /proc entry.
    #[serde(default)]
    pub of: At<OneOrMany<ProcOf>>,
    /// open, unix: identities by id.
    #[serde(default)]
    pub identity: At<OneOrMany<String>>,
    /// open, unix: identities by class.
    #[serde(default)]
    pub class: At<OneOrMany<String>>,
    /// connect: protocol and port, as `tcp:22`, `udp:53`, `any:53`, `tcp:8000-8100`.
    #[serde(default)]
    pub to: At<OneOrMany<String>>,
    /// connect: part of the address space.
    #[serde(default)]
    pub scope: At<OneOrMany<Scope>>,
    /// connect: addresses or networks, or a fact of the site as `$name`.
    #[serde(default)]
    pub address: At<OneOrMany<String>>,
    /// connect: endpoints by id.
    #[serde(default)]
    pub endpoint: At<OneOrMany<String>>,
    /// socket: address family: packet, raw (a raw IP socket), vsock, alg, sctp, bluetooth, can, key, xdp, or
    /// a number.
    #[serde(default)]
    pub family: At<OneOrMany<String>>,
    /// cgroup_move: into another worker (`true`) or out of all of them (`false`).
    #[serde(default)]
    pub to_worker: Option<bool>,
}

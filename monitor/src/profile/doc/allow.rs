//! Allow items: what a role may do, by signal. Profiles write them below `expect`, exceptions one at a time.

use schemars::JsonSchema;
use serde::Deserialize;

use super::list::OneOrMany;
use super::value::{AccessName, At, ProcFile, ProcOf, Scope, Span, TrustName};
use crate::profile::finding::Tier;

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
    /// The script, as in roles.
    #[serde(default)]
    pub script: OneOrMany<String>,
    /// The arguments.
    #[serde(default)]
    pub argv: Option<Vec<String>>,
    /// No argument (argv[0] not counted) may match one of these globs (`*` also crosses `/` here).
    #[serde(default)]
    pub argv_none: OneOrMany<String>,
    /// Only this long after the role was taken.
    #[serde(default)]
    pub within: Option<Span>,
    /// How the executable is trusted; `image` if not given.
    #[serde(default)]
    pub trust: Option<TrustName>,
    /// Only where the site states this fact (`$name`), and not as false.
    #[serde(default, rename = "if")]
    pub condition: Option<At<String>>,
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
    /// Only below the folder its run began in (or beside it, with `@tmp` or `.tmp` added to the name).
    #[serde(default)]
    pub own: bool,
    /// Only by this program: resolved or as given, never argv[0] alone.
    #[serde(default)]
    pub program: OneOrMany<String>,
    /// With `program`: also one that the run itself may have put there (a tool cache, a virtual environment), as long as it
    /// is a named file on a disk and not in a folder that everybody can write.
    #[serde(default)]
    pub installed: bool,
    /// Only when the program runs this script, as in roles.
    #[serde(default)]
    pub script: OneOrMany<String>,
    /// Only where the site states this fact (`$name`), and not as false.
    #[serde(default, rename = "if")]
    pub condition: Option<At<String>>,
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
    /// Addresses or networks, or a fact of the site as `$name`; never holds an endpoint's address.
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
    /// Only where the site states this fact (`$name`), and not as false.
    #[serde(default, rename = "if")]
    pub condition: Option<At<String>>,
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
    /// Only where the site states this fact (`$name`), and not as false.
    #[serde(default, rename = "if")]
    pub condition: Option<At<String>>,
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
    /// Only below the folder its run began in (or beside it, with `@tmp` or `.tmp` added to the name).
    #[serde(default)]
    pub own: bool,
    /// What for; `read` if not given.
    #[serde(default)]
    pub access: Option<AccessName>,
    /// Only this long after the role was taken.
    #[serde(default)]
    pub within: Option<Span>,
    /// Only by this program: resolved or as given, never argv[0] alone.
    #[serde(default)]
    pub program: OneOrMany<String>,
    /// Only where the site states this fact (`$name`), and not as false.
    #[serde(default, rename = "if")]
    pub condition: Option<At<String>>,
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
    /// Only where the site states this fact (`$name`), and not as false.
    #[serde(default, rename = "if")]
    pub condition: Option<At<String>>,
    /// Detections that this item silences.
    #[serde(default)]
    pub permits: At<OneOrMany<String>>,
    /// Why.
    #[serde(default)]
    pub why: Option<String>,
}

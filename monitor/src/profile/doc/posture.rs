//! `schema: sandwatch/posture/v1`: ways in which a worker is set up that let its author reach more than the workflow needs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::list::{ArgvPart, OneOrMany};
use super::value::{At, NamespaceName, SeverityName};
use crate::profile::finding::{Refs, Respond};

/// Postures.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Postures {
    /// `sandwatch/posture/v1`.
    pub schema: String,
    /// The version of the agent that the file is written for (`>=0.3`): an earlier one leaves the file out, and says so.
    #[serde(default)]
    pub requires: Option<String>,
    /// The postures.
    pub postures: Vec<At<PostureDoc>>,
}

/// One posture.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostureDoc {
    /// Its id: lower case, digits and `-`.
    pub id: At<String>,
    /// What is the matter with the worker, in one line that begins after its name: "shares the host's processes".
    pub title: String,
    /// Only workers of these profiles; of any if none is given.
    #[serde(default)]
    pub profiles: At<OneOrMany<String>>,
    /// How the worker has to be set up: all keys must hold. What is not known holds neither way.
    #[serde(rename = "match")]
    pub matches: At<SetupDoc>,
    /// How bad it is.
    pub severity: SeverityName,
    /// Who leaves the sandbox of such a worker has the host: its incidents of tier boundary are critical.
    #[serde(default)]
    pub reaches_host: bool,
    /// What to do about it.
    #[serde(default)]
    pub respond: Respond,
    /// References by catalogue.
    #[serde(default)]
    pub refs: Refs,
    /// Anything a reader should know.
    #[serde(default)]
    pub notes: Option<String>,
}

/// How a worker is set up.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetupDoc {
    /// It is in a container: it has a root of its own.
    #[serde(default)]
    pub container: Option<bool>,
    /// It is in the host's namespace of one of these kinds.
    #[serde(default)]
    pub shares: OneOrMany<NamespaceName>,
    /// Its code may come to one of these capabilities on the host (`sys_admin`, …).
    #[serde(default)]
    pub capabilities: OneOrMany<String>,
    /// Its code may come to every capability there is on the host.
    #[serde(default)]
    pub privileged: Option<bool>,
    /// Effective user id of its first process, which is the host's too.
    #[serde(default)]
    pub uid: Option<u32>,
    /// It may write to its root file system.
    #[serde(default)]
    pub root_writable: Option<bool>,
    /// A seccomp filter holds for it.
    #[serde(default)]
    pub seccomp: Option<bool>,
    /// It has a mount like this.
    #[serde(default)]
    pub mount: Option<MountDoc>,
    /// Its `/dev` has block devices.
    #[serde(default)]
    pub block_devices: Option<bool>,
    /// Its profile allows no role to read this identity.
    #[serde(default)]
    pub unless_expected: Option<String>,
    /// Its first process has variables whose names look like those of credentials.
    #[serde(default)]
    pub credentials: Option<bool>,
    /// Variables of its first process, each with globs of which one is its value. Never the name of a credential.
    #[serde(default)]
    pub env: BTreeMap<String, OneOrMany<String>>,
    /// Its first process has none of these variables.
    #[serde(default)]
    pub env_absent: OneOrMany<String>,
    /// A process on the engine's side has one of these among its arguments.
    #[serde(default)]
    pub argv_any: Vec<ArgvPart>,
    /// And none of these.
    #[serde(default)]
    pub argv_none: Vec<ArgvPart>,
}

/// A mount of a worker.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MountDoc {
    /// What it is on the host: path globs.
    #[serde(default)]
    pub host: OneOrMany<String>,
    /// And is not.
    #[serde(default)]
    pub not_host: OneOrMany<String>,
    /// Where it is in the worker: path globs.
    #[serde(default)]
    pub point: OneOrMany<String>,
    /// And is not.
    #[serde(default)]
    pub not_point: OneOrMany<String>,
    /// Type of its file system.
    #[serde(default)]
    pub kind: OneOrMany<String>,
    /// It may be written to.
    #[serde(default)]
    pub writable: Option<bool>,
}

//! The blast radius: what was taken, what was within reach, and what to rotate for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the worker could take and what it did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BlastRadius {
    /// Identities that were read without being allowed to, with what to do about each: files, and what was in the memory or
    /// environment of a process that was read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<Taken>,
    /// Identities that author code read as its profile allows: it holds them all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used: Vec<String>,
    /// Identities that the process could have read when the incident began; looked up right after the first alert, so they come
    /// with the second.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reachable: Vec<String>,
    /// Names of environment variables of the process that look like credentials; never their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<String>,
    /// Endpoints and addresses that were contacted, with what became of it where that is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contacted: Vec<String>,
    /// What to rotate, the most urgent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotation: Vec<Rotate>,
}

/// An identity that was read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Taken {
    /// Id in the identity catalogue, or `$NAME` of an environment variable that looks like a credential.
    pub identity: String,
    /// What its holder can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gives: Option<String>,
    /// How to revoke and rotate it.
    pub respond: String,
    /// Where it was, if it was not read from a file of its own: the memory of a process, a variable of its environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// One entry of the rotation list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rotate {
    /// Identity, or `$NAME` of an environment variable.
    pub what: String,
    /// `taken`, `used`, `reachable` or `environment`.
    pub because: String,
}

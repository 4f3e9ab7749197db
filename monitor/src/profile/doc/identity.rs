//! `schema: sandwatch/identities/v1`: the secrets that let their holder act as someone.

use schemars::JsonSchema;
use serde::Deserialize;

use super::list::OneOrMany;
use super::value::At;
use crate::profile::finding::{Refs, Respond};

/// The identity catalogue, or a part of it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identities {
    /// `sandwatch/identities/v1`.
    pub schema: String,
    /// The version of the agent that the file is written for (`>=0.3`): an earlier one leaves the file out, and says so.
    #[serde(default)]
    pub requires: Option<String>,
    /// The identities.
    pub identities: Vec<At<IdentityDoc>>,
}

/// One identity.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentityDoc {
    /// Its id: lower case, digits and `-`.
    pub id: At<String>,
    /// Class: host, k8s, cloud, scm, registry, engine, saas, ssh, mesh, db, secret-manager.
    pub class: At<String>,
    /// What it gives its holder.
    pub gives: String,
    /// Path globs: `*` within one folder, `**` any folders, `{a,b}`, `~` any home folder.
    #[serde(default)]
    pub paths: At<OneOrMany<String>>,
    /// Paths that are not meant although a glob of `paths` covers them.
    #[serde(default)]
    pub except: At<OneOrMany<String>>,
    /// Unix sockets by path glob, or abstract name with a leading `@`.
    #[serde(default)]
    pub sockets: At<OneOrMany<String>>,
    /// Environment variables that carry it, by name (`*` for any characters): whoever reads an environment with one of them
    /// has it.
    #[serde(default)]
    pub variables: At<OneOrMany<String>>,
    /// What to do when it was taken.
    #[serde(default)]
    pub respond: Respond,
    /// References by catalogue: attack, owasp_nhi, owasp_asi, nist_csf, alias.
    #[serde(default)]
    pub refs: Refs,
    /// Anything a reader should know (legitimate readers, lifetime).
    #[serde(default)]
    pub notes: Option<String>,
}

impl<T: Default> Default for At<T> {
    fn default() -> Self {
        Self { value: T::default(), line: 0, column: 0 }
    }
}

//! `schema: sandwatch/exceptions/v1`: what a site allows one of its workers for a time, with an owner and a reason.

use schemars::JsonSchema;
use serde::Deserialize;

use super::allow::{ConnectAllow, ExecAllow, FileAllow, IdentityAllow, SocketAllow, UnixAllow};
use super::value::At;

/// Exceptions; those of all rules folders add up.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exceptions {
    /// `sandwatch/exceptions/v1`.
    pub schema: String,
    /// The version of the agent that the file is written for (`>=0.3`): an earlier one leaves the file out, and says so.
    #[serde(default)]
    pub requires: Option<String>,
    /// The exceptions.
    pub exceptions: Vec<At<ExceptionDoc>>,
}

/// One exception. It changes what it names and nothing else.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExceptionDoc {
    /// Its id: lower case, digits and `-`.
    pub id: At<String>,
    /// The workers: a glob for their names, or for their cgroup paths if it begins with `/`.
    pub worker: At<String>,
    /// The profile they have.
    pub profile: At<String>,
    /// The role in it.
    pub role: At<String>,
    /// What is allowed: one allow item.
    pub what: At<WhatDoc>,
    /// Who answers for it.
    pub owner: At<String>,
    /// Why it is there.
    pub reason: At<String>,
    /// The last day it holds, in UTC: `2027-03-31`.
    pub expires: At<String>,
}

/// One allow item of one signal, as in a profile; `any` and `becomes` are refused.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhatDoc {
    /// An exec.
    #[serde(default)]
    pub exec: Option<ExecAllow>,
    /// An identity.
    #[serde(default)]
    pub identities: Option<IdentityAllow>,
    /// A connect.
    #[serde(default)]
    pub connect: Option<ConnectAllow>,
    /// A unix socket.
    #[serde(default)]
    pub unix: Option<UnixAllow>,
    /// A watched file.
    #[serde(default)]
    pub files: Option<FileAllow>,
    /// An uncommon socket.
    #[serde(default)]
    pub socket: Option<SocketAllow>,
}

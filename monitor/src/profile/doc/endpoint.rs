//! `schema: sandwatch/endpoints/v1`: addresses with a meaning.

use schemars::JsonSchema;
use serde::Deserialize;

use super::list::OneOrMany;
use super::value::At;
use crate::profile::finding::{Refs, Respond};

/// The endpoint catalogue, or a part of it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoints {
    /// `sandwatch/endpoints/v1`.
    pub schema: String,
    /// The version of the agent that the file is written for (`>=0.3`): an earlier one leaves the file out, and says so.
    #[serde(default)]
    pub requires: Option<String>,
    /// The endpoints.
    pub endpoints: Vec<At<EndpointDoc>>,
}

/// One endpoint.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointDoc {
    /// Its id: lower case, digits and `-`.
    pub id: At<String>,
    /// What it is.
    pub title: String,
    /// Addresses or networks. None means any address: then only port and protocol tell it, and its addresses stay in
    /// their scopes.
    #[serde(default)]
    pub addresses: At<OneOrMany<String>>,
    /// Protocol and port: `tcp:80`, `udp:53`, `any:53`, `tcp:8000-8100`. None means any.
    #[serde(default)]
    pub ports: At<OneOrMany<String>>,
    /// Harmless for everyone (name service, time).
    #[serde(default)]
    pub benign: bool,
    /// What to do when it was contacted.
    #[serde(default)]
    pub respond: Respond,
    /// References by catalogue.
    #[serde(default)]
    pub refs: Refs,
    /// Anything a reader should know.
    #[serde(default)]
    pub notes: Option<String>,
}

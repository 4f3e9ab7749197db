//! What the container engine of a host says of the container that a worker is.

use serde::{Deserialize, Serialize};

/// A container that is in no pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostContainer {
    /// The engine, as it is called on alerts.
    pub engine: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

impl HostContainer {
    /// Engine and container as one name.
    pub fn long_name(&self) -> Option<String> {
        self.name.as_ref().map(|name| format!("{}/{name}", self.engine))
    }
}

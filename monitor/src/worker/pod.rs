//! What Kubernetes says of the pod and container that a worker is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A worker's pod, and which of its containers the worker is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerPod {
    /// Uid of the pod in the API.
    pub uid: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations, those that are not long.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Name of what owns it: of a replica set's pod the deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Kind of what owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_kind: Option<String>,
    /// Its service account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// Node it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Name of the container; absent: it is the pod's sandbox, or not known (yet).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// Whether a worker is the container that only keeps its pod's namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// It is not, as far as is known.
    #[default]
    No,
    /// By the name of its program alone, which is anybody's to choose: it is taken for one until its pod's list has it.
    Guessed,
    /// It is none of its pod's containers, all of which are known.
    Known,
}

impl WorkerPod {
    /// Namespace, pod and container as one name.
    pub fn long_name(&self) -> String {
        let container = self.container.as_ref().map_or(String::new(), |container| format!("/{container}"));
        format!("{}/{}{container}", self.namespace, self.name)
    }
}

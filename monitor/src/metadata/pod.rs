//! Pods as the kubelet lists them (`v1.PodList`) and the API server tells of them: what is of use here, and nothing else of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

/// Most labels kept of a pod.
const LABELS_MAX: usize = 128;
/// Most annotations.
const ANNOTATIONS_MAX: usize = 64;
/// Most bytes of a name or value that is kept: the longest that Kubernetes allows is 253.
const TEXT_MAX: usize = 512;

/// The list could not be read.
#[derive(Debug, thiserror::Error)]
#[error("what came is no list of pods: {0}")]
pub struct ListError(String);

/// A pod on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its uid in the API.
    pub uid: Arc<str>,
    /// What its cgroup is named by instead, if it is a static pod: a hash of its configuration.
    pub config_hash: Option<Arc<str>>,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations, those that are not long.
    pub annotations: BTreeMap<String, String>,
    /// Name of what owns it: of a replica set's pod the deployment.
    pub owner: Option<String>,
    /// Kind of what owns it.
    pub owner_kind: Option<String>,
    /// Service account.
    pub service_account: Option<String>,
    /// Node it runs on.
    pub node: Option<String>,
    /// Its containers, those of its start and later ones too.
    pub containers: Vec<PodContainer>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodContainer {
    /// Its name in the pod.
    pub name: String,
    /// Its image as the pod asks for it.
    pub image: String,
    /// Its id, once the kubelet has seen it run.
    pub id: Option<Arc<str>>,
}

/// A list of pods, and the place in the server's history that it is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodPage {
    /// The pods.
    pub pods: Vec<Pod>,
    /// The place; empty if it is not said, as by a kubelet.
    pub version: String,
}

/// A line of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// A pod is there, or is another now.
    There {
        /// The pod.
        pod: Box<Pod>,
        /// Place.
        version: String,
    },
    /// It is gone.
    Deleted {
        /// Its uid.
        uid: Arc<str>,
        /// Place.
        version: String,
    },
    /// Nothing but a place.
    Bookmark {
        /// Place; empty if the line is of a kind that is not known here.
        version: String,
    },
    /// The place from which was watched is not known any more.
    Gone,
}

/// Reads a line of a watch (`metav1.WatchEvent` of pods).
///
/// # Errors
/// It is not of that shape, or tells of an error of the server.
pub fn read_event(json: &[u8]) -> Result<WatchEvent, ListError> {
    let event: Event = serde_json::from_slice(json).map_err(|error| ListError(error.to_string()))?;
    let version = event.object.metadata.resource_version.clone().map(bounded).unwrap_or_default();
    Ok(match event.kind.as_str() {
        "ADDED" | "MODIFIED" => WatchEvent::There { pod: Box::new(event.object.pod()), version },
        "DELETED" => {
            let uid = event.object.metadata.uid.unwrap_or_default();
            WatchEvent::Deleted { uid: bounded(uid).into(), version }
        }
        "ERROR" if event.object.code == Some(GONE) => WatchEvent::Gone,
        "ERROR" => {
            let why = event.object.message.unwrap_or_default();
            let why: String = why.escape_debug().take(200).collect();
            return Err(ListError(format!("the server says: {why}")));
        }
        "BOOKMARK" => WatchEvent::Bookmark { version },
        // Of a later version.
        _ => WatchEvent::Bookmark { version: String::new() },
    })
}

/// Status of HTTP, and code in a `v1.Status`: the place is not known any more.
const GONE: i64 = 410;

/// Reads a `v1.PodList`.
///
/// # Errors
/// It is not JSON of that shape. Pods without a uid, and whatever else is not known here, are left out.
pub fn read_list(json: &[u8]) -> Result<Vec<Pod>, ListError> {
    Ok(read_page(json)?.pods)
}

/// The same, with the place in the server's history.
///
/// # Errors
/// As for [`read_list`].
pub fn read_page(json: &[u8]) -> Result<PodPage, ListError> {
    let list: List = serde_json::from_slice(json).map_err(|error| ListError(error.to_string()))?;
    if list.kind.as_deref() != Some("PodList") {
        let kind = list.kind.as_deref().unwrap_or("nothing").escape_debug().take(64).collect::<String>();
        return Err(ListError(format!("it says it is {kind}")));
    }
    let pods = list.items.unwrap_or_default().into_iter().map(Item::pod);
    Ok(PodPage {
        pods: pods.filter(|pod| !pod.uid.is_empty()).collect(),
        version: list.metadata.resource_version.map(bounded).unwrap_or_default(),
    })
}

#[derive(Deserialize)]
struct List {
    kind: Option<String>,
    #[serde(default)]
    metadata: ListMeta,
    items: Option<Vec<Item>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListMeta {
    resource_version: Option<String>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: Item,
}

/// A pod, or in a watch what tells of an error.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Item {
    metadata: Meta,
    spec: Spec,
    #[serde(deserialize_with = "or_text")]
    status: Status,
    code: Option<i64>,
    message: Option<String>,
}

/// The status of a pod; of a `v1.Status` it is a word, which says nothing of a pod.
fn or_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Status, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Status(Box<Status>),
        Text(#[expect(dead_code, reason = "what it says is not of use")] String),
    }
    Ok(match Option::<Either>::deserialize(deserializer)? {
        Some(Either::Status(status)) => *status,
        Some(Either::Text(_)) | None => Status::default(),
    })
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Meta {
    uid: Option<String>,
    resource_version: Option<String>,
    name: Option<String>,
    namespace: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<Owner>>,
}

/// Of a static pod: the hash of its configuration, in the kubelet's own list and as the API server has it.
const HASHES: [&str; 2] = ["kubernetes.io/config.hash", "kubernetes.io/config.mirror"];

#[derive(Default, Deserialize)]
#[serde(default)]
struct Owner {
    kind: Option<String>,
    name: Option<String>,
    controller: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    service_account_name: Option<String>,
    containers: Option<Vec<SpecContainer>>,
    init_containers: Option<Vec<SpecContainer>>,
    ephemeral_containers: Option<Vec<SpecContainer>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SpecContainer {
    name: String,
    image: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    container_statuses: Option<Vec<ContainerStatus>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
    ephemeral_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    image: Option<String>,
    #[serde(rename = "containerID")]
    container_id: Option<String>,
}

impl Item {
    fn pod(self) -> Pod {
        let Meta { uid, name, namespace, labels, annotations, owner_references, .. } = self.metadata;
        let labels: BTreeMap<String, String> =
            labels.unwrap_or_default().into_iter().take(LABELS_MAX).collect();
        let (owner_kind, owner) = owner(owner_references.unwrap_or_default(), &labels).unzip();
        let annotations = annotations.unwrap_or_default();
        let hash = HASHES.iter().find_map(|name| annotations.get(*name).cloned());
        let statuses = [
            self.status.container_statuses,
            self.status.init_container_statuses,
            self.status.ephemeral_container_statuses,
        ];
        let statuses: Vec<ContainerStatus> = statuses.into_iter().flatten().flatten().collect();
        let asked = [self.spec.containers, self.spec.init_containers, self.spec.ephemeral_containers];
        let containers = asked.into_iter().flatten().flatten().map(|asked| {
            let status = statuses.iter().find(|status| status.name == asked.name);
            PodContainer {
                id: status.and_then(|status| status.container_id.as_deref()).and_then(bare_id),
                image: bounded(asked.image.or_else(|| status?.image.clone()).unwrap_or_default()),
                name: bounded(asked.name),
            }
        });
        Pod {
            containers: containers.collect(),
            uid: bounded(uid.unwrap_or_default()).into(),
            config_hash: hash.map(|hash| bounded(hash).into()),
            // Whole objects stand in some of them.
            annotations: annotations
                .into_iter()
                .filter(|(name, value)| name.len() <= TEXT_MAX && value.len() <= TEXT_MAX)
                .take(ANNOTATIONS_MAX)
                .collect(),
            namespace: bounded(namespace.unwrap_or_default()),
            name: bounded(name.unwrap_or_default()),
            labels: labels.into_iter().map(|(key, value)| (bounded(key), bounded(value))).collect(),
            owner: owner.map(bounded),
            owner_kind: owner_kind.flatten().map(bounded),
            service_account: self.spec.service_account_name.map(bounded),
            node: self.spec.node_name.map(bounded),
        }
    }
}

/// `containerd://ID` without its runtime.
fn bare_id(id: &str) -> Option<Arc<str>> {
    let bare = id.rsplit("://").next().unwrap_or(id);
    (!bare.is_empty() && bare.len() <= TEXT_MAX).then(|| bare.into())
}

/// The controller's kind and name. A deployment owns its pods through a replica set, whose name ends with the hash that the
/// pods carry as a label.
fn owner(references: Vec<Owner>, labels: &BTreeMap<String, String>) -> Option<(Option<String>, String)> {
    let at = references.iter().position(|owner| owner.controller == Some(true)).unwrap_or(0);
    let owner = references.into_iter().nth(at)?;
    let name = owner.name?;
    if owner.kind.as_deref() == Some("ReplicaSet")
        && let Some(hash) = labels.get("pod-template-hash")
        && let Some(deployment) = name.strip_suffix(hash.as_str()).and_then(|rest| rest.strip_suffix('-'))
    {
        return Some((Some("Deployment".to_owned()), deployment.to_owned()));
    }
    Some((owner.kind, name))
}

pub(super) fn bounded(mut text: String) -> String {
    if text.len() > TEXT_MAX {
        let mut end = TEXT_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests;

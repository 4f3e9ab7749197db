//! What Kubernetes says of the pods on this node: their names, labels, images, owners; and the container engines of a host of
//! their containers.
//!
//! `pod` reads the kubelet's list, `pods` keeps it, also for pods that are gone, and finds the pod of a worker by what its
//! cgroup path names; `kubelet` and `api` ask (over a line of `ask`), `fetch` does so from a thread of its own, when somebody wants to know and not too
//! often. `containers` reads what Docker and Podman keep on disk. Nothing here is needed to watch: what is not known makes nothing expected or unexpected.

mod api;
mod ask;
mod containers;
mod fetch;
mod kubelet;
mod node;
mod pod;
mod pods;

pub use api::Api;
pub use ask::AskError;
pub use containers::HostEngines;
pub use fetch::{Answer, Fetcher, PodSource};
pub use kubelet::Kubelet;
pub use node::{PodStore, Step};
pub use pod::{ListError, Pod, PodContainer, PodPage, WatchEvent, read_event, read_list, read_page};
pub use pods::{Found, Pods};

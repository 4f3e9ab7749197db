//! The pods that are known, by what a worker's cgroup path names.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::pod::{Pod, PodContainer};
use crate::worker::{Place, WorkerPod};

/// Pods kept that are gone: what they did may still be told.
const GONE_MAX: usize = 1024;

/// What is known of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Pod and container.
    Whole(WorkerPod),
    /// The pod; its container is not in the kubelet's list: it has just begun, or is the pod's sandbox.
    Pod {
        /// The pod.
        pod: WorkerPod,
        /// The list has the id of every container of the pod.
        all: bool,
    },
    /// Nothing.
    Nothing,
}

/// The pods that are known.
#[derive(Debug, Default)]
pub struct Pods {
    by_uid: HashMap<Arc<str>, Pod>,
    /// Static pods by the hash that their cgroups carry.
    by_hash: HashMap<Arc<str>, Arc<str>>,
    /// Those that no list has any more, oldest first.
    gone: VecDeque<Arc<str>>,
}

impl Pods {
    /// Takes the whole list of what is on the node now.
    pub fn update(&mut self, list: Vec<Pod>) {
        let present: HashSet<Arc<str>> = list.iter().map(|pod| pod.uid.clone()).collect();
        let known_gone: HashSet<Arc<str>> = self.gone.iter().cloned().collect();
        let mut left: Vec<Arc<str>> = self
            .by_uid
            .keys()
            .filter(|uid| !present.contains(*uid) && !known_gone.contains(*uid))
            .cloned()
            .collect();
        // In an order that does not hang on the map's.
        left.sort_unstable();
        self.gone.retain(|uid| !present.contains(uid));
        self.gone.extend(left);
        while self.gone.len() > GONE_MAX {
            let Some(uid) = self.gone.pop_front() else { break };
            self.by_uid.remove(&uid);
        }
        for mut pod in list {
            if let Some(known) = self.by_uid.get(&pod.uid) {
                keep_ids(&mut pod, known);
            }
            self.by_uid.insert(pod.uid.clone(), pod);
        }
        self.by_hash.clear();
        for pod in self.by_uid.values() {
            // Anybody may write the annotation, but a uid has dashes, and a hash has none.
            let hash = pod.config_hash.clone().filter(|hash| !hash.contains('-'));
            self.by_hash.extend(hash.map(|hash| (hash, pod.uid.clone())));
        }
    }

    /// How many are known, those that are gone included.
    pub fn len(&self) -> usize {
        self.by_uid.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.by_uid.is_empty()
    }

    /// What is known of the container and pod that a cgroup path names.
    pub fn find(&self, place: &Place) -> Found {
        let id = place.container.as_ref().map(|container| &container.id);
        let named = place.pod.as_ref().filter(|_| !place.nested);
        let pod = named.and_then(|uid| {
            self.by_uid.get(uid).or_else(|| self.by_hash.get(uid).and_then(|uid| self.by_uid.get(uid)))
        });
        let Some(pod) = pod else { return Found::Nothing };
        let is_it = |container: &&PodContainer| container.id.is_some() && container.id.as_ref() == id;
        match pod.containers.iter().find(is_it) {
            Some(container) => Found::Whole(facts(pod, Some(container))),
            None => {
                let mut ids = pod.containers.iter().map(|container| container.id.is_some());
                let all = !pod.containers.is_empty() && ids.all(|known| known);
                Found::Pod { pod: facts(pod, None), all }
            }
        }
    }
}

/// A container that restarted has another id; the earlier one's cgroup may still be spoken of, but only the newest of each
/// name is kept. An id that is not told any more (the kubelet restarted) stays.
fn keep_ids(pod: &mut Pod, known: &Pod) {
    for container in &mut pod.containers {
        if container.id.is_none() {
            let before = known.containers.iter().find(|before| before.name == container.name);
            container.id = before.and_then(|before| before.id.clone());
        }
    }
}

fn facts(pod: &Pod, container: Option<&PodContainer>) -> WorkerPod {
    WorkerPod {
        uid: pod.uid.to_string(),
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        labels: pod.labels.clone(),
        annotations: pod.annotations.clone(),
        owner: pod.owner.clone(),
        owner_kind: pod.owner_kind.clone(),
        service_account: pod.service_account.clone(),
        node: pod.node.clone(),
        container: container.map(|container| container.name.clone()),
        image: container.map(|container| container.image.clone()).filter(|image| !image.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::place_of;

    fn pod(uid: &str, container: Option<&str>) -> Pod {
        let container = PodContainer {
            name: "main".into(),
            image: "n8nio/n8n:1".into(),
            id: container.map(|digit| digit.repeat(64).into()),
        };
        Pod { uid: uid.into(), name: format!("pod-{uid}"), containers: vec![container], ..Pod::default() }
    }

    fn uid(number: usize) -> String {
        format!("6c296cf0-94d7-43f6-bfb0-{number:012x}")
    }

    fn place(number: usize, digit: &str) -> Place {
        place_of(&format!("/kubepods/burstable/pod{}/{}", uid(number), digit.repeat(64)))
    }

    fn name(found: &Found) -> Option<&str> {
        match found {
            Found::Whole(pod) | Found::Pod { pod, .. } => Some(&pod.name),
            Found::Nothing => None,
        }
    }

    #[test]
    fn a_container_is_found_by_its_id_and_its_sandbox_by_the_pod_alone() {
        let mut pods = Pods::default();
        assert_eq!(pods.find(&place(1, "a")), Found::Nothing);
        pods.update(vec![pod(&uid(1), Some("a")), pod(&uid(2), None)]);
        let Found::Whole(whole) = pods.find(&place(1, "a")) else { panic!() };
        assert_eq!((whole.container.as_deref(), whole.image.as_deref()), (Some("main"), Some("n8nio/n8n:1")));
        let Found::Pod { pod: sandbox, all: true } = pods.find(&place(1, "b")) else { panic!() };
        assert_eq!((sandbox.container, sandbox.image), (None, None));
        let unknown = pods.find(&place(2, "c"));
        assert!(matches!(unknown, Found::Pod { all: false, .. }), "its status is not there yet");
        assert_eq!(pods.find(&place(3, "a")), Found::Nothing, "the path's pod counts, not whose id it is");
    }

    #[test]
    fn a_pod_that_a_container_made_up_inside_is_not_found() {
        let mut pods = Pods::default();
        pods.update(vec![pod(&uid(1), Some("a"))]);
        let (inner, outer) = ("a".repeat(64), "b".repeat(64));
        let place = place_of(&format!("/kubepods/pod{}/{outer}/pod{}/{inner}", uid(2), uid(1)));
        assert_eq!(pods.find(&place), Found::Nothing);
    }

    #[test]
    fn an_annotation_that_names_another_pods_uid_takes_nothing_over() {
        let mut pods = Pods::default();
        let forger = Pod { config_hash: Some(uid(1).into()), ..pod(&uid(2), Some("b")) };
        pods.update(vec![pod(&uid(1), Some("a")), forger]);
        assert_eq!(name(&pods.find(&place(1, "c"))), Some(&*format!("pod-{}", uid(1))));
    }

    #[test]
    fn a_static_pod_is_found_by_the_hash_in_its_path() {
        let mut pods = Pods::default();
        let hash = "9d8f7c6b5a4e3d2c1b0a99887766554f";
        pods.update(vec![Pod { config_hash: Some(hash.into()), ..pod(&uid(1), Some("a")) }]);
        let found = pods.find(&place_of(&format!("/kubepods/burstable/pod{hash}/{}", "a".repeat(64))));
        assert_eq!(name(&found), Some(&*format!("pod-{}", uid(1))));
    }

    #[test]
    fn pods_that_are_gone_stay_known_up_to_a_bound() {
        let mut pods = Pods::default();
        pods.update(vec![pod(&uid(0), Some("a"))]);
        pods.update(vec![]);
        assert!(matches!(pods.find(&place(0, "a")), Found::Whole(_)));
        for number in 1..=GONE_MAX {
            pods.update(vec![pod(&uid(number), None)]);
        }
        assert!(name(&pods.find(&place(0, "a"))).is_some(), "one present, {GONE_MAX} gone");
        pods.update(vec![]);
        assert_eq!((name(&pods.find(&place(0, "a"))), pods.len()), (None, GONE_MAX));
        // One that comes back is not gone any more.
        pods.update(vec![pod(&uid(1), None)]);
        pods.update(vec![]);
        assert_eq!(pods.len(), GONE_MAX);
    }

    #[test]
    fn an_id_that_is_not_told_any_more_stays() {
        let mut pods = Pods::default();
        pods.update(vec![pod(&uid(1), Some("a"))]);
        pods.update(vec![pod(&uid(1), None)]);
        assert!(matches!(pods.find(&place(1, "a")), Found::Whole(_)));
        pods.update(vec![pod(&uid(1), Some("b"))]);
        assert!(matches!(pods.find(&place(1, "b")), Found::Whole(_)));
    }
}

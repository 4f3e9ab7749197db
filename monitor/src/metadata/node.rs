//! The pods of one node as a watch tells of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pod::{ListError, Pod, PodPage, WatchEvent, read_event};

/// What a line of a watch came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A pod is there, another, or gone.
    Changed,
    /// Nothing that matters.
    Nothing,
    /// The server has forgotten the place.
    Gone,
}

/// The pods of one node, and the place in the server's history up to which that is so.
#[derive(Debug, Default)]
pub struct PodStore {
    pods: BTreeMap<Arc<str>, Pod>,
    pub(super) version: String,
}

impl PodStore {
    /// The whole list.
    pub(super) fn replace(&mut self, page: PodPage, node: &str) {
        let pods = page.pods.into_iter().filter(|pod| pod.node.as_deref() == Some(node));
        self.pods = pods.map(|pod| (pod.uid.clone(), pod)).collect();
        self.version = page.version;
    }

    /// One line of a watch.
    ///
    /// # Errors
    /// It is no event of a watch of pods.
    pub fn take(&mut self, line: &[u8], node: &str) -> Result<Step, ListError> {
        match read_event(line)? {
            WatchEvent::There { pod, version } => {
                self.at(version);
                // A server that does not know the selector tells of every node's.
                if pod.uid.is_empty() || pod.node.as_deref() != Some(node) {
                    return Ok(Step::Nothing);
                }
                if self.pods.get(&pod.uid) == Some(&*pod) {
                    return Ok(Step::Nothing);
                }
                self.pods.insert(pod.uid.clone(), *pod);
                Ok(Step::Changed)
            }
            WatchEvent::Deleted { uid, version } => {
                self.at(version);
                let was_there = self.pods.remove(&uid).is_some();
                Ok(if was_there { Step::Changed } else { Step::Nothing })
            }
            WatchEvent::Bookmark { version } => {
                self.at(version);
                Ok(Step::Nothing)
            }
            WatchEvent::Gone => Ok(Step::Gone),
        }
    }

    /// The pods, in one order.
    pub fn all(&self) -> Vec<Pod> {
        self.pods.values().cloned().collect()
    }

    fn at(&mut self, version: String) {
        if !version.is_empty() {
            self.version = version;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: &str, uid: &str, node: &str, version: &str) -> Vec<u8> {
        format!(
            r#"{{"type":"{kind}","object":{{"kind":"Pod","metadata":{{"uid":"{uid}","name":"{uid}","resourceVersion":"{version}",
            "managedFields":[{{"manager":"kubelet"}}]}},"spec":{{"nodeName":"{node}"}}}}}}"#
        )
        .replace('\n', "")
        .into_bytes()
    }

    fn names(store: &PodStore) -> Vec<String> {
        store.all().into_iter().map(|pod| pod.name).collect()
    }

    #[test]
    fn pods_come_change_and_go_and_the_place_moves_on() {
        let mut store = PodStore::default();
        let mut take = |line: Vec<u8>| {
            let step = store.take(&line, "n").unwrap();
            (step, store.version.clone(), names(&store).join(","))
        };
        assert_eq!(take(line("ADDED", "a", "n", "5")), (Step::Changed, "5".into(), "a".into()));
        assert_eq!(take(line("MODIFIED", "a", "n", "6")), (Step::Nothing, "6".into(), "a".into()));
        assert_eq!(take(line("ADDED", "b", "other", "7")), (Step::Nothing, "7".into(), "a".into()));
        assert_eq!(take(line("BOOKMARK", "", "", "9")), (Step::Nothing, "9".into(), "a".into()));
        assert_eq!(take(line("DELETED", "a", "n", "10")), (Step::Changed, "10".into(), String::new()));
        assert_eq!(take(line("DELETED", "a", "n", "11")), (Step::Nothing, "11".into(), String::new()));
    }

    #[test]
    fn forgotten_place_is_told_and_other_errors_are_errors() {
        let mut store = PodStore::default();
        let gone = br#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}"#;
        assert_eq!(store.take(gone, "n").unwrap(), Step::Gone);
        let other = br#"{"type":"ERROR","object":{"kind":"Status","code":500,"message":"etcd is away"}}"#;
        assert!(store.take(other, "n").unwrap_err().to_string().contains("etcd is away"));
        assert!(store.take(b"{}", "n").is_err());
        assert!(store.take(b"", "n").is_err());
        assert_eq!(store.take(br#"{"type":"LATER","object":{}}"#, "n").unwrap(), Step::Nothing);
    }
}

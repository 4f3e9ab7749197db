//! Any bytes as what a kubelet or an API server says of pods: pods or an error, never a panic; and nothing longer than is kept.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monitor::metadata::{Found, Pod, PodStore, Pods, read_list};
use monitor::worker::place_of;

/// The longest name or value that is kept, bytes, and the most labels.
const TEXT_MAX: usize = 512;
const LABELS_MAX: usize = 128;

fn check(pod: &Pod) {
    assert!(!pod.uid.is_empty());
    let texts = [&*pod.uid, &pod.namespace, &pod.name].into_iter();
    let labels = pod.labels.iter().flat_map(|(name, value)| [name.as_str(), value]);
    let containers = pod.containers.iter().flat_map(|one| [one.name.as_str(), &one.image]);
    assert!(texts.chain(labels).chain(containers).all(|text| text.len() <= TEXT_MAX));
    assert!(pod.labels.len() <= LABELS_MAX);
}

fuzz_target!(|data: &[u8]| {
    let mut pods = Pods::default();
    if let Ok(list) = read_list(data) {
        list.iter().for_each(check);
        pods.update(list);
    }
    // The same bytes as the lines of a watch.
    let mut store = PodStore::default();
    for line in data.split(|byte| *byte == b'\n') {
        let _ = store.take(line, "node-1");
    }
    store.all().iter().for_each(check);
    pods.update(store.all());
    let place = place_of("/kubepods/burstable/pod6c296cf0-94d7-43f6-bfb0-d99da865208f/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    let found = pods.find(&place);
    assert!(found == Found::Nothing || !pods.is_empty());
});

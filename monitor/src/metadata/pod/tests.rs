use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::*;

/// As a kubelet gives it, shortened: a deployment's pod that runs, and a static one that has just begun.
const LIST: &str = include_str!("../tests/pods.json");

#[test]
fn a_list_of_the_kubelet_gives_names_labels_owners_and_containers() {
    let pods = read_list(LIST.as_bytes()).unwrap();
    let [n8n, static_one] = pods.as_slice() else { panic!("{pods:#?}") };
    assert_eq!((n8n.namespace.as_str(), n8n.name.as_str()), ("flows", "n8n-worker-7c9f6b5d4-x2x9q"));
    assert_eq!(n8n.owner.as_deref(), Some("n8n-worker"), "the deployment, not its replica set");
    assert_eq!(n8n.owner_kind.as_deref(), Some("Deployment"));
    assert_eq!(n8n.service_account.as_deref(), Some("n8n"));
    assert_eq!(n8n.node.as_deref(), Some("node-1"));
    assert_eq!(n8n.labels.get("app"), Some(&"n8n".to_owned()));
    let names: Vec<(&str, &str, bool)> =
        n8n.containers.iter().map(|c| (&*c.name, &*c.image, c.id.is_some())).collect();
    assert_eq!(
        names,
        [
            ("worker", "docker.io/n8nio/n8n:1.110.1", true),
            ("proxy", "envoy:1.30", false),
            ("migrate", "docker.io/n8nio/n8n:1.110.1", true),
            ("debugger", "busybox", true),
        ]
    );
    assert_eq!(n8n.containers[0].id.as_deref(), Some(&*"5".repeat(64)));
    assert_eq!(static_one.config_hash.as_deref(), Some("9d8f7c6b5a4e3d2c1b0a99887766554f"));
    assert_eq!(static_one.owner.as_deref(), Some("node-1"));
}

#[test]
fn what_is_no_list_of_pods_is_refused() {
    for (json, says) in [
        ("Unauthorized", "no list of pods"),
        ("{\"kind\":\"Status\"}", "Status"),
        ("{}", "nothing"),
        ("[]", "no list"),
    ] {
        let message = read_list(json.as_bytes()).unwrap_err().to_string();
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn absent_and_null_parts_are_no_error() {
    let json = r#"{"kind":"PodList","items":[{"metadata":{"uid":"u","labels":null,"ownerReferences":null},
        "status":{"containerStatuses":null}}, {"metadata":{}}, {}]}"#;
    let pods = read_list(json.as_bytes()).unwrap();
    assert_eq!(pods.len(), 1, "without a uid there is nothing to find it by");
    assert_eq!(read_list(br#"{"kind":"PodList","items":null}"#).unwrap(), []);
}

/// The kubelet's list with what the API server knows of who wrote which field, as it is told there.
fn with_managed_fields() -> Value {
    let mut list: Value = serde_json::from_str(LIST).unwrap();
    for item in list["items"].as_array_mut().unwrap() {
        item["metadata"]["managedFields"] =
            json!([{ "manager": "who-wrote-it", "fieldsV1": { "f:metadata": { "f:who-wrote-it": {} } } }]);
    }
    list
}

#[test]
fn who_wrote_which_field_is_not_kept() {
    let list = with_managed_fields();
    let page = read_page(list.to_string().as_bytes()).unwrap();
    assert_eq!(page.pods, read_list(LIST.as_bytes()).unwrap(), "nothing of it makes a pod another");
    assert!(!format!("{page:?}").contains("who-wrote-it"));
    let event = json!({ "type": "MODIFIED", "object": list["items"][0] });
    let event = read_event(event.to_string().as_bytes()).unwrap();
    assert!(matches!(&event, WatchEvent::There { pod, .. } if **pod == page.pods[0]));
    assert!(!format!("{event:?}").contains("who-wrote-it"));
}

/// From here on a kind of change makes a text longer than what is kept of one; the others put something else in a value's place.
const LONGER: u8 = 10;

fn is_changed(value: &Value, kind: u8) -> bool {
    kind < LONGER || value.is_string()
}

/// Changes one value of those that a change of this kind is for; the first is the document itself.
fn change(value: &mut Value, at: &mut usize, kind: u8) -> bool {
    let is_one = is_changed(value, kind);
    if is_one && *at == 0 {
        *value = match kind {
            0 => Value::Null,
            1 => json!(-1),
            2 => json!(1.5e300),
            3 => json!(""),
            5 => json!([]),
            6 => json!({}),
            7 => json!([[{ "name": ["x"] }], null]),
            8 => json!(true),
            9 => json!({ "kind": 1, "name": null, "uid": {}, "metadata": [], "containers": "x" }),
            _ => json!("\u{0}\u{1b}[31m\u{202e}".repeat(200)),
        };
        return true;
    }
    *at -= usize::from(is_one);
    match value {
        Value::Array(all) => all.iter_mut().any(|value| change(value, at, kind)),
        Value::Object(all) => all.values_mut().any(|value| change(value, at, kind)),
        _ => false,
    }
}

/// How many those are.
fn count(value: &Value, kind: u8) -> usize {
    usize::from(is_changed(value, kind))
        + match value {
            Value::Array(all) => all.iter().map(|value| count(value, kind)).sum(),
            Value::Object(all) => all.values().map(|value| count(value, kind)).sum::<usize>(),
            _ => 0,
        }
}

/// A document that is nearly one of ours: some values are others, then some bytes.
fn nearly(mut document: Value, values: &[(Index, u8)], bytes: &[(Index, u8)]) -> Vec<u8> {
    for (at, kind) in values {
        let most = count(&document, *kind);
        if most > 0 {
            assert!(change(&mut document, &mut at.index(most), *kind));
        }
    }
    let mut text = document.to_string().into_bytes();
    for (at, byte) in bytes {
        let at = at.index(text.len());
        match byte % 3 {
            0 => text[at] = *byte,
            1 => text.insert(at, *byte),
            _ => text.truncate(at.max(1)),
        }
    }
    text
}

/// What is kept of a pod is bounded, whatever was told.
fn is_bounded(pod: &Pod) -> bool {
    let texts = [&*pod.uid, &*pod.namespace, &*pod.name].into_iter();
    let texts = texts.chain(pod.owner.as_deref()).chain(pod.owner_kind.as_deref()).chain(pod.node.as_deref());
    let containers = pod.containers.iter();
    let texts =
        texts.chain(containers.flat_map(|c| [&*c.name, &*c.image, c.id.as_deref().unwrap_or_default()]));
    let pairs = pod.labels.iter().chain(&pod.annotations);
    texts.chain(pairs.flat_map(|(name, value)| [name.as_str(), value])).all(|text| text.len() <= TEXT_MAX)
        && pod.labels.len() <= LABELS_MAX
        && pod.annotations.len() <= ANNOTATIONS_MAX
}

fn changes(kinds: u8, most: usize) -> impl Strategy<Value = Vec<(Index, u8)>> {
    prop::collection::vec((any::<Index>(), 0..kinds), 0..most)
}

proptest! {
    #[test]
    fn a_list_that_is_nearly_one_is_read_or_refused_and_what_is_kept_is_bounded(
        values in changes(20, 8), bytes in changes(255, 3),
    ) {
        if let Ok(pods) = read_list(&nearly(with_managed_fields(), &values, &bytes)) {
            prop_assert!(pods.iter().all(|pod| !pod.uid.is_empty() && is_bounded(pod)));
        }
    }

    #[test]
    fn a_line_of_a_watch_that_is_nearly_one_is_read_or_refused_and_what_is_kept_is_bounded(
        kind in prop::sample::select(vec!["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR", "LATER"]),
        item in 0..2usize, values in changes(20, 8), bytes in changes(255, 3),
    ) {
        let mut object = with_managed_fields()["items"][item].take();
        object["metadata"]["resourceVersion"] = json!("4711");
        match read_event(&nearly(json!({ "type": kind, "object": object }), &values, &bytes)) {
            Ok(WatchEvent::There { pod, version }) => prop_assert!(is_bounded(&pod) && version.len() <= TEXT_MAX),
            Ok(WatchEvent::Deleted { uid, version }) => prop_assert!(uid.len().max(version.len()) <= TEXT_MAX),
            Ok(WatchEvent::Bookmark { version }) => prop_assert!(version.len() <= TEXT_MAX),
            Ok(WatchEvent::Gone) | Err(_) => {}
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_list(&bytes);
    }

    #[test]
    fn long_texts_are_cut_between_characters(text in "\\PC{0,600}") {
        let cut = bounded(text.clone());
        prop_assert!(cut.len() <= TEXT_MAX && text.starts_with(&cut));
    }
}

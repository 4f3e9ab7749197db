//! Pods that are watched: each of one busybox, in the namespace `flows`.

use serde_json::{Value, json};

use super::PATIENCE;
use super::node::Node;

pub(crate) const NAMESPACE: &str = "flows";

/// The token that Kubernetes mounts for the pod's account.
pub(crate) const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// What the labels of the pod say: a profile chosen by them alone, and whose run it is.
pub(crate) const PROFILE: &str = "schema: sandwatch/profile/v1
name: toy-job
engine: toy
title: A job of the toy engine of a test
select: [{ pod_labels: { toy/kind: job } }]
roles:
  - { name: engine, parent: entry, program: sh }
expect:
  entry: { exec: { allow: [{ becomes: engine }], else: boundary } }
  engine:
    exec: { allow: [{ program: sleep, why: it waits }], else: boundary }
    identities: { allow: [], else: identity }
attribution:
  - { field: workflow, from: label, name: toy/workflow, trust: controller }
  - { field: run, from: label, name: toy/run, trust: controller }
";

/// A pod whose one container runs this script.
pub(crate) fn pod(name: &str, script: &str, resources: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": NAMESPACE, "labels": { "app": "toy", "pod": name } },
        "spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false,
            "containers": [{
                "name": "worker", "image": "localhost/busybox:1", "imagePullPolicy": "Never",
                "command": ["/bin/sh", "-c", script], "resources": resources,
            }],
        },
    })
}

/// The same as a job of the toy engine: it has the labels of one, and its account's token.
pub(crate) fn job(name: &str, script: &str, resources: &Value) -> Value {
    let mut pod = pod(name, script, resources);
    pod["spec"]["automountServiceAccountToken"] = true.into();
    pod["metadata"]["labels"] =
        json!({ "toy/kind": "job", "toy/workflow": "nightly", "toy/run": format!("run-of-{name}") });
    pod
}

/// A job that reads the token every second.
pub(crate) fn thief(name: &str, resources: &Value) -> Value {
    job(name, &format!("while :; do sleep 1; cat {TOKEN} > /dev/null; done"), resources)
}

/// The namespace, with an account that its pods can have.
pub(crate) fn namespace(node: &Node) {
    node.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } }));
    node.wait_for("the namespace has its account", PATIENCE, |node| {
        node.get(&["-n", NAMESPACE, "serviceaccounts", "default"])["secrets"].is_array()
    });
}

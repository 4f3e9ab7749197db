//! The chart's agent when it may not ask who the pods are, and when nobody answers: it says so, watches on, and knows them once it can.

use serde_json::json;

use super::PATIENCE;
use super::node::Node;
use super::pods::{namespace, thief};
use super::release::{Release, values};

#[test]
fn chart_without_its_right_or_the_api_server_says_so_and_names_the_pods_afterwards() {
    let node = Node::start();
    namespace(&node);
    let release = Release::install(&node, &values(&node));
    let mut stays = thief("stays", &json!({}));
    stays["spec"]["restartPolicy"] = "Always".into();
    node.apply(&stays);
    release.wait_for_theft("stays");
    assert_eq!(release.said("pods-unknown", "open"), 0);

    let taken = node.kubectl(&["delete", "clusterrolebinding", "sandwatch"], None);
    assert!(taken.status.success(), "{taken:?}");
    node.apply(&thief("unasked", &json!({})));
    let told = release.wait_until_said("pods-unknown", "open", 1);
    assert!(told["health"]["detail"].as_str().unwrap().contains("403"), "{told:#}");
    assert!(release.ask(&["status", "--ready"]).status.success(), "it watches all the same");
    // Helm puts back what somebody took away.
    release.upgrade(&values(&node));
    release.wait_until_said("pods-unknown", "closed", 1);
    let alert = release.wait_for_theft("unasked");
    assert_eq!(alert["worker"]["pod"]["labels"]["toy/run"], "run-of-unasked", "{alert:#}");

    // The kubelet lets nobody in whom it cannot look up, and starts a container anew by itself.
    let container = |node: &Node| {
        let pod = node.get(&["-n", "flows", "pods", "stays"]);
        let id = pod["status"]["containerStatuses"][0]["containerID"].clone();
        id.as_str().unwrap().trim_start_matches("containerd://").to_owned()
    };
    let before = container(&node);
    node.signal("kube-apiserver", libc::SIGSTOP);
    let killed = node.ctr(&["tasks", "kill", "-s", "SIGKILL", &before]);
    assert!(killed.status.success(), "{killed:?}");
    release.wait_until_said("pods-unknown", "open", 2);
    node.signal("kube-apiserver", libc::SIGCONT);
    release.wait_until_said("pods-unknown", "closed", 2);
    node.wait_for("its next container is told of", PATIENCE, |node| {
        let after = container(node);
        after != before
            && release.incident("stays", |alert| alert["worker"]["container"]["id"] == after).is_some()
    });
    assert_eq!(release.pod()["status"]["containerStatuses"][0]["restartCount"], 0);
}

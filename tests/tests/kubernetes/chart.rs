//! The chart's agent: it becomes ready with the privileges that are stated and no others, and tells what pods do, under their names.

use serde_json::json;

use super::node::Node;
use super::pods::{job, namespace, thief};
use super::release::{Release, said, values};
use super::{PATIENCE, privileges};

#[test]
fn chart_runs_as_stated_and_tells_thefts_in_pods_of_every_class_by_name_and_run() {
    let node = Node::start();
    namespace(&node);
    node.apply(&thief("early", &json!({})));
    node.wait_for("it runs", PATIENCE, |node| {
        node.get(&["-n", "flows", "pods", "early"])["status"]["phase"] == "Running"
    });
    let release = Release::install(&node, &values(&node));

    let given = ["BPF", "PERFMON", "SYS_PTRACE", "DAC_READ_SEARCH", "NET_ADMIN"];
    let context = release.pod()["spec"]["containers"][0]["securityContext"].clone();
    assert_eq!(context["capabilities"], json!({ "drop": ["ALL"], "add": given }), "{context:#}");
    privileges::check(release.pid(), &given, &["BPF", "SYS_PTRACE", "DAC_READ_SEARCH"]);
    let ready = release.ask(&["status", "--ready"]);
    assert!(ready.status.success(), "{}", said(&ready));

    let exact = json!({ "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "cpu": "10m", "memory": "32Mi" } });
    node.apply(&thief("guaranteed", &exact));
    node.apply(&thief("burstable", &json!({ "requests": { "cpu": "5m" } })));
    node.apply(&thief("besteffort", &json!({})));
    for (name, class) in [
        ("early", "besteffort"),
        ("guaranteed", ""),
        ("burstable", "burstable"),
        ("besteffort", "besteffort"),
    ] {
        let alert = release.wait_for_theft(name);
        let worker = &alert["worker"];
        let uid = node.get(&["-n", "flows", "pods", name])["metadata"]["uid"].clone();
        assert_eq!(worker["pod"]["uid"], uid, "{alert:#}");
        assert_eq!((&worker["pod"]["namespace"], &worker["pod"]["name"]), (&json!("flows"), &json!(name)));
        assert_eq!(worker["container"]["image"], "localhost/busybox:1");
        assert_eq!((&worker["profile"], &worker["node"]), (&json!("toy-job"), &json!("node-1")));
        let path = worker["cgroup"]["path"].as_str().unwrap();
        assert!(path.starts_with(&format!("/kubepods/{class}")), "{path}");
        let attribution = &alert["attribution"];
        assert_eq!(attribution["workflow"]["value"], "nightly", "{alert:#}");
        assert_eq!(attribution["run"]["value"], format!("run-of-{name}"));
    }
    assert_eq!(release.said("pods-unknown", "open"), 0);
    let typed = release.by_the_document();
    let workers = typed.iter().find(|(command, _)| command.ends_with("sandwatch workers")).unwrap();
    assert!(workers.1.contains("flows/guaranteed/worker"), "{workers:?}");

    // Pods that are over before anybody asks about them.
    let short: Vec<String> = (0..20).map(|number| format!("short-{number}")).collect();
    for name in &short {
        node.apply(&job(name, "cat /var/run/secrets/kubernetes.io/serviceaccount/token", &json!({})));
    }
    for name in &short {
        let alert = release.wait_for_theft(name);
        assert_eq!(alert["attribution"]["run"]["value"], format!("run-of-{name}"), "{alert:#}");
    }
    // What it was given at the start is what it had to the end.
    privileges::check(release.pid(), &given, &["BPF", "SYS_PTRACE", "DAC_READ_SEARCH"]);
    assert_eq!(release.pod()["status"]["containerStatuses"][0]["restartCount"], 0);
}

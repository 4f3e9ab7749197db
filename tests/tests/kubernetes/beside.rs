//! An agent of this build beside the node, with an account of the cluster: what it asks of the kubelet, and what it does when that may not be.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::node::{ADDRESS, Node};
use super::pods::pod;
use super::{PATIENCE, lab};

/// An agent beside the node, with an account of the cluster.
struct Agent<'a> {
    node: &'a Node,
    child: Child,
}

const RBAC: &str = "
apiVersion: v1
kind: Namespace
metadata: { name: flows }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: sandwatch, namespace: flows }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: sandwatch }
rules:
  - { apiGroups: [\"\"], resources: [nodes/proxy], verbs: [get] }
  - { apiGroups: [\"\"], resources: [pods], verbs: [list, watch] }
";
const BINDING: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: sandwatch }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: sandwatch }
subjects: [{ kind: ServiceAccount, name: sandwatch, namespace: flows }]
";

const PROFILE: &str = "schema: sandwatch/profile/v1
name: in-pod
engine: toy
title: The toy engine of a test
select: [{ namespace: flows, container: worker }]
roles:
  - { name: engine, parent: entry, program: sh }
expect:
  entry: { exec: { allow: [{ becomes: engine }], else: boundary } }
  engine: { exec: { allow: [{ program: sleep, why: it waits }], else: boundary } }
";

impl<'a> Agent<'a> {
    /// One that asks the kubelet.
    fn start(node: &'a Node) -> Self {
        let folder = node.folder.path().display();
        Self::asking(
            node,
            &format!(
                "from: kubelet, url: \"https://{ADDRESS}:10250\", ca_file: {folder}/kubelet-certs/kubelet.crt, server_name: node-1"
            ),
        )
    }

    /// One that the API server tells what changes.
    fn told(node: &'a Node) -> Self {
        let folder = node.folder.path().display();
        Self::asking(
            node,
            &format!(
                "from: api, url: \"https://{ADDRESS}:6443\", ca_file: {folder}/certs/apiserver.crt, node: node-1"
            ),
        )
    }

    fn asking(node: &'a Node, pods: &str) -> Self {
        node.apply(RBAC);
        node.apply(BINDING);
        node.wait_for("the account is there", PATIENCE, |node| {
            node.get(&["-n", "flows", "serviceaccounts", "sandwatch"]).is_object()
        });
        fs::write(node.path("token"), node.token("flows", "sandwatch")).unwrap();
        fs::create_dir_all(node.path("rules/profiles")).unwrap();
        fs::write(node.path("rules/profiles/in-pod.yaml"), PROFILE).unwrap();
        let config = format!(
            "schema: sandwatch/config/v1\nstate_dir: {folder}/state\nworkers: {{ watch: [\"/kubepods*/**\"] }}\nrules: [{folder}/rules]\n\
             pods: {{ {pods}, token_file: {folder}/token, wait: 10s }}\n\
             sinks: [{{ name: local, type: file, path: {folder}/alerts.jsonl }}]\n",
            folder = node.folder.path().display(),
        );
        fs::write(node.path("sandwatch.yaml"), config).unwrap();
        let log = fs::File::create(node.path("agent.log")).unwrap();
        let child = node
            .inside(lab::program())
            .args(["run", "--config", node.path("sandwatch.yaml").to_str().unwrap()])
            .env_remove("SANDWATCH_LOG")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let agent = Self { node, child };
        node.wait_for("the agent watches", PATIENCE, |_| agent.log().contains("watching"));
        agent
    }

    fn log(&self) -> String {
        fs::read_to_string(self.node.path("agent.log")).unwrap()
    }

    fn alerts(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.node.path("alerts.jsonl")).unwrap_or_default();
        lab::alerts(text.rsplit_once('\n').map_or("", |(whole, _)| whole))
    }

    /// The newest alert of the incident in this pod's container.
    fn incident(&self, pod: &str) -> Option<Value> {
        let name = format!("flows/{pod}/worker");
        self.alerts()
            .into_iter()
            .rfind(|alert| alert["kind"] == "incident" && alert["worker"]["name"] == name.as_str())
    }

    fn wait_for_incident(&self, pod: &str) -> Value {
        // What the agent logged until then is shown when this fails.
        self.node.wait_for(&format!("an incident in {pod}"), PATIENCE, |_| self.incident(pod).is_some());
        self.incident(pod).unwrap()
    }

    /// How often the condition was said in this state.
    fn said(&self, condition: &str, state: &str) -> usize {
        self.alerts()
            .iter()
            .filter(|alert| alert["health"]["condition"] == condition && alert["state"] == state)
            .count()
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        lab::signal(&self.child, libc::SIGTERM);
        lab::wait(&mut self.child);
    }
}

/// A loop, and what it does every second; `/bin/id` is what its profile does not allow.
const STEALS: &str = "while :; do sleep 1; /bin/id; done";

#[test]
fn pods_of_every_class_are_named_by_the_kubelet_before_and_after_the_start() {
    let node = Node::start();
    node.apply(RBAC);
    node.wait_for("the namespace has its account", PATIENCE, |node| {
        node.get(&["-n", "flows", "serviceaccounts", "default"]).is_object()
    });
    let exact = json!({ "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "cpu": "10m", "memory": "32Mi" } });
    node.apply(&pod("early", STEALS, &json!({})));
    node.wait_for("it runs", PATIENCE, |node| {
        node.get(&["-n", "flows", "pods", "early"])["status"]["phase"] == "Running"
    });
    let agent = Agent::start(&node);
    node.apply(&pod("guaranteed", STEALS, &exact));
    node.apply(&pod("burstable", STEALS, &json!({ "requests": { "cpu": "5m" } })));
    node.apply(&pod("besteffort", STEALS, &json!({})));
    for (name, class) in [
        ("early", "besteffort"),
        ("guaranteed", ""),
        ("burstable", "burstable"),
        ("besteffort", "besteffort"),
    ] {
        let alert = agent.wait_for_incident(name);
        let uid = node.get(&["-n", "flows", "pods", name])["metadata"]["uid"].clone();
        assert_eq!(alert["worker"]["pod"]["uid"], uid, "{alert:#}");
        assert_eq!(alert["worker"]["pod"]["labels"]["pod"], name);
        assert_eq!(alert["worker"]["profile"], "in-pod");
        assert_eq!(alert["worker"]["node"], "node-1");
        assert_eq!(alert["worker"]["container"]["image"], "localhost/busybox:1");
        let path = alert["worker"]["cgroup"]["path"].as_str().unwrap();
        assert!(path.starts_with(&format!("/kubepods/{class}")), "{path}");
    }
    assert_eq!(agent.said("pods-unknown", "open"), 0, "{}", agent.log());

    // Pods that are over before anybody asks about them.
    let short: Vec<String> = (0..20).map(|number| format!("short-{number}")).collect();
    for name in &short {
        node.apply(&pod(name, "/bin/id", &json!({})));
    }
    for name in &short {
        let alert = agent.wait_for_incident(name);
        assert_eq!(alert["worker"]["pod"]["labels"]["pod"], name.as_str(), "{alert:#}");
        assert_eq!(alert["process"]["argv"], json!(["/bin/id"]), "its very exec was seen");
    }
}

#[test]
fn right_to_ask_that_is_taken_away_and_given_back_is_said_and_nothing_is_missed() {
    let node = Node::start();
    let agent = Agent::start(&node);
    let taken = node.kubectl(&["delete", "clusterrolebinding", "sandwatch"], None);
    assert!(taken.status.success());
    node.apply(&pod("unasked", STEALS, &json!({})));
    node.wait_for("it is said", PATIENCE, |_| agent.said("pods-unknown", "open") == 1);
    let told =
        agent.alerts().into_iter().find(|alert| alert["health"]["condition"] == "pods-unknown").unwrap();
    assert!(told["health"]["detail"].as_str().unwrap().contains("403"), "{told:#}");
    node.apply(BINDING);
    node.wait_for("it is over", PATIENCE, |_| agent.said("pods-unknown", "closed") == 1);
    let alert = agent.wait_for_incident("unasked");
    assert_eq!(alert["worker"]["profile"], "in-pod", "{alert:#}");

    // Without an API server the node's pods go on, and so does the agent.
    node.signal("kube-apiserver", libc::SIGSTOP);
    std::thread::sleep(Duration::from_secs(5));
    node.signal("kube-apiserver", libc::SIGCONT);
    node.apply(&pod("afterwards", STEALS, &json!({})));
    assert_eq!(agent.wait_for_incident("afterwards")["worker"]["pod"]["name"], "afterwards");
}

#[test]
fn pods_are_named_by_what_the_api_server_tells_also_after_it_was_away() {
    let node = Node::start();
    node.apply(RBAC);
    node.wait_for("the namespace has its account", PATIENCE, |node| {
        node.get(&["-n", "flows", "serviceaccounts", "default"]).is_object()
    });
    node.apply(&pod("listed", STEALS, &json!({})));
    node.wait_for("it runs", PATIENCE, |node| {
        node.get(&["-n", "flows", "pods", "listed"])["status"]["phase"] == "Running"
    });
    let agent = Agent::told(&node);
    let named = |name: &str| {
        let alert = agent.wait_for_incident(name);
        let uid = node.get(&["-n", "flows", "pods", name])["metadata"]["uid"].clone();
        assert_eq!(alert["worker"]["pod"]["uid"], uid, "{alert:#}");
        assert_eq!(alert["worker"]["pod"]["labels"]["pod"], name);
        assert_eq!(alert["worker"]["profile"], "in-pod");
        assert_eq!(alert["worker"]["container"]["image"], "localhost/busybox:1");
    };
    named("listed");
    node.apply(&pod("watched", STEALS, &json!({})));
    named("watched");
    let short: Vec<String> = (0..5).map(|number| format!("short-{number}")).collect();
    for name in &short {
        node.apply(&pod(name, "/bin/id", &json!({})));
    }
    short.iter().for_each(|name| named(name));
    assert_eq!(agent.said("pods-unknown", "open"), 0, "{}", agent.log());

    node.signal("kube-apiserver", libc::SIGSTOP);
    std::thread::sleep(Duration::from_secs(5));
    node.signal("kube-apiserver", libc::SIGCONT);
    node.apply(&pod("afterwards", STEALS, &json!({})));
    named("afterwards");
}

//! The chart's agent while its ConfigMaps change, what it serves to who scrapes it, and that it can be removed.

use serde_json::{Value, json};

use super::node::Node;
use super::pods::{job, namespace};
use super::release::{Release, said, values};
use super::{PATIENCE, privileges};

/// One more kind of secret, as a site has them.
const IDENTITIES: &str = "schema: sandwatch/identities/v1
identities:
  - id: secret-of-the-site
    class: ssh
    gives: nothing
    paths: [\"/tmp/secret-of-the-site\"]
    respond: { revoke: Nothing. }
    refs: { owasp_nhi: [NHI7] }
";

/// What asks the agent's pod for its metrics. busybox has a wget, which Debian's static build cannot look names up in: it dies.
fn request(release: &Release<'_>) -> String {
    let address = release.pod()["status"]["podIP"].as_str().unwrap().to_owned();
    let request = "GET /metrics HTTP/1.1\\r\\nHost: agent\\r\\nConnection: close\\r\\n\\r\\n";
    format!("printf '{request}' | busybox nc -w 5 {address} 9464")
}

/// The metrics, asked for in the node's network.
fn scrape(node: &Node, release: &Release<'_>) -> String {
    said(&node.inside("/bin/sh").args(["-c", &request(release)]).output().unwrap())
}

/// The configuration of the release becomes this, without Helm.
fn change(node: &Node, data: &Value) {
    let patch = json!({ "data": data }).to_string();
    let output =
        node.kubectl(&["-n", "sandwatch", "patch", "configmap", "sandwatch", "--patch", &patch], None);
    assert!(output.status.success(), "{}", said(&output));
}

/// Through which hook the running agent sees connects.
fn connects(release: &Release<'_>) -> Value {
    let output = release.ask(&["doctor", "--json"]);
    // It ends with 1 where something is not seen.
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    let signals = report["signals"].as_array().unwrap().clone();
    signals.iter().find(|signal| signal["signal"] == "connect").unwrap().clone()
}

#[test]
fn chart_takes_changed_rules_refuses_bad_ones_is_scraped_and_leaves_nothing() {
    let node = Node::start();
    namespace(&node);
    let mut values = values(&node);
    let release = Release::install(&node, &values);
    let pod = release.pod()["metadata"]["uid"].clone();

    let seen = scrape(&node, &release);
    assert!(seen.contains("\nsandwatch_ready 1"), "{seen}");
    node.apply(&job("scraper", &request(&release), &json!({})));
    node.wait_for("another pod scrapes it", PATIENCE, |node| {
        let log = said(&node.kubectl(&["-n", "flows", "logs", "scraper"], None));
        log.contains("\nsandwatch_ready 1")
    });

    // A rule of the site, which is no reason to start anew.
    values["rules"]["overlay"]["site.yaml"] = IDENTITIES.into();
    release.helm_with("upgrade", &values);
    let script = "echo none > /tmp/secret-of-the-site; while :; do sleep 1; cat /tmp/secret-of-the-site > /dev/null; done";
    node.apply(&job("reader", script, &json!({})));
    node.wait_for("the new rule is in force", PATIENCE, |_| {
        let takes = |alert: &Value| alert["blast_radius"]["taken"].to_string().contains("secret-of-the-site");
        release.incident("reader", takes).is_some()
    });
    // One that is wrong is said and changes nothing, until it is right again.
    values["rules"]["overlay"]["site.yaml"] = "schema: sandwatch/identities/v1\nidentities: 7\n".into();
    release.helm_with("upgrade", &values);
    release.wait_until_said("rules-refused", "open", 1);
    assert!(release.ask(&["status", "--ready"]).status.success(), "it watches by the rules before");
    node.wait_for("its metrics say so", PATIENCE, |node| {
        scrape(node, &release).contains("\nsandwatch_rules_last_reload_successful 0")
    });
    values["rules"]["overlay"]["site.yaml"] = IDENTITIES.into();
    release.helm_with("upgrade", &values);
    release.wait_until_said("rules-refused", "closed", 1);
    // So is a configuration that somebody changed by hand.
    let right = node.get(&["-n", "sandwatch", "configmaps", "sandwatch"])["data"].clone();
    change(&node, &json!({ "sandwatch.yaml": "schema: sandwatch/config/v1\nworkers: 7\n" }));
    release.wait_until_said("config-refused", "open", 1);
    change(&node, &right);
    release.wait_until_said("config-refused", "closed", 1);
    assert_eq!(release.pod()["metadata"]["uid"], pod, "it is the pod of the beginning");
    assert_eq!(release.pod()["status"]["containerStatuses"][0]["restartCount"], 0);

    let tested = release.helm(&["test", "sandwatch"]);
    assert!(tested.contains("Phase:          Succeeded"), "{tested}");

    assert_eq!(connects(&release)["rung"], "cgroup");
    values["netAdmin"] = false.into();
    release.upgrade(&values);
    assert_ne!(release.pod()["metadata"]["uid"], pod);
    let given = ["BPF", "PERFMON", "SYS_PTRACE", "DAC_READ_SEARCH"];
    privileges::check(release.pid(), &given, &["BPF", "SYS_PTRACE", "DAC_READ_SEARCH"]);
    let degraded = connects(&release);
    assert!(degraded["rung"] != "cgroup" && !degraded["gaps"].as_array().unwrap().is_empty(), "{degraded:#}");

    removed(&node, &release);
    // Nobody drives the shells that began while it was exchanged.
    let told = std::fs::read_to_string(node.path("state/alerts.jsonl")).unwrap();
    assert!(!told.contains("\"reverse-shell\""), "{told}");
    // Neither it nor what keeps its namespaces is a worker that it finds fault with. The pod of `helm test` opens rules as somebody would
    // who looks at what is watched for.
    let of_its_own = |alert: &Value| {
        let name = alert["worker"]["name"].as_str().unwrap_or_default();
        name.starts_with("sandwatch/sandwatch-") && !name.starts_with("sandwatch/sandwatch-test-")
    };
    let of_its_own: Vec<Value> = release.alerts().into_iter().filter(of_its_own).collect();
    assert_eq!(of_its_own, Vec::<Value>::new());
}

/// Removes it, and looks for what is left.
fn removed(node: &Node, release: &Release<'_>) {
    let pid = release.pid();
    release.helm(&["uninstall", "sandwatch"]);
    // A kubelet of 1.20 that asked for the container twice forgets the pod itself only minutes later.
    node.wait_for("its process is gone and its pod given up", PATIENCE, |node| {
        let pods = node.get(&["-n", "sandwatch", "pods"])["items"].clone();
        let given_up = |pod: &Value| pod["metadata"]["deletionTimestamp"].is_string();
        !std::path::Path::new(&format!("/proc/{pid}")).exists()
            && pods.as_array().is_some_and(|pods| pods.iter().all(given_up))
    });
    let kinds =
        "daemonsets,configmaps,serviceaccounts,services,networkpolicies,clusterroles,clusterrolebindings";
    let selector = ["get", kinds, "-A", "-o", "name", "-l", "app.kubernetes.io/name=sandwatch"];
    assert_eq!(said(&node.kubectl(&selector, None)), "", "left behind");
    let canary = format!("sandwatch-canary-{pid}");
    assert!(!super::lab::cgroup_root().join(canary).exists());
    assert!(node.path("state/log").exists(), "what it kept stays on the node");
}

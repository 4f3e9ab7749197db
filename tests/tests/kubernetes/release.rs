//! The shipped chart on the node, installed by Helm with the image that is shipped; and what its agent says.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::node::Node;
use super::pods::{self, PROFILE};
use super::{PATIENCE, lab};

/// Of the release, its namespace and its objects.
pub(crate) const NAME: &str = "sandwatch";

pub(crate) struct Release<'a> {
    pub(crate) node: &'a Node,
}

impl<'a> Release<'a> {
    /// Installed as the document says, with the agent ready.
    pub(crate) fn install(node: &'a Node, values: &Value) -> Self {
        node.import(&given("SANDWATCH_IMAGE"));
        let labels = json!({ "pod-security.kubernetes.io/enforce": "privileged" });
        node.apply(&json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAME, "labels": labels },
        }));
        let release = Self { node };
        release.helm_with("install", values);
        release.wait_until_it_is_out();
        release
    }

    /// The release with these values instead, and its agent ready again.
    pub(crate) fn upgrade(&self, values: &Value) {
        self.helm_with("upgrade", values);
        self.wait_until_it_is_out();
    }

    /// Installs or upgrades without waiting for anything.
    pub(crate) fn helm_with(&self, verb: &str, values: &Value) {
        fs::write(self.node.path("values.json"), values.to_string()).unwrap();
        let (chart, values) = (given("SANDWATCH_CHART"), self.node.path("values.json"));
        let output = self.helm(&[verb, NAME, chart.to_str().unwrap(), "--values", values.to_str().unwrap()]);
        assert!(output.contains("STATUS: deployed"), "{output}");
    }

    /// Helm in the release's namespace; it has to succeed.
    pub(crate) fn helm(&self, arguments: &[&str]) -> String {
        let mut command = self.node.inside(given("SANDWATCH_HELM"));
        self.environment(&mut command);
        command.args(arguments).args(["--namespace", NAME]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "helm {arguments:?}: {}", said(&output));
        said(&output)
    }

    /// The node's cluster for kubectl and Helm, and nothing of whoever runs this.
    pub(crate) fn environment(&self, command: &mut Command) {
        for folder in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "HELM_PLUGINS"] {
            command.env(folder, self.node.path("helm"));
        }
        command.env("KUBECONFIG", self.node.path("kubeconfig"));
    }

    pub(crate) fn wait_until_it_is_out(&self) {
        self.node.wait_for("the agent is ready", PATIENCE, |node| {
            let set = node.get(&["-n", NAME, "daemonsets", NAME]);
            let status = &set["status"];
            status["observedGeneration"] == set["metadata"]["generation"]
                && status["updatedNumberScheduled"] == 1
                && status["numberAvailable"] == 1
        });
    }

    /// The agent's pod.
    pub(crate) fn pod(&self) -> Value {
        let name = format!("app.kubernetes.io/name={NAME}");
        let pods = self.node.get(&["-n", NAME, "pods", "--selector", &name]);
        let pods = pods["items"].as_array().unwrap().clone();
        assert_eq!(pods.len(), 1, "{pods:#?}");
        pods[0].clone()
    }

    /// The agent's process.
    pub(crate) fn pid(&self) -> u32 {
        let status = self.pod()["status"]["containerStatuses"][0].clone();
        let id = status["containerID"].as_str().unwrap().strip_prefix("containerd://").unwrap().to_owned();
        let tasks = String::from_utf8(self.node.ctr(&["tasks", "ls"]).stdout).unwrap();
        let line = tasks.lines().find(|line| line.starts_with(&id)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// `sandwatch` with these arguments in the agent's container, as the document has a person ask.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Output {
        let agent = format!("daemonset/{NAME}");
        let command: Vec<&str> =
            ["-n", NAME, "exec", &agent, "--", "sandwatch"].iter().chain(arguments).copied().collect();
        self.node.kubectl(&command, None)
    }

    pub(crate) fn alerts(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.node.path("state/alerts.jsonl")).unwrap_or_default();
        lab::alerts(text.rsplit_once('\n').map_or("", |(whole, _)| whole))
    }

    /// The newest alert of the incident in the worker of this pod that fits.
    pub(crate) fn incident(&self, pod: &str, fits: impl Fn(&Value) -> bool) -> Option<Value> {
        let name = format!("{}/{pod}/worker", pods::NAMESPACE);
        let wanted = |alert: &Value| alert["kind"] == "incident" && alert["worker"]["name"] == name.as_str();
        lab::newest(&self.alerts(), wanted).filter(|alert| fits(alert))
    }

    /// Waits for an incident of the pod in which its account's token was taken.
    pub(crate) fn wait_for_theft(&self, pod: &str) -> Value {
        let takes = |alert: &Value| {
            let taken = alert["blast_radius"]["taken"].as_array().cloned().unwrap_or_default();
            taken.iter().any(|taken| taken["identity"] == "k8s-service-account-token")
        };
        self.node.wait_for(&format!("a theft in {pod}"), PATIENCE, |_| self.incident(pod, takes).is_some());
        self.incident(pod, takes).unwrap()
    }

    /// How often the condition was said in this state.
    pub(crate) fn said(&self, condition: &str, state: &str) -> usize {
        let fits = |alert: &&Value| alert["health"]["condition"] == condition && alert["state"] == state;
        self.alerts().iter().filter(fits).count()
    }

    pub(crate) fn wait_until_said(&self, condition: &str, state: &str, times: usize) -> Value {
        let what = format!("{condition} is {state}");
        self.node.wait_for(&what, PATIENCE, |_| self.said(condition, state) >= times);
        let fits = |alert: &Value| alert["health"]["condition"] == condition && alert["state"] == state;
        self.alerts().into_iter().rfind(fits).unwrap()
    }

    /// The log of the agent's container.
    pub(crate) fn log(&self) -> String {
        let agent = format!("daemonset/{NAME}");
        said(&self.node.kubectl(&["-n", NAME, "logs", &agent], None))
    }
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.node.signal("kube-apiserver", libc::SIGCONT);
            for what in ["daemonsets", "pods"] {
                eprintln!("{}", said(&self.node.kubectl(&["-n", NAME, "describe", what], None)));
            }
            eprintln!("{}", self.log());
        }
    }
}

/// Values of the chart for this node: what a person has to say of a kubelet before 1.33 with a certificate of its own, a file to read alerts
/// from, and a profile of the site.
pub(crate) fn values(node: &Node) -> Value {
    json!({
        "image": { "pullPolicy": "Never" },
        "config": { "cluster": "node.test", "workers": { "watch": ["/kubepods*/**"] } },
        "sinks": [
            { "name": "log", "type": "stdout", "format": "json" },
            { "name": "local", "type": "file", "path": "/var/lib/sandwatch/alerts.jsonl" },
        ],
        "rules": { "overlay": { "toy.yaml": PROFILE } },
        "pods": { "allowNodesProxy": true, "kubeletCertificate": node.path("kubelet-certs/kubelet.crt") },
        "stateHostPath": node.path("state"),
        "rollout": { "minReadySeconds": 2 },
    })
}

/// What the tier names.
pub(crate) fn given(variable: &str) -> PathBuf {
    let hint = "cargo xtask test --only kubernetes names it";
    std::env::var_os(variable).map_or_else(|| panic!("no {variable}: {hint}"), PathBuf::from)
}

pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

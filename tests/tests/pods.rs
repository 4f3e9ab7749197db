//! A worker in a pod: the agent learns from the kubelet, or the API server, what it is, on the live kernel.
//!
//! The kubelet is a fake (there is no Kubernetes on a test machine): it speaks TLS, wants the token of a service account, and
//! answers as a kubelet does. The cgroup is one that a kubelet and containerd would make, with real processes in it.
//! Needs root; `SANDWATCH_BIN` names the program.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use integration::fakes::authority::{self, Authority, Valid};
use integration::fakes::server::{Reply, Request, Server};
use serde_json::{Value, json};

mod lab;

use lab::{cgroup_root, eventually, sandwatch, signal, wait};

const UID: &str = "6c296cf0-94d7-43f6-bfb0-d99da865208f";
const TOKEN: &str = "token-of-the-node-s-agent";

/// A profile that only the pod's namespace and container choose.
const PROFILE: &str = "schema: sandwatch/profile/v1
name: in-pod
engine: toy
title: The toy engine of a test
select: [{ namespace: flows, container: worker }]
roles:
  - { name: engine, parent: entry, program: [sh, dash, bash, busybox] }
expect:
  entry: { exec: { allow: [{ becomes: engine }], else: boundary } }
  engine: { exec: { allow: [{ program: sleep, why: it waits }], else: boundary } }
";

/// A node: a pod's cgroup, its kubelet, and an agent that watches.
struct Node {
    folder: tempfile::TempDir,
    top: PathBuf,
    kubelet: Server,
    /// Whether the kubelet has seen the container run.
    seen: Arc<AtomicBool>,
    agent: Option<Child>,
}

fn container() -> String {
    "a".repeat(64)
}

fn list(seen: bool) -> Value {
    let id = if seen { json!(format!("containerd://{}", container())) } else { Value::Null };
    json!({ "kind": "PodList", "apiVersion": "v1", "items": [{
        "metadata": { "name": "n8n-0", "namespace": "flows", "uid": UID, "labels": { "app": "n8n" } },
        "spec": { "nodeName": "node-1", "containers": [{ "name": "worker", "image": "n8nio/n8n:1" }] },
        "status": { "containerStatuses": [{ "name": "worker", "containerID": id }] },
    }] })
}

/// What an API server has to tell: a list and what happened since, each at its place in the history.
#[derive(Default)]
struct History {
    list: (u64, Vec<Value>),
    since: Vec<(u64, Value)>,
    /// Places before this one are forgotten.
    from: u64,
    /// What was asked that a server would not answer.
    wrong: Vec<String>,
    lists: usize,
    watches: usize,
}

/// As strict as a real one: parameters, selector, token, place.
fn api(history: &Mutex<History>, request: &Request) -> Reply {
    let bearer = format!("Bearer {TOKEN}");
    if request.header("authorization") != Some(&bearer) {
        return Reply::text(401, "Unauthorized");
    }
    let mut history = history.lock().unwrap();
    let selects = request.parameter("fieldSelector") == Some("spec.nodeName%3Dnode-1");
    if request.method != "GET" || request.path != "/api/v1/pods" || !selects {
        history.wrong.push(format!("{} {}?{}", request.method, request.path, request.query));
        return Reply::text(404, "404 page not found");
    }
    let version = request.parameter("resourceVersion").unwrap_or_default().to_owned();
    if request.parameter("watch").is_none() {
        if version != "0" {
            history.wrong.push(format!("a list of {version}"));
        }
        history.lists += 1;
        let (at, pods) = &history.list;
        let metadata = json!({ "resourceVersion": at.to_string() });
        return Reply::json(200, &json!({ "kind": "PodList", "metadata": metadata, "items": pods }));
    }
    let seconds = request.parameter("timeoutSeconds").and_then(|seconds| seconds.parse::<u64>().ok());
    if request.parameter("allowWatchBookmarks") != Some("true")
        || !seconds.is_some_and(|s| (60..600).contains(&s))
    {
        history.wrong.push(format!("a watch with {}", request.query));
    }
    history.watches += 1;
    let place: u64 = version.parse().unwrap_or(u64::MAX);
    if place < history.from {
        let gone = json!({ "kind": "Status", "status": "Failure", "reason": "Expired", "code": 410 });
        return Reply::json(200, &json!({ "type": "ERROR", "object": gone }));
    }
    let news = history.since.iter().filter(|(at, _)| *at > place);
    let lines: Vec<String> = news.map(|(_, event)| format!("{event}\n")).collect();
    drop(history);
    if lines.is_empty() {
        // A real one goes on until its time is over.
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Reply { status: 200, headers: vec![], body: lines.concat().into_bytes() }
}

fn event(kind: &str, at: u64, mut pod: Value) -> (u64, Value) {
    pod["kind"] = json!("Pod");
    pod["metadata"]["resourceVersion"] = json!(at.to_string());
    // What a real one sends along, and nobody needs.
    pod["metadata"]["managedFields"] = json!([{ "manager": "kubelet", "fieldsV1": { "f:status": {} } }]);
    (at, json!({ "type": kind, "object": pod }))
}

impl Node {
    fn new(name: &str, wait: &str) -> Self {
        let seen = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&seen);
        let answer = move |request: &Request| {
            let bearer = format!("Bearer {TOKEN}");
            match (request.method.as_str(), request.path.as_str(), request.header("authorization")) {
                (_, _, header) if header != Some(&bearer) => Reply::text(401, "Unauthorized"),
                ("GET", "/pods", _) => Reply::json(200, &list(told.load(Ordering::SeqCst))),
                _ => Reply::text(404, "404 page not found"),
            }
        };
        Self::asking(name, wait, "kubelet", seen, answer)
    }

    /// A node whose agent follows an API server with this history.
    fn following(name: &str, history: &Arc<Mutex<History>>) -> Self {
        let history = Arc::clone(history);
        let answer = move |request: &Request| api(&history, request);
        Self::asking(name, "10s", "api, node: node-1", Arc::default(), answer)
    }

    fn asking(
        name: &str,
        wait: &str,
        from: &str,
        seen: Arc<AtomicBool>,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path(), "kubelet-ca").unwrap();
        let pair = authority.sign("kubelet", &["127.0.0.1"], Valid::Now).unwrap();
        let kubelet = Server::start_tls(authority::server(&pair, None).unwrap(), answer).unwrap();
        let top_name = format!("sw-pods-{name}-{}", std::process::id());
        let top = cgroup_root().join(&top_name);
        fs::create_dir(&top).unwrap();
        fs::write(folder.path().join("token"), TOKEN).unwrap();
        fs::create_dir_all(folder.path().join("rules/profiles")).unwrap();
        fs::write(folder.path().join("rules/profiles/in-pod.yaml"), PROFILE).unwrap();
        let config = format!(
            "schema: sandwatch/config/v1\nstate_dir: {dir}/state\nworkers: {{ watch: [\"/{top_name}/**\"] }}\nrules: [{dir}/rules]\n\
             pods: {{ from: {from}, url: \"{url}\", token_file: {dir}/token, ca_file: {dir}/kubelet-ca.pem, wait: {wait} }}\n\
             sinks: [{{ name: local, type: file, path: {dir}/alerts.jsonl }}]\n",
            dir = folder.path().display(),
            url = kubelet.url(),
        );
        fs::write(folder.path().join("sandwatch.yaml"), config).unwrap();
        Self { folder, top, kubelet, seen, agent: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn watch(&mut self) {
        let log = fs::File::create(self.path("log")).unwrap();
        let config = self.path("sandwatch.yaml");
        let agent = sandwatch(&["run", "--config", config.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.agent = Some(agent);
        eventually("it watches", || self.log().contains("watching"));
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    fn alerts(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("alerts.jsonl")).unwrap_or_default();
        lab::alerts(text.rsplit_once('\n').map_or("", |(whole, _)| whole))
    }

    /// The container is made, and found: a runtime takes its time before something runs in it.
    fn container_is_made(&self) -> PathBuf {
        let cgroup = self.top.join(format!("kubepods/burstable/pod{UID}/{}", container()));
        fs::create_dir_all(&cgroup).unwrap();
        eventually("the container is found", || self.log().contains(&container()));
        cgroup
    }

    /// The container is made, and its first program executed in it, which then starts one that it may not.
    fn container_runs(&self) {
        let cgroup = self.container_is_made();
        let script =
            format!("echo $$ > {}/cgroup.procs; exec /bin/sh -c 'sleep 0; /bin/true; :'", cgroup.display());
        assert!(Command::new("/bin/sh").args(["-c", &script]).status().unwrap().success());
    }

    fn findings(&self) -> Vec<Value> {
        self.alerts().into_iter().filter(|alert| alert["kind"] == "incident").collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        remove(&self.top);
    }
}

/// The processes in a cgroup.
fn processes(cgroup: &Path) -> Vec<i32> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|pid| pid.parse().ok()).collect()
}

/// Ends what still runs in a cgroup: a test that fails leaves it.
fn end(cgroup: &Path) {
    for pid in processes(cgroup) {
        // SAFETY: kill only takes numbers; the cgroup is a test's own, and so is what runs in it.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    for _ in 0..100 {
        if processes(cgroup).is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Removes a cgroup with everything below it.
fn remove(path: &Path) {
    end(path);
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(path);
}

#[test]
fn container_is_judged_by_the_profile_of_its_pod_from_its_first_exec_on() {
    let mut node = Node::new("known", "10s");
    node.seen.store(true, Ordering::SeqCst);
    node.watch();
    node.container_runs();
    eventually("the second program is a finding", || !node.findings().is_empty());
    let alert = node.findings().remove(0);
    assert_eq!(alert["worker"]["profile"], "in-pod", "{alert:#}");
    assert_eq!(alert["worker"]["name"], "flows/n8n-0/worker");
    assert_eq!(alert["worker"]["pod"]["labels"]["app"], "n8n");
    assert_eq!(alert["worker"]["node"], "node-1");
    assert_eq!(alert["worker"]["container"]["id"], container());
    assert_eq!(alert["worker"]["container"]["image"], "n8nio/n8n:1");
    assert_eq!(alert["process"]["role"], "engine", "its own first exec was judged by that profile too");
    let told = format!("{}{}", node.log(), fs::read_to_string(node.path("alerts.jsonl")).unwrap());
    assert!(!told.contains(TOKEN), "the token is told nowhere");
}

#[test]
fn kubelet_that_does_not_know_the_token_is_said_once_and_when_it_is_over() {
    let mut node = Node::new("refused", "300ms");
    fs::write(node.path("token"), "another").unwrap();
    node.seen.store(true, Ordering::SeqCst);
    node.watch();
    node.container_runs();
    let said = |node: &Node, state: &str| {
        node.alerts()
            .iter()
            .filter(|a| a["health"]["condition"] == "pods-unknown" && a["state"] == state)
            .count()
    };
    eventually("it is said", || said(&node, "open") == 1);
    let alert = node.alerts().into_iter().find(|a| a["health"]["condition"] == "pods-unknown").unwrap();
    assert!(alert["health"]["detail"].as_str().unwrap().contains("401"), "{alert:#}");
    assert!(node.findings().is_empty(), "not to know is no finding");
    fs::write(node.path("token"), TOKEN).unwrap();
    eventually("it is over", || said(&node, "closed") == 1);
    assert_eq!(said(&node, "open"), 1);
    let asked = node.kubelet.seen().len();
    assert!(asked <= 8, "{asked} questions");
}

#[test]
fn container_that_the_kubelet_has_not_seen_yet_is_completed_later() {
    let mut node = Node::new("late", "500ms");
    node.watch();
    node.container_runs();
    eventually("the pod is known", || node.log().contains("flows/n8n-0"));
    node.seen.store(true, Ordering::SeqCst);
    eventually("its container too", || node.log().contains("flows/n8n-0/worker"));
    let mut agent = node.agent.take().unwrap();
    signal(&agent, libc::SIGTERM);
    assert!(wait(&mut agent).success(), "{}", node.log());
}

#[test]
fn what_waited_for_its_pod_when_the_agent_was_killed_is_in_the_gap_and_what_still_runs_is_judged() {
    let mut node = Node::new("killed", "30s");
    node.watch();
    let cgroup = node.container_is_made();
    let script =
        format!("echo $$ > {}/cgroup.procs; exec /bin/sh -c 'tail -f /dev/null; :'", cgroup.display());
    let mut engine = Command::new("/bin/sh").args(["-c", &script]).stdout(Stdio::null()).spawn().unwrap();
    eventually("the second program runs", || processes(&cgroup).len() == 2);
    let ran = jiff::Timestamp::now();
    // The agent writes down until when it watched, and all of it waits for the pod.
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    assert!(node.findings().is_empty(), "nothing is said before it is known what it is");
    let mut agent = node.agent.take().unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();

    node.watch();
    node.seen.store(true, Ordering::SeqCst);
    eventually("the second program is a finding", || !node.findings().is_empty());
    let alert = node.findings().remove(0);
    assert_eq!(alert["worker"]["profile"], "in-pod", "{alert:#}");
    assert!(alert["process"]["exe"].as_str().unwrap().ends_with("tail"), "{alert:#}");
    assert_eq!(alert["finding"]["certainty"], "candidate; unknown: history");
    let gap = || node.alerts().into_iter().find(|alert| alert["gap"]["reason"] == "restart");
    eventually("the gap is told", || gap().is_some());
    let from: jiff::Timestamp = gap().unwrap()["gap"]["from"].as_str().unwrap().parse().unwrap();
    assert!(from < ran, "what the first agent still held back ({ran}) is before its gap ({from})");
    end(&cgroup);
    engine.wait().unwrap();
}

#[test]
fn api_server_tells_of_a_pod_that_comes_later_and_of_a_place_that_it_forgot() {
    let history = Arc::new(Mutex::new(History { list: (7, vec![]), ..History::default() }));
    let mut node = Node::following("api", &history);
    node.watch();
    eventually("it watches the API server", || history.lock().unwrap().watches > 0);
    node.container_runs();
    assert!(node.findings().is_empty(), "what it does waits");
    let pod = |seen| list(seen)["items"][0].clone();
    history.lock().unwrap().since.push(event("ADDED", 9, pod(false)));
    eventually("the pod is told of", || node.log().contains("pods") || history.lock().unwrap().watches > 3);
    history.lock().unwrap().since.push(event("MODIFIED", 11, pod(true)));
    eventually("the second program is a finding", || !node.findings().is_empty());
    let alert = node.findings().remove(0);
    assert_eq!((&alert["worker"]["profile"], &alert["worker"]["node"]), (&json!("in-pod"), &json!("node-1")));
    assert_eq!(alert["process"]["role"], "engine", "its first exec was judged by that profile too");
    // The server was started anew and has forgotten everything up to 40: another list, and a watch from there.
    {
        let mut history = history.lock().unwrap();
        assert_eq!((history.lists, history.wrong.clone()), (1, vec![]));
        (history.list, history.from, history.since) = ((40, vec![pod(true)]), 40, vec![]);
    }
    eventually("it lists again", || history.lock().unwrap().lists == 2);
    let watches = history.lock().unwrap().watches;
    eventually("and watches on", || history.lock().unwrap().watches > watches);
    assert_eq!(history.lock().unwrap().wrong, Vec::<String>::new());
    let told = format!("{}{}", node.log(), fs::read_to_string(node.path("alerts.jsonl")).unwrap());
    assert!(!told.contains(TOKEN) && !told.contains("pods-unknown"), "{told}");
}

//! Containers of Debian's Docker Engine, containerd and Podman on this host, without Kubernetes, watched by a real agent on this kernel.
//!
//! Needs root, the packages of Debian, and `SANDWATCH_BIN` and `SANDWATCH_RULES`, which name the agent and the shipped rules;
//! `cargo xtask test --only container-engines` has them all.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Stdio};

use serde_json::Value;

mod engines;
#[path = "../kubernetes/image.rs"]
mod image;
#[path = "../lab/mod.rs"]
mod lab;

use engines::{CGROUPS, Engines, IMAGE};
use lab::eventually;

/// Only the image chooses it.
const PROFILE: &str = "schema: sandwatch/profile/v1
name: in-container
engine: toy
title: The toy engine of a test
select: [{ image: \"localhost/toy:*\" }]
roles:
  - { name: engine, parent: entry, program: [sh, busybox] }
expect:
  entry: { exec: { allow: [{ becomes: engine }], else: boundary } }
  engine:
    exec:
      # busybox is a shell by whichever name.
      allow: [{ program: [sleep, cat], permits: [shell-from-engine, discovery-from-engine], why: it waits and reads }]
      else: boundary
";

/// A loop that reads the key again and again; whole paths, so that the shell does not do it itself.
const STEALS: &str = "while :; do /bin/sleep 1; /bin/cat /root/.ssh/id_ed25519 >/dev/null; done";

/// What is found of that.
const THEFT: [&str; 1] = ["unexpected-identity"];

/// An agent beside the engines.
struct Agent<'a> {
    engines: &'a Engines,
    child: Child,
}

impl<'a> Agent<'a> {
    fn start(engines: &'a Engines) -> Self {
        fs::create_dir_all(engines.path("rules/profiles")).unwrap();
        fs::write(engines.path("rules/profiles/in-container.yaml"), PROFILE).unwrap();
        let watch = CGROUPS.map(|name| format!("\"/{name}/**\"")).join(", ");
        let config = format!(
            "schema: sandwatch/config/v1\nstate_dir: {folder}/state\nworkers: {{ watch: [{watch}] }}\n\
             containers: {{ docker: {folder}/docker, podman: {folder}/podman }}\nrules: [{shipped}, {folder}/rules]\n\
             sinks: [{{ name: local, type: file, path: {folder}/alerts.jsonl }}]\n",
            folder = engines.folder.path().display(),
            shipped = lab::shipped_rules().display(),
        );
        let path = engines.path("sandwatch.yaml");
        fs::write(&path, config).unwrap();
        let log = fs::File::create(engines.path("agent.log")).unwrap();
        let mut command = lab::sandwatch(&["run", "--config", path.to_str().unwrap()]);
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let agent = Self { engines, child };
        eventually("the agent watches", || agent.log().contains("watching"));
        agent
    }

    fn log(&self) -> String {
        fs::read_to_string(self.engines.path("agent.log")).unwrap()
    }

    fn alerts(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.engines.path("alerts.jsonl")).unwrap_or_default();
        lab::alerts(text.rsplit_once('\n').map_or("", |(whole, _)| whole))
    }

    /// What was found in a container of this id, in the order of the alphabet.
    fn found(&self, id: &str) -> Vec<String> {
        let alerts = self.alerts();
        let its = alerts.iter().filter(|alert| alert["worker"]["container"]["id"] == id);
        let chains = its.filter_map(|alert| alert["incident"]["chain"].as_array());
        chains
            .flatten()
            .filter_map(|link| link["finding"].as_str())
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// The newest alert about an incident in a container of this id for which this holds.
    fn incident(&self, id: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let find = || {
            let is_it = |alert: &Value| {
                alert["kind"] == "incident" && alert["worker"]["container"]["id"] == id && holds(alert)
            };
            self.alerts().into_iter().rfind(is_it)
        };
        eventually(&format!("an incident in {id}"), || find().is_some());
        find().unwrap()
    }

    /// The one about the key.
    fn theft(&self, id: &str) -> Value {
        self.incident(id, |alert| alert["file"]["identity"] == "ssh-private-key")
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let alerts = fs::read_to_string(self.engines.path("alerts.jsonl")).unwrap_or_default();
            eprintln!("{}\n{alerts}", self.log());
        }
        lab::signal(&self.child, libc::SIGTERM);
        lab::wait(&mut self.child);
    }
}

/// Which container it was, which profile it has, and how bad it is.
fn assert_worker(alert: &Value, name: &str, runtime: &str, image: Option<&str>, cgroup: &str) {
    let worker = &alert["worker"];
    assert_eq!(worker["name"], name, "{alert:#}");
    assert_eq!(worker["container"]["runtime"], runtime, "{alert:#}");
    assert_eq!(worker["container"]["image"].as_str(), image, "{alert:#}");
    assert_eq!(worker["profile"], if image.is_some() { "in-container" } else { "generic" }, "{alert:#}");
    assert_eq!(worker["cgroup"]["path"], cgroup, "{alert:#}");
    assert_eq!(alert["tier"], "identity", "{alert:#}");
    assert_eq!(alert["blast_radius"]["taken"][0]["identity"], "ssh-private-key", "{alert:#}");
}

#[test]
fn container_of_docker_is_named_and_judged_by_its_image_before_and_after_the_start() {
    let engines = Engines::start();
    let key = engines.key();
    let run = |more: &[&str], command: &[&str]| {
        let mut docker = engines.docker();
        docker.args(["run", "--network=none", "--volume", &key]).args(more).arg(IMAGE).args(command);
        engines.must(&mut docker)
    };
    let early = run(&["--detach", "--name=early"], &["/bin/sh", "-c", STEALS]);
    let agent = Agent::start(&engines);

    // One that ran before, one that is made while it is watched; `docker exec` is somebody from outside.
    let late = run(&["--detach", "--name=flows"], &["/bin/sh", "-c", STEALS]);
    for (id, name) in [(&early, "docker/early"), (&late, "docker/flows")] {
        let alert = agent.theft(id);
        assert_worker(&alert, name, "docker", Some(IMAGE), &format!("/docker/{id}"));
        assert_eq!(agent.found(id), THEFT, "and how it was set up is nothing to find");
    }
    engines.must(engines.docker().args(["exec", "flows", "/bin/cat", "/root/.ssh/id_ed25519"]));
    agent.incident(&late, |alert| {
        alert["process"]["role"] == "operator" && alert["worker"]["name"] == "docker/flows"
    });

    // What moves into a cgroup that it makes below its container's own is still in that container.
    let moves = "g=/cgroups$(/bin/busybox sed -n s/^0:://p /proc/self/cgroup)/inner; /bin/busybox mkdir $g && echo $$ > $g/cgroup.procs && exec /bin/cat /root/.ssh/id_ed25519 /proc/self/cgroup";
    let cgroups = format!("{}:/cgroups:rw", lab::cgroup_root().display());
    let said = run(&["--name=nested", "--cgroupns=host", "--volume", &cgroups], &["/bin/sh", "-c", moves]);
    let nested = engines.must(engines.docker().args(["inspect", "--format={{.Id}}", "nested"]));
    assert!(said.contains(&format!("0::/docker/{nested}/inner")), "it moved: {said}");
    let alert = agent.theft(&nested);
    assert_worker(&alert, "docker/nested", "docker", Some(IMAGE), &format!("/docker/{nested}"));

    // Containers that are over at once: their very first program is seen, and whose it is.
    for number in 0..5 {
        let name = format!("short-{number}");
        run(&["--name", &name], &["/bin/cat", "/root/.ssh/id_ed25519"]);
        let id = engines.must(engines.docker().args(["inspect", "--format={{.Id}}", &name]));
        let alert = agent.theft(&id);
        assert_worker(&alert, &format!("docker/{name}"), "docker", Some(IMAGE), &format!("/docker/{id}"));
    }
}

#[test]
fn container_of_containerd_alone_is_known_by_its_name() {
    let engines = Engines::start();
    let agent = Agent::start(&engines);
    // containerd by itself keeps no image where it can be read without asking it.
    let mount = format!("type=bind,src={},dst=/root/.ssh,options=rbind:ro", engines.path("key").display());
    engines.must(
        engines.ctr().args(["run", "--detach", "--mount", &mount, IMAGE, "flow", "/bin/sh", "-c", STEALS]),
    );
    let alert = agent.theft("flow");
    assert_worker(&alert, "containerd-flow", "containerd", None, "/default/flow");
}

#[test]
fn container_of_podman_is_named_and_judged_by_its_image() {
    let engines = Engines::start();
    let agent = Agent::start(&engines);
    // Podman would ask for more open files than a host may give.
    let limits = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"];
    let mut podman = engines.podman();
    podman
        .args(["run", "--detach", "--network=none", "--name=flows", "--volume", &engines.key()])
        .args(limits);
    let id = engines.must(podman.args([IMAGE, "/bin/sh", "-c", STEALS]));
    let alert = agent.theft(&id);
    assert_worker(&alert, "podman/flows", "podman", Some(IMAGE), &format!("/libpod_parent/libpod-{id}"));
    assert_eq!(agent.found(&id), THEFT, "and how it was set up is nothing to find");
}

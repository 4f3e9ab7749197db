//! A container runtime inside a worker, on the live kernel: what its containers do is the worker's, wherever their cgroup is.
//!
//! Needs root and Debian's runc; `SANDWATCH_BIN` names the program, `SANDWATCH_RULES` its rules.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

mod lab;

use lab::runc::Bundle;
use lab::{FILE, Lab, cgroup_root, eventually, shipped_rules};

/// Cgroups of v1 hierarchies and of v2 that a container left behind.
struct Left(PathBuf);

impl Drop for Left {
    fn drop(&mut self) {
        let name = self.0.file_name().unwrap();
        let _ = fs::remove_dir(cgroup_root().join(name));
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = fs::remove_dir(hierarchy.path().join(name));
        }
    }
}

/// Thefts of this key: the worker, role and cgroup of each.
fn thefts(lab: &Lab, key: &str) -> Vec<Value> {
    let is = |alert: &Value| alert["file"]["path"].as_str().is_some_and(|path| path.ends_with(key));
    lab.alerts().into_iter().filter(is).collect()
}

/// A shell in the worker starts a container by `runc`, as a Docker or Podman in a pod does.
fn runs_inside(lab: &Lab, bundle: &Bundle, name: &str) -> std::process::Child {
    let run = format!(
        "echo $$ > {}/cgroup.procs; exec runc --root {}/state run --bundle {} {name}",
        lab.cgroup.display(),
        bundle.0.path().display(),
        bundle.0.path().display(),
    );
    // Another exec comes first, so that the worker is set up when the runtime starts.
    let script = format!("echo $$ > {}/cgroup.procs; /bin/true; /bin/sh -c '{run}'", lab.cgroup.display());
    Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

/// The first program, one that it starts, and one that is started when the runtime is long gone.
const STEPS: &str = "cat /root/.ssh/id_ed25519; (sleep 1; cat /root/.ssh/id_rsa) & wait";

fn nested(name: &str, cgroup: &Path) -> (Lab, Vec<Value>) {
    let lab = Lab::new(name, FILE, &shipped_rules());
    let bundle = Bundle::new(cgroup, &["/bin/sh", "-c", STEPS], |_| {});
    fs::write(bundle.0.path().join("rootfs/root/.ssh/id_rsa"), "no key").unwrap();
    let id = format!("{name}-{}", std::process::id());
    let mut run = runs_inside(&lab, &bundle, &id);
    eventually("both keys are told", || {
        !thefts(&lab, "id_ed25519").is_empty() && !thefts(&lab, "id_rsa").is_empty()
    });
    bundle.kill(&id);
    run.wait().unwrap();
    let told = thefts(&lab, "id_ed25519").into_iter().chain(thefts(&lab, "id_rsa")).collect();
    (lab, told)
}

#[test]
fn container_whose_cgroup_is_outside_the_worker_is_the_workers_by_its_lineage() {
    let cgroup = PathBuf::from(format!("/sw-nested-outside-{}", std::process::id()));
    let _left = Left(cgroup.clone());
    let (lab, told) = nested("outside", &cgroup);
    for alert in &told {
        assert_eq!(alert["worker"]["name"], "lab", "{alert:#}");
        assert_eq!(
            alert["worker"]["cgroup"]["path"].as_str().unwrap(),
            format!("/{}", lab.cgroup.file_name().unwrap().to_string_lossy())
        );
        let above = alert["process"]["ancestors"].as_array().unwrap();
        assert!(!above.is_empty(), "its lineage leads back into the worker: {alert:#}");
    }
    // That it was moved out is told as well: to whom it belongs does not change by that.
    let moved = lab.alerts().iter().any(|alert| alert.to_string().contains("left-its-worker"));
    assert!(moved, "{:#?}", lab.alerts());
}

#[test]
fn container_whose_cgroup_is_inside_the_worker_is_the_workers() {
    let lab_name = format!("sw-agent-inside-{}", std::process::id());
    let (lab, told) = nested("inside", &Path::new("/").join(lab_name).join("docker").join("c"));
    assert!(told.iter().all(|alert| alert["worker"]["name"] == "lab"), "{told:#?}");
    let _ = fs::remove_dir(lab.cgroup.join("docker/c"));
    let _ = fs::remove_dir(lab.cgroup.join("docker"));
}

/// Waits until it is told to go on.
const WAITS: &str = "touch /root/up; while ! [ -e /root/go ]; do sleep 0.2; done; cat /root/.ssh/id_ed25519";

#[test]
fn container_outside_the_worker_that_began_before_the_agent_did_is_the_workers() {
    let name = "before";
    let cgroup = PathBuf::from(format!("/sw-nested-before-{}", std::process::id()));
    let _left = Left(cgroup.clone());
    let mut lab = Lab::new(name, FILE, &shipped_rules());
    let bundle = Bundle::new(&cgroup, &["/bin/sh", "-c", WAITS], |_| {});
    let id = format!("{name}-{}", std::process::id());
    let mut run = runs_inside(&lab, &bundle, &id);
    let home = bundle.0.path().join("rootfs/root");
    eventually("it runs", || home.join("up").exists());
    lab.kill_and_restart();
    fs::write(home.join("go"), "").unwrap();
    eventually("the key is told", || !thefts(&lab, "id_ed25519").is_empty());
    run.wait().unwrap();
    for alert in thefts(&lab, "id_ed25519") {
        assert_eq!(alert["worker"]["name"], "lab", "{alert:#}");
        let above = alert["process"]["ancestors"].as_array().unwrap();
        assert!(
            above.iter().any(|process| process["exe"].as_str().is_some_and(|exe| exe.ends_with("runc"))),
            "{alert:#}"
        );
    }
}

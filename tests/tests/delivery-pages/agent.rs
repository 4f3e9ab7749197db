//! Delivery as the agent runs it, with alerts of the test's own.

use std::path::Path;
use std::time::{Duration, Instant};

use integration::fakes::engine;
use monitor::alert::Alert;
use monitor::delivery::{Engine, SinkStats};
use serde_json::{Value, json};

/// Longer than anything here takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// An agent's delivery; its state is kept in a folder.
pub(crate) struct Agent(Engine);

impl Agent {
    /// One sink called `t` with these keys.
    pub(crate) fn start(state: &Path, keys: &str) -> Self {
        let sinks = [format!("name: t, {keys}")];
        let config = engine::configured(state, "cluster: test", &sinks).unwrap();
        Self(engine::start(&config).unwrap())
    }

    /// The pipeline raises an alert.
    pub(crate) fn raise(&self, alert: Alert) {
        self.0.accept(alert);
    }

    /// How its sink is doing.
    pub(crate) fn stats(&self) -> SinkStats {
        self.0.stats()[0].1
    }

    /// Waits until nothing waits in the spool any more: the sink has taken in all that was raised, and written it down.
    pub(crate) fn wait_taken_in(&self) {
        assert!(self.0.settle(PATIENCE), "not within {PATIENCE:?}: {:?}", self.0.stats());
    }

    /// As at SIGHUP.
    pub(crate) fn reopen(&self) {
        self.0.reopen();
    }

    /// As at SIGTERM.
    pub(crate) fn end(self) -> SinkStats {
        self.0.finish()[0].1
    }
}

/// An alert of an incident.
pub(crate) fn incident(id: &str, revision: u64, tier: &str, state: &str) -> Alert {
    let time = "2026-11-23T20:40:01.123456789Z";
    let link = |tier: &str, finding: &str, title: &str| json!({ "tier": tier, "finding": finding, "title": title, "time": time, "process": "b:1:4242", "object": "/bin/dash" });
    let mut chain = vec![link("boundary", "shell-from-engine", "The engine started a shell")];
    let taken = tier == "identity" || tier == "objective";
    if taken {
        chain.push(link("identity", "unexpected-identity", "An identity that its role does not read"));
    }
    let severity = if taken { "critical" } else { "high" };
    let radius = if taken {
        json!({ "taken": [{ "identity": "k8s-service-account-token", "respond": "Revoke: delete the pod." }] })
    } else {
        json!({})
    };
    let closed_by = (state == "closed").then_some("operator");
    let mut alert = json!({
        "schema": "sandwatch/alert/v1",
        "id": uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, format!("{id}:{revision}").as_bytes()).to_string(),
        "time": time, "kind": "incident", "state": state, "tier": tier, "severity": severity,
        "title": "Engine started a shell",
        "incident": {
            "id": id, "revision": revision, "run_key": "author:9a1b", "first": time, "last": time, "findings": 1,
            "chain": chain,
        },
        "worker": { "name": "lab-n8n", "engine": "n8n", "profile": "n8n", "cgroup": { "id": 4711, "path": "/lab/n8n" } },
        "process": { "key": "b:1:4242", "pid": 4242, "exe": "/bin/dash", "argv": ["sh", "-c", "id"] },
        "blast_radius": radius,
        "respond": ["Contain: freeze the worker"],
        "host": { "name": "node-1", "cluster": "test", "machine_id": null, "boot_id": null, "kernel": "6.1", "clock_synced": true },
        "agent": { "version": "0.0.0", "rules": "sha256:00" },
        "truncated": [],
    });
    if let Some(by) = closed_by {
        alert["closed_by"] = Value::from(by);
    }
    serde_json::from_value(alert).unwrap()
}

/// The same with its id in the title: a channel shows no other sign of which incident a message is about.
pub(crate) fn titled(id: &str, revision: u64, tier: &str, state: &str) -> Alert {
    let mut alert = incident(id, revision, tier, state);
    alert.title = format!("{id} began");
    alert
}

/// Waits until it is so.
pub(crate) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A file with a secret.
pub(crate) fn secret(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

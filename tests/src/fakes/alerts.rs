//! Alerts for tests.

use anyhow::{Context, Result};
use monitor::alert::{Alert, SafeAlert};
use monitor::delivery::Item;
use serde_json::json;

/// The alert of this number: an incident of its own.
///
/// # Errors
/// The schema has changed under this.
pub fn alert(number: u64) -> Result<SafeAlert> {
    plain(number).map(SafeAlert::new)
}

/// The same as the agent's thread has it.
///
/// # Errors
/// The schema has changed under this.
pub fn plain(number: u64) -> Result<Alert> {
    serde_json::from_value(json!({
        "schema": "sandwatch/alert/v1",
        "id": id(number),
        "time": "2026-11-23T20:40:01.123456789Z",
        "kind": "incident",
        "state": "open",
        "tier": "identity",
        "severity": "critical",
        "title": "Engine started a shell, then read a service account token",
        "incident": {
            "id": format!("incident-{number}"), "revision": 1, "run_key": "author:9a1b",
            "first": "2026-11-23T20:39:59Z", "last": "2026-11-23T20:40:01Z", "findings": 1, "chain": [],
        },
        "worker": {
            "name": "lab-n8n", "engine": "n8n", "profile": "n8n", "cgroup": { "id": 4711, "path": "/lab/n8n" },
        },
        "process": { "key": "b:1:4242", "pid": 4242, "exe": "/usr/bin/curl", "argv": ["curl", "https://h.example"] },
        "host": { "name": "node-1", "machine_id": null, "boot_id": null, "kernel": "6.1", "clock_synced": true },
        "agent": { "version": "0.0.0", "rules": "sha256:00" },
        "truncated": [],
    }))
    .context("the alert's schema has changed")
}

/// The id of the alert of this number.
pub fn id(number: u64) -> String {
    format!("00000000-0000-5000-8000-{number:012}")
}

/// Items as the engine hands them out, in JSON.
///
/// # Errors
/// The schema has changed under this.
pub fn items(numbers: std::ops::RangeInclusive<u64>) -> Result<Vec<Item>> {
    numbers
        .map(|number| {
            let alert = alert(number)?;
            let text = monitor::alert::json::line(&alert, None).into_bytes();
            Ok(Item { seq: number, alert, text })
        })
        .collect()
}

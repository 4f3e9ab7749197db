//! The image under what the chart gives it: the host's process ids, a cgroup namespace of its own, five capabilities, the same mounts. It must
//! see through the same hooks as the program on the host itself.

use super::image::ENTRYPOINT;
use crate::chart;
use crate::host;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// Runs `doctor` on the host and in the container, and compares.
pub(super) fn sees_the_same(program: &Path, bundle: &Path) -> Result<()> {
    let rules = host::repo()?.join("rules");
    let outside = doctor(Command::new(program).args(["doctor", "--json", "--rules"]).arg(rules))?;
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
    as_a_pod(&mut config)?;
    std::fs::write(&path, config.to_string())?;
    let name = format!("sandwatch-pod-{}", std::process::id());
    let inside = doctor(Command::new("runc").args(["run", "--bundle"]).arg(bundle).arg(&name))?;
    for (signal, rung) in &outside {
        let here = inside.iter().find(|(other, _)| other == signal).map(|(_, rung)| rung);
        ensure!(here == Some(rung), "{signal}: through {rung:?} on the host, {here:?} in the container");
    }
    Ok(())
}

fn as_a_pod(config: &mut Value) -> Result<()> {
    let capabilities: Vec<String> = chart::capabilities()?.iter().map(|name| format!("CAP_{name}")).collect();
    let process = config["process"].as_object_mut().context("the bundle has no process")?;
    process.insert("terminal".to_owned(), false.into());
    process.insert(
        "args".to_owned(),
        json!([ENTRYPOINT[0], "doctor", "--json", "--rules", "/usr/lib/sandwatch/rules"]),
    );
    process.insert(
        "capabilities".to_owned(),
        json!({ "bounding": capabilities, "effective": capabilities, "permitted": capabilities }),
    );
    process.insert("noNewPrivileges".to_owned(), true.into());
    config["root"]["readonly"] = true.into();
    // No pid namespace; the rest is the container's own.
    config["linux"]["namespaces"] =
        ["mount", "network", "ipc", "uts", "cgroup"].iter().map(|kind| json!({ "type": kind })).collect();
    let mounts = config["mounts"].as_array_mut().context("the bundle has no mounts")?;
    mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
    for path in ["/sys/fs/cgroup", "/sys/kernel/tracing", "/etc/machine-id"] {
        mounts.push(json!({ "destination": path, "source": path, "type": "bind", "options": ["rbind", "ro", "rslave"] }));
    }
    for path in ["/run/sandwatch", "/var/lib/sandwatch"] {
        mounts.push(json!({ "destination": path, "source": "tmpfs", "type": "tmpfs", "options": ["nosuid", "nodev", "mode=700"] }));
    }
    Ok(())
}

/// The hook of each signal.
fn doctor(command: &mut Command) -> Result<Vec<(String, Value)>> {
    let shown = host::shown(command);
    // It ends with 1 where something is not seen, as on most hosts.
    let output = command.output().with_context(|| format!("cannot start {shown}"))?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{shown} says: {}", String::from_utf8_lossy(&output.stderr)))?;
    let signals = report["signals"].as_array().context("the report has no signals")?;
    Ok(signals
        .iter()
        .map(|signal| (signal["signal"].as_str().unwrap_or_default().to_owned(), signal["rung"].clone()))
        .collect())
}

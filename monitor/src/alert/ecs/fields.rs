//! The field sets other than `event`.

use serde_json::{Map, Value, json};

use super::STREAM_LABELS;
use crate::alert::{Alert, Ancestor, escape};

pub(super) fn rule(alert: &Alert) -> Option<Value> {
    let finding = alert.finding.as_ref()?;
    Some(json!({
        "id": finding.id,
        "name": finding.id,
        "category": finding.kind,
        "ruleset": finding.rule.as_ref().map(|rule| &rule.file),
        "version": alert.agent.rules,
    }))
}

pub(super) fn threat(alert: &Alert) -> Option<Value> {
    let ids = alert.refs.get("attack")?;
    let technique = |id: &str| id.split('.').next().unwrap_or_default().to_owned();
    let mut techniques: Vec<String> = ids.iter().map(|id| technique(id)).collect();
    techniques.dedup();
    let below: Vec<&String> = ids.iter().filter(|id| id.contains('.')).collect();
    Some(json!({
        "framework": "MITRE ATT&CK",
        "technique": { "id": techniques, "subtechnique": { "id": below } },
    }))
}

pub(super) fn process(alert: &Alert) -> Option<Value> {
    let process = alert.process.as_ref()?;
    let parent = process.ancestors.first().filter(|parent| Some(parent.pid) == process.ppid);
    let exe = parent.and_then(|parent: &Ancestor| parent.exe.as_deref());
    Some(json!({
        "entity_id": process.key,
        "pid": process.pid,
        "name": process.exe.as_deref().map(base_name),
        "executable": process.exe,
        "args": process.argv,
        "args_count": process.argv.as_ref().map(Vec::len),
        "command_line": process.argv.as_ref().map(|argv| {
            argv.iter().map(|argument| escape::argument(argument)).collect::<Vec<_>>().join(" ")
        }),
        "working_directory": process.cwd,
        "start": process.start,
        "parent": { "pid": process.ppid, "executable": exe, "name": exe.map(base_name) },
    }))
}

pub(super) fn user(alert: &Alert) -> Option<Value> {
    Some(json!({ "id": alert.process.as_ref()?.uid?.to_string() }))
}

pub(super) fn file(alert: &Alert) -> Option<Value> {
    let file = alert.file.as_ref()?;
    let inode = file.inode.as_deref().and_then(|inode| inode.rsplit(':').next());
    Some(json!({ "path": file.path, "name": file.path.as_deref().map(base_name), "inode": inode }))
}

pub(super) fn destination(alert: &Alert) -> Option<Value> {
    let network = alert.network.as_ref()?;
    let ip = network.address.parse::<std::net::IpAddr>().ok();
    Some(json!({
        "address": network.address,
        "ip": ip.map(|ip| ip.to_string()),
        "port": network.port,
    }))
}

pub(super) fn network(alert: &Alert) -> Option<Value> {
    let network = alert.network.as_ref()?;
    Some(json!({ "transport": network.protocol, "direction": "egress" }))
}

pub(super) fn container(alert: &Alert) -> Option<Value> {
    let container = alert.worker.as_ref()?.container.as_ref()?;
    Some(json!({
        "id": container.id,
        "runtime": container.runtime,
        "image": { "name": container.image },
    }))
}

pub(super) fn orchestrator(alert: &Alert) -> Value {
    let pod = alert.worker.as_ref().and_then(|worker| worker.pod.as_ref());
    json!({
        "cluster": { "name": alert.host.cluster },
        "type": pod.map(|_| "kubernetes"),
        "namespace": pod.map(|pod| &pod.namespace),
        "resource": pod.map(|pod| json!({ "type": "pod", "name": pod.name, "id": pod.uid })),
    })
}

pub(super) fn host(alert: &Alert) -> Value {
    json!({
        "name": alert.worker.as_ref().and_then(|worker| worker.node.as_ref()).unwrap_or(&alert.host.name),
        "hostname": alert.host.name,
        "id": alert.host.machine_id,
        "boot": { "id": alert.host.boot_id },
        "os": {
            "type": "linux",
            "kernel": Some(&alert.host.kernel).filter(|kernel| !kernel.is_empty()),
        },
    })
}

pub(super) fn related(alert: &Alert) -> Value {
    let ip = alert.network.as_ref().and_then(|network| network.address.parse::<std::net::IpAddr>().ok());
    json!({
        "hosts": [&alert.host.name],
        "ip": ip.map(|ip| [ip.to_string()]),
        "user": alert.process.as_ref().and_then(|process| process.uid).map(|uid| [uid.to_string()]),
    })
}

/// Labels are flat: a dot in a name would make it an object.
pub(super) fn labels(alert: &Alert) -> Map<String, Value> {
    let own = alert.labels.iter().filter(|(name, _)| !STREAM_LABELS.contains(&name.as_str()));
    own.filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.replace('.', "_"), Value::String(value.clone())))
        .collect()
}

/// What ECS has no field for, under the alert's own names.
pub(super) fn own(alert: &Alert) -> Value {
    let file = alert.file.as_ref();
    json!({
        "schema": alert.schema,
        "kind": alert.kind,
        "state": alert.state,
        "closed_by": alert.closed_by,
        "tier": alert.tier,
        "severity": alert.severity,
        "test": alert.test.then_some(true),
        "incident": alert.incident,
        "finding": alert.finding,
        "gap": alert.gap,
        "posture": alert.posture,
        "health": alert.health,
        "heartbeat": alert.heartbeat,
        "worker": alert.worker.as_ref().map(|worker| json!({
            "name": worker.name,
            "engine": worker.engine,
            "profile": worker.profile,
            "cgroup": worker.cgroup,
            "unit": worker.unit,
            "posture": worker.posture,
            "pod_owner": worker.pod.as_ref().and_then(|pod| pod.owner.as_ref()),
            "pod_service_account": worker.pod.as_ref().and_then(|pod| pod.service_account.as_ref()),
            // A list: as an object each label of each pod would become a field of the index.
            "pod_labels": worker.pod.as_ref().map(|pod| {
                pod.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
            }),
        })),
        "attribution": alert.attribution,
        "process": alert.process.as_ref().map(|process| json!({
            "role": process.role,
            "ns_pid": process.ns_pid,
            "ancestors": process.ancestors,
        })),
        "file": file.map(|file| json!({
            "identity": file.identity,
            "flags": file.flags,
            "host_path": file.host_path,
            "inode": file.inode,
            "mount": file.mount,
            "target_pid": file.target_pid,
        })),
        "network": alert.network.as_ref().map(|network| json!({
            "endpoint": network.endpoint,
            "address_stage": network.address_stage,
            "result": network.result,
        })),
        "blast_radius": alert.blast_radius,
        "evidence": alert.evidence,
        "refs": alert.refs,
        "respond": alert.respond,
        "allow_with": alert.allow_with,
        "clock_synced": alert.host.clock_synced,
        "rules": alert.agent.rules,
        "delivery": alert.delivery,
        "truncated": alert.truncated,
    })
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(path)
}

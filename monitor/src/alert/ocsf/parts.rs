//! The objects that the classes are made of.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::VERSION;
use crate::alert::{ALERT_SCHEMA, Alert, ProcessInfo, escape};

/// Milliseconds since the epoch of an RFC 3339 time.
pub(super) fn time(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(|time| time.as_millisecond())
}

pub(super) fn metadata(alert: &Alert, profiles: &[&str]) -> Value {
    let who = alert.attribution.as_ref();
    let own = [("environment", alert.environment.as_ref()), ("cluster", alert.host.cluster.as_ref())];
    let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let labels = alert.labels.iter().map(|(name, value)| (&**name, value));
    json!({
        "version": VERSION,
        "product": { "name": "sandwatch", "vendor_name": "sandwatch", "version": alert.agent.version },
        "profiles": profiles,
        "uid": alert.id,
        "event_code": alert.kind.name(),
        "log_version": ALERT_SCHEMA,
        "sequence": alert.delivery.as_ref().map(|delivery| delivery.seq),
        "correlation_uid": who.and_then(|who| who.run.as_ref()).map(|run| &run.value),
        "tenant_uid": who.and_then(|who| who.tenant.as_ref()).map(|tenant| &tenant.value),
        "is_truncated": (!alert.truncated.is_empty()).then_some(true),
        "tags": own.chain(labels)
            .map(|(name, value)| json!({ "name": name, "value": value })).collect::<Vec<_>>(),
    })
}

pub(super) fn device(alert: &Alert) -> Value {
    json!({
        "hostname": alert.host.name,
        "name": alert.worker.as_ref().and_then(|worker| worker.node.as_ref()),
        "type_id": 0,
        "type": "Unknown",
        "uid": alert.host.machine_id,
        "boot_uid": alert.host.boot_id,
        "os": {
            "name": "Linux",
            "type": "Linux",
            "type_id": 200,
            "kernel_release": Some(&alert.host.kernel).filter(|kernel| !kernel.is_empty()),
        },
    })
}

/// First what the newest finding is about, then what the worker did before the first one.
pub(super) fn evidences(alert: &Alert) -> Vec<Value> {
    let step = alert.attribution.as_ref().and_then(|who| who.step.as_ref());
    let newest = json!({
        "process": alert.process.as_ref().map(process),
        "file": file(alert),
        "dst_endpoint": endpoint(alert),
        "connection_info": alert.network.as_ref().filter(|network| network.protocol != "unix").map(|network| {
            json!({ "direction_id": 2, "direction": "Outbound", "protocol_name": network.protocol })
        }),
        "container": container(alert),
        "job": step.map(|step| json!({ "name": step.value })),
        "verdict_id": alert.test.then_some(6),
        "verdict": alert.test.then_some("Test"),
    });
    // A container or a verdict alone is no evidence (`at_least_one` of the schema).
    let shown = ["process", "file", "dst_endpoint", "connection_info", "job"];
    let before = alert.evidence.as_ref().map(|evidence| json!({ "name": "before", "data": evidence }));
    Some(newest)
        .filter(|newest| shown.iter().any(|part| !newest[*part].is_null()))
        .into_iter()
        .chain(before)
        .collect()
}

fn process(process: &ProcessInfo) -> Value {
    let parent = process.ancestors.first().filter(|parent| Some(parent.pid) == process.ppid);
    let user = process.uid.map(|uid| json!({ "uid": uid.to_string() }));
    json!({
        "uid": process.key,
        "pid": process.pid,
        "namespace_pid": process.ns_pid,
        "name": process.exe.as_deref().map(base_name),
        "path": process.exe,
        "cmd_line": process.argv.as_deref().map(command_line),
        "working_directory": process.cwd,
        "created_time": process.start.as_deref().and_then(time),
        "user": user,
        "parent_process": process.ppid.map(|ppid| {
            let exe = parent.and_then(|parent| parent.exe.as_deref());
            json!({ "pid": ppid, "name": exe.map(base_name), "path": exe })
        }),
        "ancestry": process.ancestors.iter()
            .map(|ancestor| json!({ "pid": ancestor.pid, "path": ancestor.exe })).collect::<Vec<_>>(),
    })
}

fn file(alert: &Alert) -> Option<Value> {
    let file = alert.file.as_ref()?;
    let path = file.path.as_deref();
    Some(json!({
        "name": path.map_or("unknown", base_name),
        "path": path,
        "type_id": 0,
        "type": "Unknown",
        "uid": file.inode,
    }))
}

fn endpoint(alert: &Alert) -> Option<Value> {
    let network = alert.network.as_ref()?;
    let ip = network.address.parse::<std::net::IpAddr>().ok();
    Some(json!({
        "ip": ip.map(|ip| ip.to_string()),
        "name": ip.is_none().then_some(&network.address),
        "svc_name": network.endpoint,
        "port": network.port,
    }))
}

fn container(alert: &Alert) -> Option<Value> {
    let worker = alert.worker.as_ref()?;
    let container = worker.container.as_ref()?;
    let pod = worker.pod.as_ref();
    // Static pods have a uid that is none for OCSF.
    let pod_uid = pod.map(|pod| &pod.uid).filter(|uid| uid.len() == 36 && uuid::Uuid::try_parse(uid).is_ok());
    Some(json!({
        "uid": container.id,
        "runtime": container.runtime,
        // The runtime names the image, its digest is not known here.
        "image": container.image.as_ref().map(|image| json!({ "uid": image, "name": image })),
        "orchestrator": pod.map(|_| "kubernetes"),
        "pod_uuid": pod_uid,
    }))
}

/// The run that did it, the worker, and the identities that it took.
pub(super) fn resources(alert: &Alert) -> Vec<Value> {
    let mut resources = Vec::new();
    let value = |attributed: &Option<crate::alert::Attributed>| attributed.as_ref().map(|a| a.value.clone());
    if let Some(who) = &alert.attribution
        && (who.run.is_some() || who.workflow.is_some())
    {
        resources.push(json!({
            "type": "workflow_run",
            "uid": value(&who.run),
            "name": value(&who.workflow),
            "owner": value(&who.actor).map(|actor| json!({ "name": actor })),
        }));
    }
    if let Some(worker) = &alert.worker {
        resources.push(json!({
            "type": "worker",
            "uid": worker.cgroup.path,
            "name": worker.name,
            "namespace": worker.pod.as_ref().map(|pod| &pod.namespace),
        }));
    }
    let taken = alert.blast_radius.iter().flat_map(|radius| &radius.taken);
    resources
        .extend(taken.map(|taken| json!({ "type": "identity", "uid": taken.identity, "labels": ["taken"] })));
    resources
}

pub(super) fn observables(alert: &Alert) -> Vec<Value> {
    let mut observables = vec![observable("device.hostname", 1, "Hostname", &alert.host.name)];
    if let Some(process) = &alert.process {
        observables.push(observable(
            "evidences[0].process.uid",
            39,
            "Process Entity Object: uid",
            &process.key,
        ));
    }
    if let Some(path) = alert.file.as_ref().and_then(|file| file.path.as_ref()) {
        observables.push(observable("evidences[0].file.path", 45, "File Path", path));
    }
    if let Some(network) = &alert.network
        && network.address.parse::<std::net::IpAddr>().is_ok()
    {
        observables.push(observable("evidences[0].dst_endpoint.ip", 2, "IP Address", &network.address));
    }
    observables
}

fn observable(name: &str, type_id: u32, kind: &str, value: &str) -> Value {
    json!({ "name": name, "type_id": type_id, "type": kind, "value": value })
}

/// The last part of a path; the whole of one that has none.
fn base_name(path: &str) -> &str {
    path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(path)
}

/// The arguments as a shell would take them.
fn command_line(argv: &[String]) -> String {
    argv.iter().map(|argument| escape::argument(argument)).collect::<Vec<_>>().join(" ")
}

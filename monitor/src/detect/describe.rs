//! The scene of a finding in the alert's words.

use monitor_common::filter::access;

use super::envelope::WallClock;
use super::scene::Scene;
use crate::alert::{
    AlsoInfo, Ancestor, CgroupInfo, ContainerInfo, FileInfo, FindingInfo, NetworkInfo, PodInfo, ProcessInfo,
    RuleRef, Taken, WorkerInfo,
};
use crate::event::{AddressStage, Body, Event, MountRelation, Outcome, Path};
use crate::process::{Image, Process};
use crate::profile::{self, Also, Finding, Identity, Leaked};
use crate::worker::Worker;

/// Most ancestors on an alert.
const ANCESTORS_MAX: usize = 16;

pub(super) fn finding(finding: &Finding, event: &Event) -> FindingInfo {
    FindingInfo {
        id: finding.id.to_string(),
        kind: finding.kind.name().to_owned(),
        signal: finding.signal.name().to_owned(),
        outcome: outcome(finding.outcome).to_owned(),
        certainty: finding.certainty.to_string(),
        hook: format!("{}/{}", event.rung.name(), finding.signal.name()),
        rule: Some(rule(&finding.rule)),
        also: finding.also.iter().map(also).collect(),
        expected: finding.expected.clone(),
    }
}

pub(super) fn rule(rule: &profile::RuleRef) -> RuleRef {
    RuleRef { file: rule.file.to_string(), line: rule.line.into() }
}

pub(super) fn also(also: &Also) -> AlsoInfo {
    AlsoInfo {
        finding: also.id.to_string(),
        kind: also.kind.name().to_owned(),
        tier: also.tier,
        rule: Some(rule(&also.rule)),
    }
}

pub(super) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Denied => "denied",
        Outcome::Absent => "absent",
        Outcome::Attempted => "attempted",
    }
}

pub(super) fn worker(worker: &Worker, engine: Option<&str>, profile: &str) -> WorkerInfo {
    WorkerInfo {
        name: worker.name.to_string(),
        engine: engine.map(str::to_owned),
        profile: profile.to_owned(),
        cgroup: CgroupInfo { id: worker.cgroup, path: worker.path.to_string() },
        unit: worker.unit.as_deref().map(str::to_owned),
        container: worker.place.container.as_ref().map(|container| ContainerInfo {
            id: container.id.to_string(),
            runtime: container.runtime.map(|runtime| runtime.name().to_owned()),
            image: worker.image.clone(),
        }),
        pod: worker.pod.as_ref().map(|pod| PodInfo {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            labels: pod.labels.clone(),
            owner: pod.owner.as_ref().map(|name| match &pod.owner_kind {
                Some(kind) => format!("{kind}/{name}"),
                None => name.clone(),
            }),
            service_account: pod.service_account.clone(),
        }),
        node: worker.pod.as_ref().and_then(|pod| pod.node.clone()),
        posture: worker.posture.iter().map(|id| id.to_string()).collect(),
    }
}

pub(super) fn process(scene: &Scene<'_>, boot_id: &str, clock: &WallClock) -> ProcessInfo {
    let subject = &scene.event.subject;
    let process = scene.process();
    let program = scene.image().map(|image| &image.program);
    ProcessInfo {
        key: key(boot_id, subject.key),
        pid: subject.key.pid,
        ns_pid: process.and_then(|process| process.ns_pid),
        ppid: process.and_then(|process| process.creator_pid),
        start: Some(clock.format(subject.key.start)),
        exe: program.and_then(|program| text(&program.exe)),
        argv: program
            .filter(|program| program.argv_known)
            .map(|program| program.argv.iter().map(|arg| arg.to_string()).collect()),
        cwd: program.and_then(|program| text(&program.cwd)),
        uid: Some(subject.uid),
        role: Some(scene.rules.role(scene.profile, scene.role).name.to_string()),
        ancestors: scene
            .processes
            .lineage(scene.at)
            .skip(1)
            .take(ANCESTORS_MAX)
            .map(|(_, ancestor)| ancestor_of(ancestor, scene))
            .collect(),
    }
}

fn ancestor_of(process: &Process, scene: &Scene<'_>) -> Ancestor {
    // What it was at the time: an ancestor may have executed something else since.
    let image: Option<&Image> = process
        .images
        .iter()
        .rev()
        .find(|image| image.since <= scene.event.time)
        .or_else(|| process.images.first());
    Ancestor {
        pid: process.key.pid,
        exe: image.and_then(|image| text(&image.program.exe)),
        role: image.map(|image| scene.rules.role(scene.profile, image.standing.role).name.to_string()),
    }
}

/// `<boot id>:<start>:<pid>`.
pub(super) fn key(boot_id: &str, key: crate::event::ProcessKey) -> String {
    format!("{boot_id}:{}:{}", key.start, key.pid)
}

pub(super) fn file(finding: &Finding, event: &Event) -> Option<FileInfo> {
    let Body::Open(open) = &event.body else { return None };
    let mut flags = Vec::new();
    for (bit, name) in [(access::READ, "read"), (access::WRITE, "write"), (access::PATH, "path")] {
        if open.access & bit != 0 {
            flags.push(name.to_owned());
        }
    }
    let has = |flag: i32| open.flags & flag as u32 == flag as u32;
    for (flag, name) in [
        (libc::O_CREAT, "create"),
        (libc::O_TRUNC, "truncate"),
        (libc::O_APPEND, "append"),
        (libc::O_TMPFILE, "tmpfile"),
    ] {
        if has(flag) {
            flags.push(name.to_owned());
        }
    }
    let known = open.id != Default::default();
    Some(FileInfo {
        path: text(&open.path),
        host_path: open.path.full.as_deref().map(str::to_owned),
        flags,
        inode: known.then(|| format!("{}:{}:{}", open.id.dev >> 20, open.id.dev & 0xf_ffff, open.id.ino)),
        identity: finding.identity.as_ref().map(|identity| identity.id.to_string()),
        mount: match open.mount {
            MountRelation::Foreign => Some("outside".to_owned()),
            MountRelation::OwnOutsideRoot => Some("outside-root".to_owned()),
            MountRelation::None => Some("detached".to_owned()),
            MountRelation::Own | MountRelation::Unknown => None,
        },
        target_pid: open.proc_pid,
    })
}

pub(super) fn network(finding: &Finding, event: &Event) -> Option<NetworkInfo> {
    let endpoint = finding.endpoint.as_ref().map(|endpoint| endpoint.id.to_string());
    match &event.body {
        Body::Connect(connect) => Some(NetworkInfo {
            protocol: protocol(connect.protocol.into()),
            address: connect.addr.to_string(),
            port: Some(connect.port),
            endpoint,
            address_stage: Some(
                match connect.stage {
                    AddressStage::Before => "before",
                    AddressStage::After => "after",
                }
                .to_owned(),
            ),
            result: None,
        }),
        Body::Unix(unix) => Some(NetworkInfo {
            protocol: "unix".to_owned(),
            address: text(&unix.path).unwrap_or_default(),
            port: None,
            endpoint,
            address_stage: None,
            result: None,
        }),
        Body::Socket(socket) => Some(NetworkInfo {
            protocol: match i32::try_from(socket.family) {
                Ok(libc::AF_PACKET) => "packet".to_owned(),
                Ok(libc::AF_VSOCK) => "vsock".to_owned(),
                Ok(libc::AF_ALG) => "alg".to_owned(),
                Ok(libc::AF_NETLINK) => "netlink".to_owned(),
                Ok(libc::AF_INET | libc::AF_INET6) => format!("raw-{}", protocol(socket.protocol)),
                _ => format!("family-{}", socket.family),
            },
            address: String::new(),
            port: None,
            endpoint,
            address_stage: None,
            result: None,
        }),
        _ => None,
    }
}

fn protocol(number: u32) -> String {
    match number {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        132 => "sctp".to_owned(),
        262 => "mptcp".to_owned(),
        other => other.to_string(),
    }
}

pub(super) fn taken(identity: &Identity) -> Taken {
    Taken {
        identity: identity.id.to_string(),
        gives: Some(identity.gives.to_string()),
        respond: identity.respond.steps().join(" "),
        from: None,
    }
}

pub(super) fn leaked(leaked: &Leaked) -> Taken {
    let taken = match &leaked.identity {
        Some(identity) => taken(identity),
        None => Taken {
            identity: leaked.what.to_string(),
            respond: "Rotate: The credential in this variable.".to_owned(),
            ..Taken::default()
        },
    };
    Taken { from: Some(leaked.from.to_string()), ..taken }
}

fn text(path: &Path) -> Option<String> {
    (path.is_known() && !path.view.is_empty()).then(|| path.view.to_string())
}

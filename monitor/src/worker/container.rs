//! Which container and pod a cgroup path names: every runtime's way of building it, innermost container first.
//!
//! Only the path is looked at, which the runtime chose and nothing inside can change. The shapes are those of containerd,
//! CRI-O, Docker, Podman, LXC, systemd-nspawn, ECS and Garden with both of their cgroup drivers, and of the kubelet's pod
//! folders (kubernetes `pkg/kubelet/cm/pod_container_manager_linux.go`, `cgroup_manager_linux.go`).

use std::sync::Arc;

/// The container runtime that made a cgroup, as far as its path tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// containerd, through the CRI or `ctr`.
    Containerd,
    /// CRI-O.
    CriO,
    /// Docker Engine.
    Docker,
    /// Podman.
    Podman,
    /// LXC.
    Lxc,
    /// systemd-nspawn.
    Nspawn,
    /// Amazon ECS.
    Ecs,
    /// Garden (Cloud Foundry).
    Garden,
}

impl Runtime {
    /// Its name on alerts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Lxc => "lxc",
            Self::Nspawn => "systemd-nspawn",
            Self::Ecs => "ecs",
            Self::Garden => "garden",
        }
    }
}

/// A container, as its cgroup path names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id; for LXC and nspawn its name.
    pub id: Arc<str>,
    /// Its runtime; a bare id below a pod does not tell.
    pub runtime: Option<Runtime>,
}

impl Container {
    /// Runtime and the beginning of the id, as the runtimes' own listings show it.
    pub fn short_name(&self) -> String {
        let short = if is_id(&self.id) { self.id.get(..12) } else { None }.unwrap_or(&self.id);
        format!("{}-{short}", self.runtime.map_or("container", Runtime::name))
    }
}

/// What a cgroup path tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The innermost container.
    pub container: Option<Container>,
    /// The pod around it: its uid, with dashes; of a static pod the hash of its configuration, which is not its uid in the API.
    pub pod: Option<Arc<str>>,
    /// The pod, or the container if it is in none, lies inside another container or pod. It is not this node's kubelet's or engine's,
    /// whatever its name: who may make cgroups inside a container may call them as he likes.
    pub nested: bool,
}

/// What the path of a cgroup below the hierarchy's root (`/…`) tells.
pub fn place_of(path: &str) -> Place {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    for at in (0..parts.len()).rev() {
        let above = parts.get(..at).unwrap_or_default();
        let Some(part) = parts.get(at) else { continue };
        if let Some(container) = container(part, above) {
            // The driver mismatch of containerd has both in one component; a pod further out than another container
            // is not this one's.
            let own = pod_of(part);
            let (pod, around) = match (own, above.split_last()) {
                (Some(pod), _) => (Some(pod), above),
                (None, Some((parent, around))) => (pod_of(parent), around),
                (None, None) => (None, above),
            };
            let nested = is_inside(if pod.is_some() { around } else { above });
            return Place { container: Some(container), pod, nested };
        }
        if let Some(pod) = pod_of(part) {
            return Place { container: None, pod: Some(pod), nested: is_inside(above) };
        }
    }
    Place::default()
}

/// Whether these components are, or lie in, a container or pod.
fn is_inside(parts: &[&str]) -> bool {
    (0..parts.len()).any(|at| {
        let part = parts.get(at).copied().unwrap_or_default();
        pod_of(part).is_some() || container(part, parts.get(..at).unwrap_or_default()).is_some()
    })
}

/// The container that a component of a path is, given those above it.
fn container(part: &str, above: &[&str]) -> Option<Container> {
    let parent = above.last().copied().unwrap_or_default();
    let of = |id: &str, runtime| Some(Container { id: id.into(), runtime });
    // `SLICE:PREFIX:ID`: the cgroupfs driver given the systemd driver's name.
    let mut colons = part.rsplitn(3, ':');
    if let (Some(id), Some(prefix), Some(_)) = (colons.next(), colons.next(), colons.next())
        && is_id(id)
    {
        return of(id, runtime_of(prefix));
    }
    let name = part.strip_suffix(".scope").unwrap_or(part);
    if let Some((prefix, id)) = name.rsplit_once('-')
        && is_id(id)
        && let Some(runtime) = runtime_of(prefix)
    {
        return of(id, Some(runtime));
    }
    if is_id(part) {
        let runtime = match parent {
            "docker" => Some(Runtime::Docker),
            "k8s.io" | "default" => Some(Runtime::Containerd),
            "libpod_parent" => Some(Runtime::Podman),
            _ => above.first().filter(|first| **first == "ecs").map(|_| Runtime::Ecs),
        };
        return of(part, runtime);
    }
    if above.first() == Some(&"ecs") && above.len() >= 2 && is_ecs_id(part) {
        return of(part, Some(Runtime::Ecs));
    }
    if is_garden_id(part) {
        return of(part, Some(Runtime::Garden));
    }
    if let Some(name) = part.strip_prefix("lxc.payload.").or((parent == "lxc").then_some(part)) {
        return of(name, Some(Runtime::Lxc));
    }
    if parent == "machine.slice" {
        let nspawn = name
            .strip_prefix("machine-")
            .filter(|name| part.ends_with(".scope") && !name.starts_with("qemu"))
            .or_else(|| part.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service")));
        return nspawn.and_then(|name| of(name, Some(Runtime::Nspawn)));
    }
    // `ctr run`: a folder per namespace of containerd, and a name that people chose.
    (above.len() == 1 && matches!(parent, "k8s.io" | "default") && !part.contains('.'))
        .then(|| of(part, Some(Runtime::Containerd)))
        .flatten()
}

/// By what the runtime writes before the id; their monitors (`crio-conmon-`, `libpod-conmon-`) are no containers.
fn runtime_of(prefix: &str) -> Option<Runtime> {
    match prefix {
        "cri-containerd" | "nerdctl" => Some(Runtime::Containerd),
        "crio" => Some(Runtime::CriO),
        "docker" => Some(Runtime::Docker),
        // Quadlet divides a unit's cgroup (`--cgroups=split`): the container is its payload.
        "libpod" | "libpod-payload" => Some(Runtime::Podman),
        _ => None,
    }
}

/// 64 hexadecimal digits, as every runtime of the OCI makes them.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(is_lower_hex)
}

fn is_lower_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

/// 32 hexadecimal digits, a dash, and digits.
fn is_ecs_id(text: &str) -> bool {
    text.split_once('-').is_some_and(|(task, number)| {
        task.len() == 32
            && task.bytes().all(is_lower_hex)
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Hexadecimal digits in groups of 8-4-4-4-4.
fn is_garden_id(text: &str) -> bool {
    is_grouped(text, &[8, 4, 4, 4, 4])
}

fn is_grouped(text: &str, groups: &[usize]) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == groups.len()
        && parts
            .iter()
            .zip(groups)
            .all(|(part, length)| part.len() == *length && part.bytes().all(is_lower_hex))
}

/// The uid of the pod that a component is the folder of.
fn pod_of(part: &str) -> Option<Arc<str>> {
    let slice = part.split_once(':').map_or(part, |(slice, _)| slice);
    let uid = match slice.strip_suffix(".slice") {
        // `kubepods-pod…`, `kubepods-burstable-pod…`, `kubelet-kubepods-…`; systemd reads `-` as a folder, hence `_`.
        Some(slice) => slice.contains("kubepods").then(|| slice.rsplit_once("-pod"))??.1.replace('_', "-"),
        None => slice.strip_prefix("pod")?.to_owned(),
    };
    let is_uid = is_grouped(&uid, &[8, 4, 4, 4, 12]) || (uid.len() == 32 && uid.bytes().all(is_lower_hex));
    is_uid.then(|| uid.into())
}

#[cfg(test)]
mod tests;

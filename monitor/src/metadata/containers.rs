//! Containers outside Kubernetes: their names and images, from what Docker Engine and Podman keep on disk.
//!
//! The engines themselves are not asked: who may speak to their sockets owns the host. Their folders are root's, a container is
//! looked up by the id in its cgroup's path, and what is not there is not known.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::pod::bounded;
use crate::config::ContainersConfig;
use crate::worker::{HostContainer, Place, Runtime};

/// Longer files are not read. Docker has one for each container, Podman one for all.
const LONGEST: u64 = 8 << 20;
/// What Podman calls the folder, by the driver of its storage, and the files in it: the latter for those that end with the host's run.
const PODMAN_FOLDERS: [&str; 3] = ["overlay-containers", "vfs-containers", "btrfs-containers"];
const PODMAN_FILES: [&str; 2] = ["containers.json", "volatile-containers.json"];

/// The engines of this host.
#[derive(Debug, Default)]
pub struct HostEngines {
    docker: Option<PathBuf>,
    podman: Option<PathBuf>,
}

impl HostEngines {
    /// Those whose folders the configuration names.
    pub fn new(config: &ContainersConfig) -> Self {
        Self { docker: config.docker.clone(), podman: config.podman.clone() }
    }

    /// What its engine keeps of the container at this place. Of one in a pod the kubelet knows; one inside another container is not this
    /// host's engine's, whatever its id: who may make cgroups in there may call them as he likes.
    pub fn find(&self, place: &Place) -> Option<HostContainer> {
        let container = place.container.as_ref().filter(|_| place.pod.is_none() && !place.nested)?;
        let id = container.id.as_ref();
        // A job's container of a CI runner has its id alone in its path; ECS has Docker make its own.
        let (in_docker, in_podman) = match container.runtime {
            None => (true, true),
            Some(Runtime::Docker | Runtime::Ecs) => (true, false),
            Some(Runtime::Podman) => (false, true),
            Some(_) => return None,
        };
        let docker = self.docker.as_deref().filter(|_| in_docker);
        let podman = self.podman.as_deref().filter(|_| in_podman);
        docker
            .and_then(|folder| from_docker(folder, id))
            .or_else(|| podman.and_then(|folder| from_podman(folder, id)))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerContainer {
    name: Option<String>,
    config: Option<DockerConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerConfig {
    image: Option<String>,
}

fn from_docker(folder: &Path, id: &str) -> Option<HostContainer> {
    let kept: DockerContainer = read(&folder.join("containers").join(id).join("config.v2.json"))?;
    let name = kept.name.map(|name| name.trim_start_matches('/').to_owned());
    let image = kept.config.and_then(|config| config.image).map(|image| tagged(&image));
    container(Runtime::Docker, name, image)
}

#[derive(Deserialize)]
struct PodmanContainer {
    id: String,
    names: Option<Vec<String>>,
    /// More JSON.
    metadata: Option<String>,
}

fn from_podman(folder: &Path, id: &str) -> Option<HostContainer> {
    let files =
        PODMAN_FOLDERS.iter().flat_map(|of| PODMAN_FILES.iter().map(move |file| folder.join(of).join(file)));
    files.into_iter().find_map(|file| {
        let all: Vec<PodmanContainer> = read(&file)?;
        let kept = all.into_iter().find(|kept| kept.id == id)?;
        let metadata: Value = serde_json::from_str(&kept.metadata.unwrap_or_default()).unwrap_or_default();
        let image = metadata["image-name"].as_str().map(str::to_owned);
        container(Runtime::Podman, kept.names.and_then(|names| names.into_iter().next()), image)
    })
}

fn container(engine: Runtime, name: Option<String>, image: Option<String>) -> Option<HostContainer> {
    let kept = |text: Option<String>| text.filter(|text| !text.is_empty()).map(bounded);
    Some(HostContainer { engine: engine.name().to_owned(), name: kept(name), image: kept(image) })
}

/// As the engine understood it: without a tag or digest it is the newest. An id stays one.
fn tagged(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    let is_id = image.len() == 64 && image.bytes().all(|byte| byte.is_ascii_hexdigit());
    if image.is_empty() || is_id || last.contains(':') || image.contains('@') {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}

/// A file that may not be there; one that cannot be read is said.
fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    let file = File::open(path).ok()?;
    let mut text = Vec::new();
    let read = file.take(LONGEST + 1).read_to_end(&mut text).map_err(|error| error.to_string());
    let parsed = read.and_then(|length| {
        if length as u64 > LONGEST {
            return Err(format!("longer than {LONGEST} bytes"));
        }
        serde_json::from_slice(&text).map_err(|error| error.to_string())
    });
    parsed
        .inspect_err(
            |why| tracing::warn!(file = %path.display(), why, "a container's name and image are not known"),
        )
        .ok()
}

#[cfg(test)]
mod tests;

use std::fs;

use super::*;
use crate::recording::WorkerFact;
use crate::worker::{Assignment, Worker, place_of};

const ID: &str = "5688392013ab4a1c63b3e2c0a1f0d5e0c4a8a7d37df3a4ce44bd1c5a2f9b0e11";
const OTHER: &str = "964b01f3a2d09c5e7f1d3a4cee44bd1c5a2f9b0e115688392013ab4a1c63b3e2";

struct Host {
    folder: tempfile::TempDir,
    engines: HostEngines,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| Some(folder.path().join(name));
        let engines = HostEngines::new(&ContainersConfig { docker: at("docker"), podman: at("podman") });
        Self { folder, engines }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn docker(&self, id: &str, text: &str) {
        self.write(&format!("docker/containers/{id}/config.v2.json"), text);
    }

    fn find(&self, path: &str) -> Option<HostContainer> {
        self.engines.find(&place_of(path))
    }
}

fn told(engine: &str, name: &str, image: &str) -> Option<HostContainer> {
    Some(HostContainer { engine: engine.into(), name: Some(name.into()), image: Some(image.into()) })
}

#[test]
fn container_of_docker_is_found_with_both_cgroup_drivers_and_as_a_runners_job() {
    let host = Host::new();
    host.docker(
        ID,
        r#"{"ID":"x","Name":"/flows","Config":{"Image":"n8nio/n8n:1.99","Env":["A=b"]},"Driver":"overlay2"}"#,
    );
    for path in ["/docker/{}", "/system.slice/docker-{}.scope", "/actions_job/{}"] {
        let path = path.replace("{}", ID);
        assert_eq!(host.find(&path), told("docker", "flows", "n8nio/n8n:1.99"), "{path}");
    }
    assert_eq!(host.find(&format!("/docker/{OTHER}")), None);
}

#[test]
fn container_of_podman_is_found_among_all_and_among_those_of_this_run() {
    let host = Host::new();
    let one = |id: &str, name: &str| {
        format!(
            r#"[{{"id":"{id}","names":["{name}"],"image":"61","metadata":"{{\"image-name\":\"docker.io/n8nio/n8n:1\",\"name\":\"x\"}}"}}]"#
        )
    };
    host.write("podman/overlay-containers/containers.json", &one(ID, "kept"));
    host.write("podman/overlay-containers/volatile-containers.json", &one(OTHER, "passing"));
    let image = "docker.io/n8nio/n8n:1";
    assert_eq!(host.find(&format!("/libpod_parent/libpod-{ID}")), told("podman", "kept", image));
    let scope = format!("/machine.slice/libpod-{OTHER}.scope/container");
    assert_eq!(host.find(&scope), told("podman", "passing", image));
    assert_eq!(host.find(&format!("/docker/{ID}")), None, "the path says whose it is");
}

#[test]
fn image_without_a_tag_is_the_newest_and_an_id_stays_one() {
    for (given, told) in [
        ("n8nio/n8n", "n8nio/n8n:latest"),
        ("registry:5000/n8n", "registry:5000/n8n:latest"),
        ("registry:5000/n8n:1", "registry:5000/n8n:1"),
        ("n8nio/n8n@sha256:00", "n8nio/n8n@sha256:00"),
        ("sha256:00", "sha256:00"),
        (ID, ID),
        ("", ""),
    ] {
        assert_eq!(tagged(given), told);
    }
}

#[test]
fn container_in_a_pod_or_inside_another_takes_no_name_from_the_host() {
    let host = Host::new();
    host.docker(ID, r#"{"Name":"/flows","Config":{"Image":"n8nio/n8n:1"}}"#);
    let uid = "6c296cf0-94d7-43f6-bfb0-d99da865208f";
    for path in [
        format!("/kubepods/pod{uid}/{ID}"),
        format!("/docker/{OTHER}/docker/{ID}"),
        format!("/docker/{OTHER}/{ID}"),
    ] {
        assert_eq!(host.find(&path), None, "{path}");
    }
}

#[test]
fn file_that_is_broken_long_or_of_another_shape_is_no_name() {
    let host = Host::new();
    let path = format!("/docker/{ID}");
    for text in ["", "{", "[]", r#"{"Name":7}"#, r#"{"Config":"x"}"#] {
        host.docker(ID, text);
        assert_eq!(host.find(&path), None, "{text}");
    }
    host.docker(ID, &format!("{}{{}}", " ".repeat(8 << 20)));
    assert_eq!(host.find(&path), None);
    host.docker(ID, &format!(r#"{{"Name":"/{}","Config":null}}"#, "n".repeat(5000)));
    let found = host.find(&path).unwrap();
    assert_eq!((found.name.unwrap().len(), found.image), (512, None));
}

#[test]
fn engine_that_is_turned_off_is_not_looked_at() {
    let host = Host::new();
    host.docker(ID, r#"{"Name":"/flows"}"#);
    let config = ContainersConfig { docker: None, podman: None };
    assert_eq!(HostEngines::new(&config).find(&place_of(&format!("/docker/{ID}"))), None);
}

#[test]
fn worker_has_its_containers_name_unless_the_configuration_gives_another_and_a_recording_keeps_it() {
    let path = format!("/docker/{ID}");
    let mut worker = Worker::new(1, 2, &path, None, Assignment::default(), 3);
    assert_eq!((&*worker.name, worker.image.as_deref()), ("docker-5688392013ab", None));
    worker.learn_host(told("docker", "flows", "n8nio/n8n:1").unwrap());
    assert_eq!((&*worker.name, worker.image.as_deref()), ("docker/flows", Some("n8nio/n8n:1")));
    let facts = worker.facts();
    assert_eq!((facts.container.as_deref(), facts.image.as_deref()), (Some("flows"), Some("n8nio/n8n:1")));

    let recorded = WorkerFact::of(&worker, true).worker();
    assert_eq!(
        (&recorded.name, &recorded.host, &recorded.image),
        (&worker.name, &worker.host, &worker.image)
    );

    worker.reassign(Assignment { name: Some("lab".into()), ..Assignment::default() });
    assert_eq!(&*worker.name, "lab");
    worker.reassign(Assignment::default());
    assert_eq!(&*worker.name, "docker/flows");
    // A name that nobody wrote down is no name.
    let mut nameless = Worker::new(1, 2, &path, None, Assignment::default(), 3);
    nameless.learn_host(HostContainer { engine: "docker".into(), ..HostContainer::default() });
    assert_eq!(&*nameless.name, "docker-5688392013ab");
}

use proptest::prelude::*;

use super::*;

const A: &str = "5688392013ab4a1c63b3e2c0a1f0d5e0c4a8a7d37df3a4ce44bd1c5a2f9b0e11";
const B: &str = "964b01f3a2d09c5e7f1d3a4cee44bd1c5a2f9b0e115688392013ab4a1c63b3e2";
const UID: &str = "6c296cf0-94d7-43f6-bfb0-d99da865208f";
const UID_: &str = "6c296cf0_94d7_43f6_bfb0_d99da865208f";
const HASH: &str = "9d8f7c6b5a4e3d2c1b0a99887766554f";

/// A path with `A`, `B`, `UID`, `UID_` and `HASH` written out; the container's id and runtime, and the pod.
type Case = (&'static str, Option<(&'static str, Option<Runtime>)>, Option<&'static str>);

const CASES: &[Case] = &[
    // containerd through the CRI, cgroupfs driver: the runtime's name is in no component.
    ("/kubepods/besteffort/pod{UID}/{A}", Some((A, None)), Some(UID)),
    ("/kubepods/burstable/pod{UID}/{A}", Some((A, None)), Some(UID)),
    ("/kubepods/pod{UID}/{A}", Some((A, None)), Some(UID)),
    // systemd driver, each class of service.
    (
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice/cri-containerd-{A}.scope",
        Some((A, Some(Runtime::Containerd))),
        Some(UID),
    ),
    (
        "/kubepods.slice/kubepods-pod{UID_}.slice/cri-containerd-{A}.scope",
        Some((A, Some(Runtime::Containerd))),
        Some(UID),
    ),
    // The kubelet says systemd, containerd says cgroupfs.
    (
        "/system.slice/containerd.service/kubepods-burstable-pod{UID_}.slice:cri-containerd:{A}",
        Some((A, Some(Runtime::Containerd))),
        Some(UID),
    ),
    // CRI-O, with and without a cgroup of its own for the container's processes; its monitor is no container.
    ("/kubepods.slice/kubepods-pod{UID_}.slice/crio-{A}.scope", Some((A, Some(Runtime::CriO))), Some(UID)),
    (
        "/kubepods.slice/kubepods-pod{UID_}.slice/crio-{A}.scope/container",
        Some((A, Some(Runtime::CriO))),
        Some(UID),
    ),
    ("/kubepods/burstable/pod{UID}/crio-{A}", Some((A, Some(Runtime::CriO))), Some(UID)),
    ("/kubepods.slice/kubepods-pod{UID_}.slice/crio-conmon-{A}.scope", None, Some(UID)),
    // Docker, both drivers, and below Kubernetes.
    ("/docker/{A}", Some((A, Some(Runtime::Docker))), None),
    ("/system.slice/docker-{A}.scope", Some((A, Some(Runtime::Docker))), None),
    (
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice/docker-{A}.scope",
        Some((A, Some(Runtime::Docker))),
        Some(UID),
    ),
    // A hosted runner's job container.
    ("/{A}", Some((A, None)), None),
    ("/actions_job/{A}", Some((A, None)), None),
    // A cluster inside a container: the innermost container, and its pod.
    ("/system.slice/docker-{A}.scope/kubelet/kubepods/burstable/pod{HASH}/{B}", Some((B, None)), Some(HASH)),
    (
        "/docker/{A}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{UID_}.slice/cri-containerd-{B}.scope",
        Some((B, Some(Runtime::Containerd))),
        Some(UID),
    ),
    // A Docker in a pod: the pod is around the outer container, not this one.
    ("/kubepods/besteffort/pod{UID}/{A}/docker/{B}", Some((B, Some(Runtime::Docker))), None),
    // systemd in a container: its units are the container's.
    ("/docker/{A}/system.slice/nginx.service", Some((A, Some(Runtime::Docker))), None),
    // containerd without Kubernetes.
    ("/k8s.io/{A}", Some((A, Some(Runtime::Containerd))), None),
    ("/k8s.io/redis", Some(("redis", Some(Runtime::Containerd))), None),
    ("/default/redis", Some(("redis", Some(Runtime::Containerd))), None),
    ("/system.slice/nerdctl-{A}.scope", Some((A, Some(Runtime::Containerd))), None),
    // Podman as root and as a user, and its monitor.
    ("/machine.slice/libpod-{A}.scope/container", Some((A, Some(Runtime::Podman))), None),
    (
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope/container",
        Some((A, Some(Runtime::Podman))),
        None,
    ),
    ("/system.slice/web.service/libpod-payload-{A}", Some((A, Some(Runtime::Podman))), None),
    ("/libpod_parent/libpod-{A}", Some((A, Some(Runtime::Podman))), None),
    ("/machine.slice/libpod-conmon-{A}.scope", None, None),
    // ECS: tasks of two agents' versions.
    (
        "/ecs/task-1/9d8f7c6b5a4e3d2c1b0a99887766554f-3735926",
        Some(("9d8f7c6b5a4e3d2c1b0a99887766554f-3735926", Some(Runtime::Ecs))),
        None,
    ),
    ("/ecs/cluster/9d8f7c6b5a4e3d2c1b0a99887766554f/{A}", Some((A, Some(Runtime::Ecs))), None),
    (
        "/garden/6f265890-5165-7fab-6b52-18d1",
        Some(("6f265890-5165-7fab-6b52-18d1", Some(Runtime::Garden))),
        None,
    ),
    // System containers.
    ("/lxc.payload.build/system.slice/x.service", Some(("build", Some(Runtime::Lxc))), None),
    ("/lxc/build", Some(("build", Some(Runtime::Lxc))), None),
    ("/machine.slice/machine-build.scope", Some(("build", Some(Runtime::Nspawn))), None),
    ("/machine.slice/machine-qemu\\x2d1\\x2dbuild.scope", None, None),
    ("/machine.slice/systemd-nspawn@build.service/payload", Some(("build", Some(Runtime::Nspawn))), None),
    // The pod itself, and a static one.
    ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice", None, Some(UID)),
    ("/kubepods/pod{HASH}", None, Some(HASH)),
    // systemd has a mount for what a container's file system is on, named by its path: no container, and nothing runs in it.
    ("/system.slice/run-containerd-io.containerd.runtime.v2.task-k8s.io-{A}-rootfs.mount", None, None),
    ("/system.slice/var-lib-docker-overlay2-{A}-merged.mount", None, None),
    ("/system.slice/docker-{A}.mount", None, None),
    ("/kubepods.slice/kubepods-pod{UID_}.slice/crio-{A}.mount", None, Some(UID)),
    // No container at all.
    ("/system.slice/actions.runner.x.service", None, None),
    ("/system.slice/docker.service", None, None),
    ("/user.slice/user-1000.slice/session-3.scope", None, None),
    ("/lab/n8n", None, None),
    ("/podcast/podium", None, None),
    ("/", None, None),
];

fn written(path: &str) -> String {
    path.replace("{A}", A)
        .replace("{B}", B)
        .replace("{UID}", UID)
        .replace("{UID_}", UID_)
        .replace("{HASH}", HASH)
}

#[test]
fn each_runtimes_paths_name_their_container_and_pod() {
    for (path, container, pod) in CASES {
        let path = written(path);
        let place = place_of(&path);
        let expected = container.map(|(id, runtime)| Container { id: id.into(), runtime });
        assert_eq!(
            (place.container, place.pod.as_deref()),
            (expected, pod.map(written).as_deref()),
            "{path}"
        );
    }
}

/// A container that may make cgroups makes one that looks like another pod's.
#[test]
fn a_pod_inside_a_container_or_pod_is_none_of_the_nodes_kubelet() {
    for (path, nested) in [
        ("/kubepods/burstable/pod{UID}/{A}", false),
        ("/kubepods.slice/kubepods-pod{UID_}.slice/cri-containerd-{A}.scope", false),
        ("/system.slice/containerd.service/kubepods-burstable-pod{UID_}.slice:cri-containerd:{A}", false),
        ("/kubepods/burstable/pod{HASH}/{A}/pod{UID}/{B}", true),
        ("/kubepods/burstable/pod{HASH}/{A}/x/y/kubepods-pod{UID_}.slice:cri-containerd:{B}", true),
        ("/kubepods/burstable/pod{HASH}/pod{UID}/{B}", true),
        ("/docker/{A}/kubelet/kubepods/pod{UID}/{B}", true),
        ("/kubepods/burstable/pod{HASH}/{A}/pod{UID}", true),
    ] {
        let place = place_of(&written(path));
        assert!(place.pod.is_some(), "{path}");
        assert_eq!(place.nested, nested, "{path}");
    }
}

#[test]
fn what_only_looks_like_an_id_is_none() {
    let short = &A[..63];
    let upper = A.to_uppercase();
    for path in [
        format!("/docker/{short}"),
        format!("/docker/{upper}"),
        format!("/docker/{A}0"),
        format!("/x-{A}.scope"),
        "/kubepods/pod6c296cf0-94d7".to_owned(),
        format!("/ecs/{HASH}-12x/y"),
    ] {
        assert_eq!(place_of(&path), Place::default(), "{path}");
    }
}

proptest! {
    #[test]
    fn any_path_is_read_without_panic(path in "\\PC{0,80}") {
        let _ = place_of(&path);
    }

    /// What runs deeper inside a container is still its own.
    #[test]
    fn a_unit_below_a_container_is_that_container(case in 0..CASES.len(), below in "(/[a-z]{1,8}\\.service){0,3}") {
        let (path, container, _) = CASES[case];
        prop_assume!(container.is_some());
        let path = written(path);
        prop_assert_eq!(place_of(&format!("{path}{below}")).container, place_of(&path).container);
    }
}

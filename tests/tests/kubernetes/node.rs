//! A node of Kubernetes for the time of a test: API server, scheduler, controllers, kubelet and containerd, all in a network namespace
//! that nothing leaves, all files in one folder. Runtime and kubelet have their mounts in a namespace of their own. Ends what it
//! started, and takes away its cgroups, mounts and logs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::lab::leftovers;
use super::{image, pause};

/// Mounts of a node: shared among each other, as a service manager makes them and a mount that follows the host's wants them, and
/// tracefs at its place.
const MOUNTS: &str = "mount --make-rshared / && { test -d /sys/kernel/tracing/events || \
                      mount -t tracefs tracefs /sys/kernel/tracing; } && exec \"$0\" \"$@\"";

/// The node's address, on a bridge of the namespace.
pub(crate) const ADDRESS: &str = "10.77.0.1";
const NAME: &str = "node-1";

pub(crate) struct Node {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) programs: PathBuf,
    netns: String,
    children: Vec<(&'static str, Child)>,
    logs_before: Vec<PathBuf>,
}

impl Node {
    /// A node that is ready for pods of `localhost/busybox:1`.
    pub(crate) fn start() -> Self {
        let programs = PathBuf::from(std::env::var_os("SANDWATCH_KUBERNETES").unwrap_or_else(|| {
            panic!("SANDWATCH_KUBERNETES names the programs; cargo xtask test --only kubernetes builds them")
        }));
        // A socket's path may have 108 bytes: /tmp is short.
        let folder = tempfile::Builder::new().prefix("sw-k8s").tempdir_in("/tmp").unwrap();
        let netns = format!("sw-k8s-{}", std::process::id());
        let mut node = Self { folder, programs, netns, children: Vec::new(), logs_before: pod_logs() };
        node.network();
        node.write_files();
        node.control_plane();
        node.runtime();
        node.kubelet();
        node.wait_for("the node is ready", Duration::from_secs(120), |node| {
            let nodes = node.get(&["nodes", NAME]);
            let conditions = nodes["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
        });
        node
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program in the node's network.
    pub(crate) fn inside(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.netns)).arg(program).stdin(Stdio::null());
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.programs.display());
        command.env("PATH", path);
        command
    }

    pub(crate) fn wait_for(&self, what: &str, most: Duration, holds: impl Fn(&Self) -> bool) {
        let until = Instant::now() + most;
        while !holds(self) {
            assert!(Instant::now() < until, "not within {most:?}: {what}\n{}", self.tails());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Stops or continues a part (`SIGSTOP`, `SIGCONT`).
    pub(crate) fn signal(&self, part: &str, signal: i32) {
        let (_, child) = self.children.iter().find(|(name, _)| *name == part).unwrap();
        // SAFETY: kill only takes numbers; the child was not waited for, so its pid is its own.
        unsafe { libc::kill(i32::try_from(child.id()).unwrap(), signal) };
    }

    /// The image's archive into the runtime.
    pub(crate) fn import(&self, archive: &Path) {
        let status = self.ctr(&["images", "import", archive.to_str().unwrap()]);
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    }

    pub(crate) fn ctr(&self, arguments: &[&str]) -> Output {
        let mut command = self.inside(self.programs.join("ctr"));
        command.arg("-a").arg(self.path("run/containerd.sock")).args(["-n", "k8s.io"]).args(arguments);
        command.output().unwrap()
    }

    fn network(&self) {
        run(Command::new("ip").args(["netns", "add", &self.netns]));
        for line in [
            "link set lo up",
            "link add node0 type bridge",
            &format!("addr add {ADDRESS}/16 dev node0"),
            "link set node0 up",
            // The kubelet asks for the interface of the default route.
            &format!("route add default via {ADDRESS} dev node0"),
        ] {
            run(self.inside("ip").args(line.split(' ')));
        }
    }

    fn write_files(&self) {
        let folder = self.folder.path().display().to_string();
        let fill = |text: &str| {
            text.replace("@FOLDER@", &folder)
                .replace("@ADDRESS@", ADDRESS)
                .replace("@PROGRAMS@", &self.programs.display().to_string())
        };
        for (name, text) in [
            ("kubeconfig", include_str!("kubeconfig.yaml")),
            ("kubelet.yaml", include_str!("kubelet.yaml")),
            ("containerd.toml", include_str!("containerd.toml")),
            ("cni/10-node.conflist", include_str!("cni.json")),
            // Tokens of this test's own API server only.
            ("tokens.csv", "admin-of-the-test,admin,1,\"system:masters\"\n"),
        ] {
            let path = self.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, fill(text)).unwrap();
        }
        fs::create_dir_all(self.path("run")).unwrap();
        run(Command::new("openssl").args(["genrsa", "-out"]).arg(self.path("sa.key")).arg("2048"));
        // Who the API server is to the kubelet, for `kubectl exec`; it is its own authority.
        let subject = "/O=system:masters/CN=api-server-of-the-test";
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", subject]);
        run(command.arg("-keyout").arg(self.path("api.key")).arg("-out").arg(self.path("api.crt")));
    }

    fn control_plane(&mut self) {
        let folder = self.folder.path().display().to_string();
        self.spawn(
            "etcd",
            &[
                &format!("--data-dir={folder}/etcd"),
                "--listen-client-urls=http://127.0.0.1:2379",
                "--advertise-client-urls=http://127.0.0.1:2379",
                "--listen-peer-urls=http://127.0.0.1:2380",
                "--unsafe-no-fsync",
            ],
        );
        self.spawn(
            "kube-apiserver",
            &[
                "--etcd-servers=http://127.0.0.1:2379",
                &format!("--bind-address={ADDRESS}"),
                &format!("--advertise-address={ADDRESS}"),
                "--secure-port=6443",
                &format!("--cert-dir={folder}/certs"),
                "--service-account-issuer=https://node.test",
                &format!("--service-account-key-file={folder}/sa.key"),
                &format!("--service-account-signing-key-file={folder}/sa.key"),
                &format!("--token-auth-file={folder}/tokens.csv"),
                "--authorization-mode=RBAC,Node",
                "--service-cluster-ip-range=10.96.0.0/24",
                "--allow-privileged",
                "--kubelet-certificate-authority=",
                &format!("--kubelet-client-certificate={folder}/api.crt"),
                &format!("--kubelet-client-key={folder}/api.key"),
                "--kubelet-preferred-address-types=InternalIP",
            ],
        );
        self.wait_for("the API server answers", Duration::from_secs(60), |node| {
            node.kubectl(&["get", "--raw", "/readyz"], None).stdout == b"ok"
        });
        let config = format!("--kubeconfig={folder}/kubeconfig");
        self.spawn("kube-controller-manager", &[
            &config,
            "--controllers=daemonset,garbagecollector,nodelifecycle,serviceaccount,serviceaccount-token,root-ca-cert-publisher,namespace",
            &format!("--service-account-private-key-file={folder}/sa.key"),
            &format!("--root-ca-file={folder}/certs/apiserver.crt"),
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            "--port=0",
        ]);
        self.spawn(
            "kube-scheduler",
            &[&config, "--leader-elect=false", "--bind-address=127.0.0.1", "--port=0"],
        );
    }

    fn runtime(&mut self) {
        let config = self.path("containerd.toml");
        let containerd = self.programs.join("containerd");
        let mut command = self.inside("unshare");
        command.args(["--mount", "--propagation=private", "/bin/sh", "-c", MOUNTS]).arg(containerd);
        self.launch("containerd", command.args(["--config", config.to_str().unwrap()]));
        self.wait_for("containerd answers", Duration::from_secs(30), |node| {
            node.ctr(&["version"]).status.success()
        });
        let busybox = self.programs.join("busybox");
        let images = self.path("images");
        let pause = self.path("pause");
        fs::write(&pause, pause::program()).unwrap();
        fs::set_permissions(&pause, fs::Permissions::from_mode(0o755)).unwrap();
        self.import(&image::archive(&images, "localhost/pause:1", &[("pause", &pause)], "/pause"));
        let files: [(&str, &Path); 1] = [("bin/busybox", &busybox)];
        self.import(&image::archive(&images, "localhost/busybox:1", &files, "/bin/sh"));
    }

    fn kubelet(&mut self) {
        let folder = self.folder.path().display().to_string();
        let (_, containerd) = self.children.iter().find(|(name, _)| *name == "containerd").unwrap();
        // Each of its programs was executed in place of the one before, so this is containerd itself.
        let mounts = format!("--mount=/proc/{}/ns/mnt", containerd.id());
        let mut command = self.inside("nsenter");
        command.arg(mounts).arg(self.programs.join("kubelet")).args([
            &format!("--config={folder}/kubelet.yaml"),
            &format!("--kubeconfig={folder}/kubeconfig"),
            &format!("--root-dir={folder}/kubelet"),
            &format!("--cert-dir={folder}/kubelet-certs"),
            "--container-runtime=remote",
            &format!("--container-runtime-endpoint=unix://{folder}/run/containerd.sock"),
            &format!("--hostname-override={NAME}"),
            &format!("--node-ip={ADDRESS}"),
            "--pod-infra-container-image=localhost/pause:1",
        ]);
        self.launch("kubelet", &mut command);
    }

    fn spawn(&mut self, name: &'static str, arguments: &[&str]) {
        let mut command = self.inside(self.programs.join(name));
        self.launch(name, command.args(arguments));
    }

    fn launch(&mut self, name: &'static str, command: &mut Command) {
        let log = fs::File::create(self.path(&format!("{name}.log"))).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.children.push((name, command.spawn().unwrap()));
    }

    /// The ends of all logs, for when something does not come.
    fn tails(&self) -> String {
        let mut all = String::new();
        for (name, _) in &self.children {
            let text = fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
            let last: Vec<&str> = text.lines().rev().take(8).collect();
            all.push_str(&format!("--- {name}\n"));
            last.iter().rev().for_each(|line| all.push_str(&format!("{line}\n")));
        }
        let pods = self.kubectl(&["get", "pods", "-A", "-o", "wide"], None);
        all + &String::from_utf8_lossy(&pods.stdout)
    }

    fn end_pods(&self) {
        self.kubectl(&["delete", "daemonsets", "-A", "--all", "--wait=false"], None);
        self.kubectl(&["delete", "pods", "-A", "--all", "--grace-period=0", "--force", "--wait=false"], None);
        let until = Instant::now() + Duration::from_secs(30);
        let containers = |node: &Self| node.ctr(&["tasks", "ls", "-q"]).stdout;
        while !containers(self).is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(300));
        }
        for id in String::from_utf8_lossy(&containers(self)).lines() {
            self.ctr(&["tasks", "kill", "-s", "SIGKILL", id]);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end_pods();
        for (_, child) in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
        leftovers::end_shims(&self.path("run/containerd.sock"));
        leftovers::unmount_below(self.folder.path());
        leftovers::remove_cgroups("kubepods");
        for log in pod_logs().into_iter().filter(|log| !self.logs_before.contains(log)) {
            let _ = if log.is_dir() { fs::remove_dir_all(&log) } else { fs::remove_file(&log) };
        }
        let _ = Command::new("ip").args(["netns", "del", &self.netns]).status();
    }
}

fn pod_logs() -> Vec<PathBuf> {
    ["/var/log/pods", "/var/log/containers"]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()))
        .collect()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

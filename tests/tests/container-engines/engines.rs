//! Debian's container engines for the time of a test: containerd, Docker Engine on it, and Podman, with all their files in one folder and
//! no network for what they run. Ends what it started, and takes away containers, cgroups and mounts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::image;
use super::lab::{self, leftovers};

/// The one image there is.
pub(crate) const IMAGE: &str = "localhost/toy:1";
/// Cgroups that the engines make their containers' in, with the cgroupfs driver.
pub(crate) const CGROUPS: [&str; 3] = ["docker", "default", "libpod_parent"];
const DOCKERS_KEY: &str = "/etc/docker/key.json";
/// A slow machine of two cores.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Engines {
    pub(crate) folder: tempfile::TempDir,
    children: Vec<(&'static str, Child)>,
    /// Docker Engine makes a key for itself where no option reaches.
    had_key: bool,
}

impl Engines {
    pub(crate) fn start() -> Self {
        // A socket's path may have 108 bytes: /tmp is short.
        let folder = tempfile::Builder::new().prefix("sw-eng").tempdir_in("/tmp").unwrap();
        let mut engines = Self { folder, children: Vec::new(), had_key: Path::new(DOCKERS_KEY).exists() };
        for name in ["run", "key"] {
            fs::create_dir(engines.path(name)).unwrap();
        }
        fs::write(engines.path("key/id_ed25519"), "no key").unwrap();
        engines.containerd();
        engines.docker_engine();
        let archive = image::archive(
            &engines.path("images"),
            IMAGE,
            &[("bin/busybox", Path::new("/bin/busybox"))],
            "/bin/sh",
        );
        engines.must(engines.ctr().args(["images", "import"]).arg(archive));
        let layer = engines.path("images/localhost-toy-1/layer.tar");
        engines.must(engines.docker().arg("import").arg(&layer).arg(IMAGE));
        engines.must(engines.podman().arg("import").arg(&layer).arg(IMAGE));
        engines
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn docker(&self) -> Command {
        let mut command = Command::new("/usr/bin/docker");
        command.arg(format!("--host=unix://{}", self.shown("run/docker.sock")));
        command.env("DOCKER_CONFIG", self.path("docker-client")).stdin(Stdio::null());
        command
    }

    pub(crate) fn ctr(&self) -> Command {
        let mut command = Command::new("/usr/bin/ctr");
        command.arg("--address").arg(self.path("run/containerd.sock")).stdin(Stdio::null());
        command
    }

    pub(crate) fn podman(&self) -> Command {
        let mut command = Command::new("/usr/bin/podman");
        for (option, name) in [("root", "podman"), ("runroot", "run/podman"), ("tmpdir", "run/podman-tmp")] {
            command.arg(format!("--{option}={}", self.shown(name)));
        }
        command.args(["--cgroup-manager=cgroupfs", "--runtime=/usr/sbin/runc", "--events-backend=file"]);
        command.stdin(Stdio::null());
        command
    }

    /// The key that is in every container, as the engines' `--volume` has it.
    pub(crate) fn key(&self) -> String {
        format!("{}:/root/.ssh:ro", self.shown("key"))
    }

    /// What the command says; it has to succeed.
    pub(crate) fn must(&self, command: &mut Command) -> String {
        let Output { status, stdout, stderr } =
            command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let complaint = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{command:?}: {status}\n{complaint}\n{}", self.tails());
        String::from_utf8(stdout).unwrap().trim().to_owned()
    }

    fn containerd(&mut self) {
        let config = format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
             [grpc]\n  address = \"{}\"\n",
            self.shown("containerd"),
            self.shown("run/containerd"),
            self.shown("run/containerd.sock")
        );
        fs::write(self.path("containerd.toml"), config).unwrap();
        self.spawn("containerd", &["--config", &self.shown("containerd.toml")]);
        self.wait_for("containerd answers", |engines| succeeds(engines.ctr().arg("version")));
    }

    fn docker_engine(&mut self) {
        fs::write(self.path("docker.json"), "{}").unwrap();
        let given = [
            format!("--config-file={}", self.shown("docker.json")),
            format!("--containerd={}", self.shown("run/containerd.sock")),
            format!("--data-root={}", self.shown("docker")),
            format!("--exec-root={}", self.shown("run/docker")),
            format!("--pidfile={}", self.shown("run/docker.pid")),
            format!("--host=unix://{}", self.shown("run/docker.sock")),
        ];
        // Nothing of the machine's network is touched.
        let fixed = [
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--ip-masq=false",
        ];
        let arguments: Vec<&str> = given.iter().map(String::as_str).chain(fixed).collect();
        self.spawn("dockerd", &arguments);
        self.wait_for("Docker Engine answers", |engines| succeeds(engines.docker().arg("version")));
    }

    fn spawn(&mut self, name: &'static str, arguments: &[&str]) {
        let log = fs::File::create(self.path(&format!("{name}.log"))).unwrap();
        let mut command = Command::new(name);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} (a package of Debian): {error}"));
        self.children.push((name, child));
    }

    fn wait_for(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds(self) {
            let ended = self.children.iter_mut().any(|(_, child)| !matches!(child.try_wait(), Ok(None)));
            assert!(!ended && Instant::now() < until, "not within {PATIENCE:?}: {what}\n{}", self.tails());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The ends of the daemons' logs.
    fn tails(&self) -> String {
        let mut all = String::new();
        for (name, _) in &self.children {
            let text = fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let last = lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n");
            all.push_str(&format!("--- {name}\n{last}\n"));
        }
        all
    }

    fn end_containers(&self) {
        let docker = self.docker().args(["ps", "--all", "--quiet"]).output();
        for id in listed(docker) {
            let _ = self.docker().args(["rm", "--force", &id]).output();
        }
        let _ = self.podman().args(["rm", "--all", "--force", "--time=0"]).output();
        for id in listed(self.ctr().args(["tasks", "ls", "--quiet"]).output()) {
            let _ = self.ctr().args(["tasks", "rm", "--force", &id]).output();
        }
    }
}

fn listed(output: std::io::Result<Output>) -> Vec<String> {
    let said = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&said).lines().map(str::to_owned).collect()
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

impl Drop for Engines {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.tails());
        }
        self.end_containers();
        // Docker before what it stands on.
        for (_, child) in self.children.iter_mut().rev() {
            lab::signal(child, libc::SIGTERM);
            let until = Instant::now() + Duration::from_secs(10);
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(50));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        leftovers::end_shims(&self.path("run/containerd.sock"));
        leftovers::unmount_below(self.folder.path());
        CGROUPS.iter().for_each(|name| leftovers::remove_cgroups(name));
        if !self.had_key {
            let _ = fs::remove_file(DOCKERS_KEY);
        }
    }
}

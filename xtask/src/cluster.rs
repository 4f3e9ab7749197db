//! A real Kubernetes of one node: the source that Debian bookworm ships, built with bookworm's compiler; etcd, containerd and the network
//! plugins unpacked beside it. Nothing is installed. It is 1.20, the last whose source Debian has; what newer ones know is
//! checked against their schemas (tier `chart`).

use crate::host::apt::{Apt, Mirror};
use crate::host::{self, Package, checked};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

const SUITE: &str = "bookworm";
const VERSION: &str = "1.20.5+really1.20.2-1.1+deb12u1";
/// What is built of it.
const COMMANDS: [&str; 5] =
    ["kube-apiserver", "kubelet", "kube-controller-manager", "kube-scheduler", "kubectl"];
/// The compiler, and a library whose vendored version breaks under it: with Go 1.18 and later reflect2 1.0.1 panics.
const COMPILER: [&str; 3] = ["golang-1.19-go", "golang-1.19-src", "golang-github-modern-go-reflect2-dev"];
/// Programs beside it, and those of their files that are wanted.
const BESIDE: [(&str, &[&str]); 4] = [
    ("etcd-server", &["usr/bin/etcd"]),
    ("containerd", &["usr/bin/containerd", "usr/bin/containerd-shim-runc-v2", "usr/bin/ctr"]),
    (
        "containernetworking-plugins",
        &["usr/lib/cni/bridge", "usr/lib/cni/host-local", "usr/lib/cni/loopback"],
    ),
    ("busybox-static", &["bin/busybox"]),
];

/// What building needs of the machine.
const TOOLS: [Package; 5] = [
    Package { name: "dpkg-dev", proof: "/usr/bin/dpkg-source" },
    Package { name: "rsync", proof: "/usr/bin/rsync" },
    Package { name: "jq", proof: "/usr/bin/jq" },
    Package { name: "make", proof: "/usr/bin/make" },
    Package { name: "runc", proof: "/usr/sbin/runc" },
];

/// The folder with all programs, built first if the cache does not have it.
///
/// # Errors
/// The packages cannot be fetched, or it does not build.
pub(crate) fn ensure() -> Result<PathBuf> {
    host::ensure(&TOOLS)?;
    let cache = host::cache()?;
    let done = cache.join("kubernetes").join(VERSION);
    if done.exists() {
        return Ok(done);
    }
    eprintln!("xtask: building Kubernetes {VERSION} (about ten minutes, once)");
    let work = cache.join("kubernetes").join(format!("new.{}", std::process::id()));
    std::fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let built = build(&work).context("cannot build Kubernetes");
    if let Ok(programs) = &built {
        std::fs::rename(programs, &done).with_context(|| format!("cannot move it to {}", done.display()))?;
    }
    std::fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    built.map(|_| done)
}

fn build(work: &Path) -> Result<PathBuf> {
    let apt = Apt::with_sources(&work.join("apt"), Mirror::Main, SUITE)?;
    let (root, programs) = (work.join("root"), work.join("programs"));
    std::fs::create_dir_all(&programs)?;
    for (name, files) in BESIDE {
        unpack(&apt, name, &root)?;
        for file in files {
            let from = root.join(file);
            let to = programs.join(from.file_name().unwrap_or_default());
            std::fs::copy(&from, &to).with_context(|| format!("{name} has no {file}"))?;
        }
    }
    for name in COMPILER {
        unpack(&apt, name, &root)?;
    }
    let source = work.join("source");
    let description = apt.source("kubernetes", VERSION)?;
    // apt has checked the hashes of the archives against its signed index.
    checked(
        Command::new("dpkg-source").args(["--no-check", "--no-copy", "-x"]).arg(&description).arg(&source),
    )?;
    replace_reflect2(&root, &source)?;
    compile(&root, &source)?;
    for name in COMMANDS {
        let built = source.join("_output/local/bin/linux/amd64").join(name);
        std::fs::copy(&built, programs.join(name))
            .with_context(|| format!("no {} was built", built.display()))?;
    }
    Ok(programs)
}

fn unpack(apt: &Apt, name: &str, root: &Path) -> Result<()> {
    let package = apt.package(name)?;
    checked(Command::new("dpkg-deb").arg("-x").arg(&package.file).arg(root))
}

fn replace_reflect2(root: &Path, source: &Path) -> Result<()> {
    let vendored = source.join("vendor/github.com/modern-go/reflect2");
    let newer = root.join("usr/share/gocode/src/github.com/modern-go/reflect2");
    std::fs::remove_dir_all(&vendored).with_context(|| format!("cannot remove {}", vendored.display()))?;
    checked(Command::new("cp").arg("-r").arg(&newer).arg(&vendored))?;
    let module = vendored.join("go.mod");
    if module.exists() {
        std::fs::remove_file(&module)?;
    }
    Ok(())
}

fn compile(root: &Path, source: &Path) -> Result<()> {
    let path = source.join(".go");
    std::fs::create_dir_all(path.join("src/k8s.io"))?;
    std::os::unix::fs::symlink("../../..", path.join("src/k8s.io/kubernetes"))?;
    let compiler = root.join("usr/lib/go-1.19");
    // The package's own links lead to where it would be installed.
    for (link, target) in [("src", "usr/share/go-1.19/src"), ("pkg/include", "usr/share/go-1.19/pkg/include")]
    {
        let link = compiler.join(link);
        let _ = std::fs::remove_file(&link);
        if let Some(parent) = link.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::os::unix::fs::symlink(root.join(target), &link)
            .with_context(|| format!("cannot make {}", link.display()))?;
    }
    let wanted: Vec<String> = COMMANDS.iter().map(|name| format!("cmd/{name}")).collect();
    let mut programs = vec![compiler.join("bin")];
    programs.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let mut command = Command::new("make");
    command.arg(format!("WHAT={}", wanted.join(" "))).current_dir(source);
    command.env("PATH", std::env::join_paths(programs)?).env("GOROOT", &compiler).env("GOPATH", &path);
    command.env("GO111MODULE", "off").env("CGO_ENABLED", "0").env("GOPROXY", "off");
    command.env("GOCACHE", source.join("gocache"));
    checked(&mut command)
}

//! `cargo xtask setup`: what a build needs beyond rustup and a C linker.
//!
//! Idempotent, and only a few file look-ups when all is there. A nightly toolchain that is installed is used
//! as it is, whatever its age: the linker needs the LLVM that comes with it, not a certain date.

use crate::host::{self, Package, capture, checked};
use anyhow::{Context, Result, anyhow, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The last release line that links with the LLVM of the pinned compilers.
const LINKER_VERSION: &str = "0.10.4";
const LINKER_LLVM: &str = "22";

/// Needed to build: rustc calls `cc` to link.
const BUILD: [Package; 1] = [Package { name: "build-essential", proof: "/usr/bin/cc" }];
/// Needed to boot VMs.
const VM: [Package; 3] = [
    Package { name: "qemu-system-x86", proof: "/usr/bin/qemu-system-x86_64" },
    Package { name: "busybox-static", proof: "/bin/busybox" },
    Package { name: "binutils", proof: "/usr/bin/strip" },
];
/// Needed to run a container on this kernel.
const LIVE: [Package; 1] = [Package { name: "runc", proof: "/usr/sbin/runc" }];
/// Container engines that are started by their tests.
const CONTAINERS: [Package; 5] = [
    Package { name: "docker.io", proof: "/usr/sbin/dockerd" },
    Package { name: "containerd", proof: "/usr/bin/containerd" },
    Package { name: "podman", proof: "/usr/bin/podman" },
    Package { name: "runc", proof: "/usr/sbin/runc" },
    Package { name: "busybox-static", proof: "/bin/busybox" },
];
/// Needed to build the sink `kafka`: librdkafka has its TLS from the system's OpenSSL.
const KAFKA: [Package; 3] = [
    Package { name: "libssl-dev", proof: "/usr/include/openssl/ssl.h" },
    Package { name: "pkg-config", proof: "/usr/bin/pkg-config" },
    Package { name: "make", proof: "/usr/bin/make" },
];
/// Needed to check shell scripts.
const LINT: [Package; 1] = [Package { name: "shellcheck", proof: "/usr/bin/shellcheck" }];

/// Receivers of alerts that the delivery tests start.
const PEERS: [Package; 5] = [
    Package { name: "rsyslog", proof: "/usr/sbin/rsyslogd" },
    Package { name: "rsyslog-openssl", proof: RSYSLOG_TLS },
    Package { name: "prometheus-alertmanager", proof: "/usr/bin/prometheus-alertmanager" },
    Package { name: "prometheus", proof: "/usr/bin/promtool" },
    Package { name: "liblognorm-utils", proof: "/usr/bin/lognormalizer" },
];
#[cfg(target_arch = "aarch64")]
const RSYSLOG_TLS: &str = "/usr/lib/aarch64-linux-gnu/rsyslog/lmnsd_ossl.so";
#[cfg(not(target_arch = "aarch64"))]
const RSYSLOG_TLS: &str = "/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_ossl.so";

/// What `cargo xtask setup` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Also what the VM tests, live tests and lints need
    #[arg(long)]
    full: bool,
}

/// Runs the command.
pub(crate) fn main(options: &Options) -> Result<()> {
    build_tools()?;
    if options.full {
        vm_packages()?;
        live_packages()?;
        lint_packages()?;
    }
    println!("setup: all there ({})", linker_dir()?.display());
    Ok(())
}

/// The nightly compiler's source, the BPF linker, a C linker.
pub(crate) fn build_tools() -> Result<()> {
    host::ensure(&BUILD)?;
    nightly_source()?;
    bpf_linker()
}

/// The Debian packages that booting VMs needs.
pub(crate) fn vm_packages() -> Result<()> {
    host::ensure(&VM)
}

/// The Debian packages that the live tests need.
pub(crate) fn live_packages() -> Result<()> {
    host::ensure(&LIVE)
}

/// The Debian packages of container engines that their tests start.
pub(crate) fn container_packages() -> Result<()> {
    host::ensure(&CONTAINERS)
}

/// The Debian packages that the lints need.
pub(crate) fn lint_packages() -> Result<()> {
    host::ensure(&LINT)
}

/// The Debian packages of receivers that the delivery tests start.
pub(crate) fn peer_packages() -> Result<()> {
    host::ensure(&PEERS)
}

/// The Debian packages that building the sink `kafka` needs.
pub(crate) fn kafka_packages() -> Result<()> {
    host::ensure(&KAFKA)
}

/// `PATH` with the BPF linker in front, for every build.
pub(crate) fn path() -> Result<OsString> {
    let old = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(linker_dir()?).chain(std::env::split_paths(&old));
    std::env::join_paths(all).context("the tool folder cannot be part of PATH")
}

fn linker_root() -> Result<PathBuf> {
    Ok(host::cache()?.join("tools").join(format!("bpf-linker-{LINKER_VERSION}")))
}

fn linker_dir() -> Result<PathBuf> {
    Ok(linker_root()?.join("bin"))
}

/// The standard library's source of the nightly toolchain: the BPF target has no ready-made `core`.
fn nightly_source() -> Result<()> {
    let Ok(sysroot) = nightly(&["--print", "sysroot"]) else {
        bail!(
            "no nightly toolchain; the probes need one with rust-src. Run:\n  \
             rustup toolchain install nightly --profile minimal --component rust-src"
        );
    };
    let library = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs");
    if !library.exists() {
        eprintln!("xtask: rustup component add rust-src --toolchain nightly");
        checked(Command::new("rustup").args(["component", "add", "rust-src", "--toolchain", "nightly"]))?;
    }
    Ok(())
}

/// Runs the nightly compiler. The toolchain of this very xtask is in the environment and would win.
fn nightly(arguments: &[&str]) -> Result<String> {
    capture(Command::new("rustc").env_remove("RUSTUP_TOOLCHAIN").arg("+nightly").args(arguments))
}

fn bpf_linker() -> Result<()> {
    let root = linker_root()?;
    if root.join("bin/bpf-linker").exists() {
        return Ok(());
    }
    let version = nightly(&["-vV"])?;
    let llvm = llvm_version(&version).ok_or_else(|| anyhow!("rustc +nightly -vV tells no LLVM version"))?;
    if llvm.split('.').next() != Some(LINKER_LLVM) {
        bail!(
            "the nightly toolchain has LLVM {llvm}; bpf-linker {LINKER_VERSION} needs {LINKER_LLVM}. Install a \
             nightly of spring 2026 (rustc 1.97) as `nightly`"
        );
    }
    eprintln!("xtask: building bpf-linker {LINKER_VERSION} (about a minute)");
    checked(
        Command::new("cargo")
            .args(["install", "bpf-linker", "--locked", "--quiet", "--version", LINKER_VERSION, "--root"])
            .arg(&root)
            // Not this workspace's target folder: its flags and profiles are no business of a tool.
            .env("CARGO_TARGET_DIR", root.join("build")),
    )
    .context("cannot build bpf-linker")?;
    std::fs::remove_dir_all(root.join("build")).context("cannot remove bpf-linker's build folder")
}

fn llvm_version(rustc: &str) -> Option<&str> {
    rustc.lines().find_map(|line| line.strip_prefix("LLVM version: ")).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::llvm_version;

    #[test]
    fn llvm_version_is_found_in_rustc_output() {
        assert_eq!(llvm_version("rustc 1.97\nrelease: x\nLLVM version: 22.1.4\n"), Some("22.1.4"));
        assert_eq!(llvm_version("rustc 1.97\n"), None);
    }
}

//! The agent as it is shipped: static, so that it runs on any distribution and in an image with nothing else.

use crate::build;
use crate::host::{self, Package, capture, checked};
use anyhow::{Context, Result, anyhow};
use std::fmt;
use std::path::PathBuf;
use std::process::Command;

/// What it is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Architecture {
    /// x86_64
    Amd64,
    /// aarch64
    Arm64,
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        })
    }
}

impl Architecture {
    /// This machine's.
    pub(super) fn native() -> Self {
        if Self::Arm64.is_native() { Self::Arm64 } else { Self::Amd64 }
    }

    pub(super) fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }

    /// Whether it is this machine's.
    fn is_native(self) -> bool {
        match self {
            Self::Amd64 => cfg!(target_arch = "x86_64"),
            Self::Arm64 => cfg!(target_arch = "aarch64"),
        }
    }

    /// What has to be said with it.
    pub(super) fn remark(self) -> &'static str {
        match self {
            Self::Amd64 => "",
            Self::Arm64 => " (cross-built, its probes have never run: untested)",
        }
    }

    /// Compiler for the C of the cryptography, the linker, and what takes debug information away.
    fn tools(self) -> Result<[&'static str; 3]> {
        if self.is_native() {
            host::ensure(&[
                Package { name: "musl-tools", proof: "/usr/bin/musl-gcc" },
                Package { name: "binutils", proof: "/usr/bin/strip" },
            ])?;
            return Ok(["musl-gcc", "cc", "strip"]);
        }
        Ok(match self {
            Self::Arm64 => {
                host::ensure(&[
                    Package { name: "gcc-aarch64-linux-gnu", proof: "/usr/bin/aarch64-linux-gnu-gcc" },
                    Package {
                        name: "libc6-dev-arm64-cross",
                        proof: "/usr/aarch64-linux-gnu/include/stdio.h",
                    },
                ])?;
                ["aarch64-linux-gnu-gcc", "aarch64-linux-gnu-gcc", "aarch64-linux-gnu-strip"]
            }
            Self::Amd64 => {
                host::ensure(&[
                    Package { name: "gcc-x86-64-linux-gnu", proof: "/usr/bin/x86_64-linux-gnu-gcc" },
                    Package { name: "libc6-dev-amd64-cross", proof: "/usr/x86_64-linux-gnu/include/stdio.h" },
                ])?;
                ["x86_64-linux-gnu-gcc", "x86_64-linux-gnu-gcc", "x86_64-linux-gnu-strip"]
            }
        })
    }
}

/// Builds it; the path of the program without debug information.
///
/// # Errors
/// The target or a compiler is missing and cannot be installed, or it does not build.
pub(super) fn build(architecture: Architecture) -> Result<PathBuf> {
    let target = architecture.target();
    let [compiler, linker, strip] = architecture.tools()?;
    standard_library(target)?;
    let key = target.replace('-', "_");
    let mut command = build::cargo(&[
        "build",
        "--release",
        "--package",
        "monitor",
        "--bin",
        "sandwatch",
        "--target",
        target,
    ])?;
    command.env(format!("CC_{key}"), compiler);
    let key = key.to_uppercase();
    command.env(format!("CARGO_TARGET_{key}_LINKER"), linker);
    // An agent without probes is for whoever works on something else.
    command.env_remove("SANDWATCH_SKIP_BPF");
    // No path of this machine in what is shipped.
    let mut flags = format!("--remap-path-prefix={}=/sandwatch", host::repo()?.display());
    for (variable, folder, name) in
        [("CARGO_HOME", ".cargo", "/cargo"), ("RUSTUP_HOME", ".rustup", "/rustup")]
    {
        let home = std::env::var(variable)
            .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/{folder}")))?;
        flags.push_str(&format!(" --remap-path-prefix={home}={name}"));
    }
    command.env(format!("CARGO_TARGET_{key}_RUSTFLAGS"), flags);
    checked(&mut command)?;
    let built = host::target()?.join(target).join("release/sandwatch");
    let slim = super::folder()?.join(format!("sandwatch-{architecture}"));
    checked(Command::new(strip).arg("-o").arg(&slim).arg(&built)).context("cannot strip the program")?;
    Ok(slim)
}

/// The target's standard library, through rustup.
fn standard_library(target: &str) -> Result<()> {
    let sysroot = capture(Command::new("rustc").args(["--print", "sysroot"]).current_dir(host::repo()?))?;
    let library = PathBuf::from(sysroot.trim()).join("lib/rustlib").join(target).join("lib");
    if library.exists() {
        return Ok(());
    }
    eprintln!("xtask: rustup target add {target}");
    checked(Command::new("rustup").args(["target", "add", target]).current_dir(host::repo()?))
        .map_err(|error| anyhow!("{error:#}; the toolchain has no standard library for {target}"))
}

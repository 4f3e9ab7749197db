//! `cargo xtask lint`: formatting, compiler and shell lints, documentation links.

use crate::build;
use crate::{alerts, host, links, setup};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// Runs all lints, to the first that fails.
pub(crate) fn main() -> Result<()> {
    setup::build_tools()?;
    setup::lint_packages()?;
    host::checked(&mut build::cargo(&["fmt", "--all", "--check"])?)?;
    for script in scripts()? {
        host::checked(Command::new("shellcheck").arg(script))?;
    }
    let broken = links::check()?;
    if !broken.is_empty() {
        bail!("broken links in the documentation:\n{}", broken.join("\n"));
    }
    let wrong = alerts::check()?;
    if !wrong.is_empty() {
        bail!("alerts and their runbooks:\n{}", wrong.join("\n"));
    }
    for (_, mut command) in commands()? {
        host::checked(&mut command)?;
    }
    Ok(())
}

/// The compiler's lints: clippy for what runs in user space, rustc for the probes (their target has no
/// standard library for clippy's test configuration).
pub(crate) fn commands() -> Result<Vec<(&'static str, Command)>> {
    let mut clippy = build::cargo(&["clippy", "--workspace", "--exclude", "monitor-ebpf", "--all-targets"])?;
    clippy.args(["--", "-D", "warnings"]);
    Ok(vec![
        ("clippy", clippy),
        ("probes, plain", probes(&[], "")?),
        ("probes, atomics", probes(&["atomics"], "v3")?),
    ])
}

fn probes(features: &[&str], cpu: &str) -> Result<Command> {
    let mut flags =
        vec!["-Dwarnings".to_owned(), format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH)];
    if !cpu.is_empty() {
        flags.push(format!("-Ctarget-cpu={cpu}"));
    }
    let mut command = Command::new("rustup");
    command
        .current_dir(host::repo()?)
        .args(["run", "nightly", "cargo", "check", "--quiet", "--package", "monitor-ebpf", "--release"])
        .args(["-Z", "build-std=core", "--target", "bpfel-unknown-none", "--features", &features.join(",")])
        // Flags differ from the real build's, which must not be thrown away for that.
        .arg("--target-dir")
        .arg(host::target()?.join(format!("bpf-lint-{}", if cpu.is_empty() { "plain" } else { cpu })))
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    // This xtask's own toolchain would win over `rustup run`.
    for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(name);
    }
    Ok(command)
}

/// Every shell script of the repository.
pub(crate) fn scripts() -> Result<Vec<PathBuf>> {
    let repo = host::repo()?;
    let listed = host::capture(Command::new("git").current_dir(&repo).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))
    .context("cannot list the repository's files")?;
    Ok(listed
        .lines()
        .filter(|name| name.ends_with(".sh") || name.starts_with(".ci/"))
        .map(|name| repo.join(name))
        .filter(|path| path.is_file())
        .collect())
}

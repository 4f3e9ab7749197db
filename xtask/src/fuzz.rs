//! `cargo xtask fuzz`: the fuzz targets of `monitor/fuzz`, built with nightly's address sanitizer and run for a while.
//!
//! What `cargo fuzz` does, without having to install it: libFuzzer is a crate, the rest is compiler flags.

use crate::{host, setup};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Coverage counters and comparisons for libFuzzer, and a sanitizer (the flags of cargo-fuzz 0.13).
const FLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Zsanitizer=address",
    "-Cdebug-assertions",
    "-Ccodegen-units=4",
];

/// What `cargo xtask fuzz` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only this target
    target: Option<String>,
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Runs the command.
pub(crate) fn main(options: &Options) -> Result<()> {
    setup::build_tools()?;
    let mut names = targets()?;
    if let Some(only) = &options.target {
        if !names.contains(only) {
            bail!("no fuzz target {only:?}; there are: {}", names.join(", "));
        }
        names.retain(|name| name == only);
    }
    host::checked(&mut build()?)?;
    for name in names {
        println!("fuzz: {name}, {} s", options.seconds);
        host::checked(&mut run(&name, options.seconds)?)?;
    }
    Ok(())
}

/// Names of the targets.
pub(crate) fn targets() -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Manifest {
        bin: Vec<Bin>,
    }
    #[derive(Deserialize)]
    struct Bin {
        name: String,
    }
    let path = folder()?.join("Cargo.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: Manifest =
        toml::from_str(&text).with_context(|| format!("{} lists no targets", path.display()))?;
    Ok(manifest.bin.into_iter().map(|bin| bin.name).collect())
}

/// The command that builds all of them.
pub(crate) fn build() -> Result<Command> {
    let mut command = Command::new("rustup");
    command
        .current_dir(host::repo()?)
        .args(["run", "nightly", "cargo", "build", "--release", "--manifest-path"])
        .arg(folder()?.join("Cargo.toml"))
        // A target makes the flags hold for it alone, not for build scripts.
        .args(["--target", TRIPLE, "--target-dir"])
        .arg(target_dir()?)
        // The decoders need no probes.
        .env("SANDWATCH_SKIP_BPF", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    // This xtask's own toolchain would win over `rustup run`.
    for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(name);
    }
    Ok(command)
}

/// The command that runs one for so many seconds, from its seeds; what it learns is kept beside the build.
pub(crate) fn run(name: &str, seconds: u32) -> Result<Command> {
    let corpus = target_dir()?.join("corpus").join(name);
    let found = target_dir()?.join("found").join(name);
    for dir in [&corpus, &found] {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let mut command = Command::new(target_dir()?.join(TRIPLE).join("release").join(name));
    command
        .current_dir(host::repo()?)
        .arg(&corpus)
        .args(seeds(name)?)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=1"]);
    Ok(command)
}

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

fn folder() -> Result<PathBuf> {
    Ok(host::repo()?.join("monitor/fuzz"))
}

fn target_dir() -> Result<PathBuf> {
    Ok(host::target()?.join("fuzz"))
}

fn seeds(name: &str) -> Result<Option<PathBuf>> {
    let seeds = folder()?.join("seeds").join(name);
    Ok(Path::new(&seeds).is_dir().then_some(seeds))
}

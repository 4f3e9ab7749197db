//! Builds the kernel probes twice, for the agent to embed: `probes-plain.o` for kernels below 5.13 and `probes-atomics.o`
//! (fetch-and-add, BPF instruction set v3) for the rest.
//!
//! The BPF target needs nightly cargo with `-Z build-std=core`, so this starts a cargo of its own, with its own target
//! folder beside the agent's (one, shared by all profiles). `SANDWATCH_SKIP_BPF=1` embeds empty objects instead: for
//! lint-only builds; such an agent refuses to start.
//!
//! Which commit it is built from (`SANDWATCH_REVISION`, else what is checked out) goes into the agent too, for release builds: others are made
//! anew often enough.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

#[path = "build/revision.rs"]
mod revision;

/// Toolchain the probes are built with unless `SANDWATCH_BPF_TOOLCHAIN` names another.
const TOOLCHAIN: &str = "nightly";
/// What Cargo separates encoded flags by.
const SEPARATOR: &str = "\x1f";

/// One object.
struct Variant {
    name: &'static str,
    features: &'static [&'static str],
    flags: &'static [&'static str],
}

const VARIANTS: [Variant; 2] = [
    Variant { name: "plain", features: &[], flags: &[] },
    // Fetch-and-add is an instruction of v3.
    Variant { name: "atomics", features: &["atomics"], flags: &["-Ctarget-cpu=v3"] },
];

fn main() -> Result<()> {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("CARGO_MANIFEST_DIR is not set")?);
    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set")?);
    let root = manifest.parent().context("the agent's package has no parent folder")?.to_path_buf();
    for input in [
        "monitor-ebpf/src",
        "monitor-ebpf/Cargo.toml",
        "monitor-ebpf/common/src",
        "monitor-ebpf/common/Cargo.toml",
        "Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build/revision.rs");
    say_revision(&root);
    for name in ["SANDWATCH_REVISION", "SANDWATCH_SKIP_BPF", "SANDWATCH_CACHE", "SANDWATCH_BPF_TOOLCHAIN"] {
        println!("cargo::rerun-if-env-changed={name}");
    }

    if env::var_os("SANDWATCH_SKIP_BPF").is_some_and(|value| value == "1") {
        for variant in &VARIANTS {
            let to = object_file(&out, variant);
            fs::write(&to, []).with_context(|| format!("cannot write {}", to.display()))?;
        }
        println!(
            "cargo::warning=SANDWATCH_SKIP_BPF=1: built without kernel probes; this agent will refuse to start"
        );
        return Ok(());
    }

    let toolchain = env::var("SANDWATCH_BPF_TOOLCHAIN").unwrap_or_else(|_| TOOLCHAIN.to_owned());
    check_toolchain(&toolchain)?;
    let path = path_with_linker()?;
    let targets = target_folder(&out)?;
    for variant in &VARIANTS {
        build(&root, &toolchain, &path, &targets.join(format!("bpf-{}", variant.name)), variant, &out)?;
    }
    Ok(())
}

/// A build for development says no commit: with each one it would be made anew, and what it is made from is rarely committed.
fn say_revision(root: &Path) {
    let given = env::var("SANDWATCH_REVISION").ok();
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let revision = revision::of(given.as_deref(), is_release.then_some(root));
    for file in &revision.files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    println!("cargo::rustc-env=SANDWATCH_BUILD_REVISION={}", revision.name);
}

fn object_file(out: &Path, variant: &Variant) -> PathBuf {
    out.join(format!("probes-{}.o", variant.name))
}

/// The target folder that `OUT_DIR` (`TARGET/PROFILE/build/PACKAGE-HASH/out`) lies in.
fn target_folder(out: &Path) -> Result<PathBuf> {
    let build = out.ancestors().find(|folder| folder.ends_with("build"));
    let target = build.and_then(Path::parent).and_then(Path::parent);
    Ok(target.with_context(|| format!("{} is not below a Cargo build folder", out.display()))?.to_path_buf())
}

/// Nightly with its own library source, or what to do about it.
fn check_toolchain(toolchain: &str) -> Result<()> {
    let output = match rustup(toolchain, "rustc").args(["--print", "sysroot"]).output() {
        Ok(output) => output,
        Err(error) => bail!(
            "the kernel probes need rustup, which could not be started ({error}); install it from https://rustup.rs, or set SANDWATCH_SKIP_BPF=1 for a build without probes"
        ),
    };
    if !output.status.success() {
        bail!(
            "the kernel probes need the Rust toolchain `{toolchain}`: run `rustup toolchain install {toolchain} --component rust-src` (rustup said: {})",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if !sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").is_file() {
        bail!(
            "the toolchain `{toolchain}` lacks the library source the probes are built from: run `rustup component add rust-src --toolchain {toolchain}`"
        );
    }
    Ok(())
}

fn rustup(toolchain: &str, program: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", toolchain, program]);
    command
}

/// `PATH`, with the folder of a bpf-linker from sandwatch's cache in front when none is installed.
fn path_with_linker() -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    if folders.iter().any(|folder| folder.join("bpf-linker").is_file()) {
        return Ok(path);
    }
    let cache = match env::var_os("SANDWATCH_CACHE") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(env::var_os("HOME").context("neither SANDWATCH_CACHE nor HOME is set")?)
            .join(".cache/sandwatch"),
    };
    let tools = cache.join("tools");
    let mut found: Vec<PathBuf> = fs::read_dir(&tools)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("bpf-linker-"))
        .map(|entry| entry.path().join("bin"))
        .filter(|folder| folder.join("bpf-linker").is_file())
        .collect();
    found.sort();
    let Some(folder) = found.pop() else {
        bail!(
            "bpf-linker is neither in PATH nor in {}/bpf-linker-*/bin: run `cargo xtask setup`, or `cargo install --locked bpf-linker --version 0.10.4`",
            tools.display()
        );
    };
    folders.insert(0, folder);
    env::join_paths(folders).context("a folder in PATH contains a colon")
}

fn build(
    root: &Path,
    toolchain: &str,
    path: &OsString,
    target: &Path,
    variant: &Variant,
    out: &Path,
) -> Result<()> {
    let architecture = env::var("CARGO_CFG_TARGET_ARCH").context("CARGO_CFG_TARGET_ARCH is not set")?;
    let triple = match env::var("CARGO_CFG_TARGET_ENDIAN").as_deref() {
        Ok("big") => "bpfeb-unknown-none",
        _ => "bpfel-unknown-none",
    };
    let mut features = variant.features.to_vec();
    if env::var_os("CARGO_FEATURE_PROBE_LOG").is_some() {
        features.push("probe-log");
    }
    // Debug information is what BTF is made from; without it maps and functions lose their types.
    let mut flags = vec![format!("--cfg=bpf_target_arch=\"{architecture}\"")];
    // The linker's default keeps the order of copies for the sake of packet programs, and pays with a call of a byte loop
    // for each record or key that is cleared.
    flags.extend(
        ["-Cdebuginfo=2", "-Clink-arg=--btf", "-Clink-arg=--disable-expand-memcpy-in-order"]
            .map(str::to_owned),
    );
    flags.extend(variant.flags.iter().copied().map(str::to_owned));
    // BTF names source files: as they would be called on any machine, so that the same source gives the same object.
    flags.push(format!("--remap-path-prefix={}=/sandwatch", root.display()));
    for (variable, folder, name) in
        [("CARGO_HOME", ".cargo", "/cargo"), ("RUSTUP_HOME", ".rustup", "/rustup")]
    {
        let home = env::var_os(variable)
            .map(PathBuf::from)
            .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(folder)));
        flags.extend(home.map(|home| format!("--remap-path-prefix={}={name}", home.display())));
    }

    let mut command = rustup(toolchain, "cargo");
    command
        .current_dir(root)
        .args(["build", "--package", "monitor-ebpf", "--bin", "sandwatch-probes", "--release"])
        .args(["-Z", "build-std=core", "--target", triple, "--features", &features.join(",")])
        .arg("--target-dir")
        .arg(target)
        .env("PATH", path)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join(SEPARATOR))
        .env_remove("RUSTFLAGS");
    // Set by the outer cargo for its own compiler, or by clippy.
    for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTUP_TOOLCHAIN"]
    {
        command.env_remove(name);
    }
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!(
            "building the kernel probes ({}) failed:\n{}",
            variant.name,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let from = target.join(triple).join("release/sandwatch-probes");
    let to = object_file(out, variant);
    let bytes = fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
    let bytes = without_dwarf(&bytes).with_context(|| format!("cannot strip {}", from.display()))?;
    fs::write(&to, bytes).with_context(|| format!("cannot write {}", to.display()))
}

/// The object without its DWARF sections, which the linker has made BTF from and nobody reads at run time: they are nine tenths of it.
fn without_dwarf(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut object = object::build::elf::Builder::read(bytes)?;
    for section in &mut object.sections {
        let name = section.name.as_slice();
        section.delete = name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
    }
    object.delete_orphans();
    // LLVM keeps the names of sections among those of symbols, which this writer does not.
    let names = object.sections.add();
    names.name = b".shstrtab"[..].into();
    names.sh_type = object::elf::SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = object::build::elf::SectionData::SectionString;
    let mut stripped = Vec::new();
    object.write(&mut stripped)?;
    Ok(stripped)
}

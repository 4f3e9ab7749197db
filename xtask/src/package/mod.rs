//! What is shipped: one static program, and around it a container image and a Debian package.
//!
//! `program` builds it, `tree` lays out the files that go with it, `image` and `deb` wrap them, `sbom` says what is inside.
//! `checks`, `debian` and `root` look at what came out.
//! The same input gives the same bytes: names are sorted, every time is that of the commit.

mod arm64;
mod checks;
mod deb;
mod debian;
mod image;
mod pod;
mod program;
mod root;
mod sbom;
mod tree;

use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

pub(crate) use arm64::arm64_tier;
pub(crate) use checks::image_tier;
pub(crate) use debian::{deb_tier, install_tier, quick as quick_packages};
use program::Architecture;

/// What `cargo xtask image` takes.
#[derive(clap::Args)]
pub(crate) struct ImageOptions {
    /// Architecture; several make an image of several. `arm64` is cross-built and untested
    #[arg(long = "arch", value_enum, default_values_t = [Architecture::Amd64])]
    architectures: Vec<Architecture>,
}

/// What `cargo xtask deb` takes.
#[derive(clap::Args)]
pub(crate) struct DebOptions {
    /// Architecture. `arm64` is cross-built and untested
    #[arg(long = "arch", value_enum, default_value_t = Architecture::Amd64)]
    architecture: Architecture,
}

/// `cargo xtask image`.
pub(crate) fn image(options: &ImageOptions) -> Result<()> {
    let made = image::build(&options.architectures)?;
    println!("{}", made.archive.display());
    println!("  {} bytes, manifest {}", made.bytes, made.digest);
    for (architecture, program, layer) in &made.parts {
        println!("  {architecture}: program {program} bytes, layer {layer} bytes{}", architecture.remark());
    }
    Ok(())
}

/// The image for x86_64: its archive.
pub(crate) fn image_archive() -> Result<PathBuf> {
    Ok(image::build(&[Architecture::Amd64])?.archive)
}

/// `cargo xtask deb`.
pub(crate) fn deb(options: &DebOptions) -> Result<()> {
    let path = deb::build(options.architecture, env!("CARGO_PKG_VERSION"))?;
    let bytes = std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
    println!("{}\n  {bytes} bytes{}", path.display(), options.architecture.remark());
    Ok(())
}

/// Where packages go.
fn folder() -> Result<PathBuf> {
    let folder = crate::host::target()?.join("package");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// When this commit was made: the time of everything in a package.
fn time() -> Result<u64> {
    if let Ok(given) = std::env::var("SOURCE_DATE_EPOCH") {
        return given.parse().with_context(|| format!("SOURCE_DATE_EPOCH is `{given}`, not seconds"));
    }
    let text = git(&["log", "-1", "--format=%ct"])?;
    text.parse().with_context(|| format!("git tells the time of the commit as `{text}`"))
}

/// Which commit this is.
fn revision() -> Result<String> {
    git(&["rev-parse", "HEAD"])
}

fn git(arguments: &[&str]) -> Result<String> {
    let text = crate::host::capture(Command::new("git").current_dir(crate::host::repo()?).args(arguments))?;
    Ok(text.trim().to_owned())
}

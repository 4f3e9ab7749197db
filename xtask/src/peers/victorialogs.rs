//! VictoriaLogs, built from the source that Debian trixie ships, with trixie's compiler and libraries: nothing is installed.

use crate::host::apt::{Apt, Mirror};
use crate::host::{self, Package, checked};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

const VERSION: &str = "1.112.0+ds1-2";
const SUITE: &str = "trixie";

/// The compiler, and the libraries that this one program of the source needs.
const PACKAGES: [&str; 15] = [
    "golang-1.24-go",
    "golang-1.24-src",
    "golang-github-cespare-xxhash-dev",
    "golang-github-golang-snappy-dev",
    "golang-github-klauspost-compress-dev",
    "golang-github-valyala-bytebufferpool-dev",
    "golang-github-valyala-fastjson-dev",
    "golang-github-valyala-fastrand-dev",
    "golang-github-valyala-fasttemplate-dev",
    "golang-github-valyala-histogram-dev",
    "golang-github-valyala-quicktemplate-dev",
    "golang-github-victoriametrics-easyproto-dev",
    "golang-github-victoriametrics-metrics-dev",
    "golang-github-victoriametrics-metricsql-dev",
    "golang-golang-x-sys-dev",
];

/// The program, built first if the cache does not have it.
///
/// # Errors
/// The packages cannot be fetched, or it does not build.
pub(crate) fn ensure() -> Result<PathBuf> {
    host::ensure(&[Package { name: "dpkg-dev", proof: "/usr/bin/dpkg-source" }])?;
    let folder = host::cache()?.join("peers");
    let program = folder.join(format!("victoria-logs-{VERSION}"));
    if program.exists() {
        return Ok(program);
    }
    eprintln!("xtask: building VictoriaLogs {VERSION} of Debian {SUITE}");
    let work = folder.join(format!("victoria-logs.new.{}", std::process::id()));
    std::fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let built = build(&work).context("cannot build VictoriaLogs");
    if let Ok(built) = &built {
        std::fs::rename(built, &program)
            .with_context(|| format!("cannot move it to {}", program.display()))?;
    }
    std::fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    built.map(|_| program)
}

fn build(work: &Path) -> Result<PathBuf> {
    let apt = Apt::with_sources(&work.join("apt"), Mirror::Main, SUITE)?;
    let root = work.join("root");
    for name in PACKAGES {
        let package = apt.package(name)?;
        checked(Command::new("dpkg-deb").arg("-x").arg(&package.file).arg(&root))?;
    }
    let path = root.join("usr/share/gocode");
    let source = path.join("src/github.com/VictoriaMetrics/VictoriaMetrics");
    let description = apt.source("victoriametrics", VERSION)?;
    // apt has checked the hashes of the archives against its signed index.
    checked(
        Command::new("dpkg-source").args(["--no-check", "--no-copy", "-x"]).arg(&description).arg(&source),
    )?;
    let (compiler, program) = (root.join("usr/lib/go-1.24"), work.join("victoria-logs"));
    let mut command = Command::new(compiler.join("bin/go"));
    command.args(["build", "-o"]).arg(&program).arg("./app/victoria-logs").current_dir(&source);
    command.env("GOROOT", &compiler).env("GOPATH", &path).env("GOCACHE", work.join("gocache"));
    command.env("GO111MODULE", "off").env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "local");
    checked(&mut command)?;
    Ok(program)
}

//! syslog-ng, unpacked from Debian's packages: installed it would drive out rsyslog, which the default tests need.

use crate::host::apt::{Apt, Mirror};
use crate::host::{self, checked};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

const SUITE: &str = "bookworm";

/// The program, and the libraries that no other package of a small system brings.
const PACKAGES: [&str; 7] =
    ["syslog-ng-core", "libglib2.0-0", "libivykis0", "libjson-c5", "libnet1", "libpcre3", "libwrap0"];

/// The folder that it is unpacked in, as a root of its own.
///
/// # Errors
/// The packages cannot be fetched.
pub(crate) fn ensure() -> Result<PathBuf> {
    let folder = host::cache()?.join("peers");
    let root = folder.join(format!("syslog-ng-{SUITE}"));
    if root.exists() {
        return Ok(root);
    }
    eprintln!("xtask: fetching syslog-ng of Debian {SUITE}");
    let work = folder.join(format!("syslog-ng.new.{}", std::process::id()));
    std::fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let apt = Apt::open(&work.join("apt"), Mirror::Main, SUITE)?;
    for name in PACKAGES {
        let package = apt.package(name)?;
        checked(Command::new("dpkg-deb").arg("-x").arg(&package.file).arg(work.join("root")))?;
    }
    std::fs::rename(work.join("root"), &root)
        .with_context(|| format!("cannot move it to {}", root.display()))?;
    std::fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    Ok(root)
}

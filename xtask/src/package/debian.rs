//! The tiers `install` and `package`: the Debian package, looked at by Debian's own tools, and its life in a Debian of its own.

use super::checks::Checks;
use super::program::Architecture;
use super::root::Root;
use super::{deb, folder};
use crate::build::{self, Profile};
use crate::host::{self, Package, checked, shown};
use crate::test::Outcome;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

const DEBIAN: [Package; 2] = [
    Package { name: "lintian", proof: "/usr/bin/lintian" },
    Package { name: "logrotate", proof: "/usr/sbin/logrotate" },
];
const STRIP: Package = Package { name: "binutils", proof: "/usr/bin/strip" };
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The tier `install`: the package around the program that the other default tiers use, which takes seconds to make.
pub(crate) fn install_tier() -> Result<Outcome> {
    let (old, new) = quick()?;
    let mut checks = Checks::default();
    life(&mut checks, &Root::make("install")?, &old, &new);
    Ok(checks.outcome)
}

/// The package of this version and of a later one, around the program of this build, which needs the libraries of this host's
/// release of Debian.
pub(crate) fn quick() -> Result<(PathBuf, PathBuf)> {
    host::ensure(&[STRIP])?;
    let folder = folder()?.join("quick");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let program = folder.join("sandwatch");
    checked(Command::new("strip").arg("-o").arg(&program).arg(build::agent(Profile::Dev)?))?;
    let program = std::fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
    let pages = deb::pages()?;
    let wrap = |version: &str| deb::wrap_quickly(&folder, version, program.clone(), &pages);
    Ok((wrap(VERSION)?, wrap(&later())?))
}

/// The tier `package`: the package as it is shipped.
pub(crate) fn deb_tier() -> Result<Outcome> {
    host::ensure(&DEBIAN)?;
    let program = super::program::build(Architecture::Amd64)?;
    let program = std::fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
    let pages = deb::pages()?;
    let old = deb::wrap(Architecture::Amd64, VERSION, program.clone(), &pages)?;
    let new = deb::wrap(Architecture::Amd64, &later(), program.clone(), &pages)?;
    let mut checks = Checks::default();
    checks.check("the same again", same_again(&old, program, &pages));
    checks.check("lintian", lintian(&old));
    checks.check("logrotate", logrotate());
    let root = Root::make("debian")?;
    life(&mut checks, &root, &old, &new);
    checks.check("the document's commands", root.by_the_document(&old));
    Ok(checks.outcome)
}

/// From installation to purge.
fn life(checks: &mut Checks, root: &Root, old: &Path, new: &Path) {
    checks.check("install", root.install(old));
    checks.check("upgrade", root.upgrade(new));
    checks.check("downgrade", root.downgrade(old));
    checks.check("remove", root.remove());
    checks.check("purge", root.purge(new));
}

/// A version that dpkg holds for a later one than this.
fn later() -> String {
    format!("{VERSION}+next")
}

fn same_again(path: &Path, program: Vec<u8>, pages: &Path) -> Result<()> {
    let before = host::sha256_file(path)?;
    let after = host::sha256_file(&deb::wrap(Architecture::Amd64, VERSION, program, pages)?)?;
    ensure!(before == after, "another package came out: {after}, not {before}");
    Ok(())
}

fn lintian(path: &Path) -> Result<()> {
    // Root may not run it without saying so; a warning is as bad as an error.
    let mut command = Command::new("lintian");
    command
        .args([
            "--allow-root",
            "--tag-display-limit",
            "0",
            "--fail-on",
            "error,warning",
            "--suppress-tags",
            UPSTREAM,
        ])
        .arg(path);
    let output = command.output().with_context(|| format!("cannot start {}", shown(&command)))?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}");
    Ok(())
}

/// What only Debian's own packages need: a bug of theirs to close with their first upload.
const UPSTREAM: &str = "initial-upload-closes-no-bugs";

fn logrotate() -> Result<()> {
    let path = host::repo()?.join("deploy/debian/logrotate");
    let mut command = Command::new("/usr/sbin/logrotate");
    let state = folder()?.join("logrotate.state");
    command.args(["--debug", "--state"]).arg(state).arg(&path);
    let output = command.output().with_context(|| format!("cannot start {}", shown(&command)))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && !said.contains("error:"), "{said}");
    Ok(())
}

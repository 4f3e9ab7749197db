//! Debian packages that a command needs: installed when we may, named with the exact command when not.

use super::checked;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// A Debian package, and the file that shows it is there.
#[derive(Clone, Copy)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) proof: &'static str,
}

/// Whether this process may install packages and load probes.
pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Makes sure of the packages: at once when their files exist, else with apt-get when root.
///
/// # Errors
/// Not root: the message carries the command to run. Or apt-get failed.
pub(crate) fn ensure(packages: &[Package]) -> Result<()> {
    let missing: Vec<&str> =
        packages.iter().filter(|p| !Path::new(p.proof).exists()).map(|p| p.name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let command = format!("apt-get install --no-install-recommends -y {}", missing.join(" "));
    if !is_root() {
        bail!("missing Debian packages; as root run: {command}");
    }
    eprintln!("xtask: {command}");
    if apt_install(&missing).is_err() {
        // Package lists may be absent or old (container images ship without them).
        checked(Command::new("apt-get").arg("update")).context("cannot refresh the package lists")?;
        apt_install(&missing).with_context(|| format!("`{command}` failed"))?;
    }
    Ok(())
}

fn apt_install(names: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    // Tests start what they need themselves; where there is no systemd, this keeps packages from starting it too.
    command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    checked(command.args(["install", "--no-install-recommends", "-y", "-q"]).args(names))
}

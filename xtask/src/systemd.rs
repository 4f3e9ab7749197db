//! The tier `systemd`: the service under a real systemd that is the first process of a real kernel, in a VM.
//!
//! A container would not do: the agent refuses to run in a pid namespace of its own. The system is Debian's, of the
//! release of this host (whose libraries the agent is linked with), made once by mmdebstrap and kept in the cache.

use crate::build::{self, Profile};
use crate::host::{self, Package, checked};
use crate::package;
use crate::vm::{Cell, CellResult, Extra, Payload, Settings};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What the system is made of. A change makes a new one.
const RECIPE: &[&str] = &[
    "--variant=minbase",
    "--include=systemd,systemd-sysv,dbus",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
];
/// A unit that hangs is noticed soon.
const IMPATIENT: (&str, &str) = ("WatchdogSec=30", "WatchdogSec=10");

/// Boots it and runs the checks; once more, if there is time until then, should an emulator on a busy machine be to blame.
pub(crate) fn run(until: Option<Instant>) -> Result<CellResult> {
    crate::setup::vm_packages()?;
    let system = system()?;
    let folder = host::repo()?.join("tests/systemd");
    let unit = std::fs::read_to_string(host::repo()?.join("deploy/systemd/sandwatch.service"))
        .context("cannot read the unit")?;
    let work = host::target()?.join("systemd");
    std::fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let written = |name: &str, text: &str| -> Result<PathBuf> {
        let path = work.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    };
    let over = |from: PathBuf, to: &str| Extra { from, to: format!("overlay/{to}") };
    let script = std::fs::read_to_string(folder.join("check.sh")).context("cannot read the checks")?;
    let mut payload = Payload { script, system: Some(system), tests: 1, ..Payload::default() };
    payload.add_agent(build::agent(Profile::Dev)?)?;
    let units = "etc/systemd/system";
    let (old, new) = package::quick_packages()?;
    payload.files.extend([
        over(
            written("sandwatch.service", &unit.replace(IMPATIENT.0, IMPATIENT.1))?,
            &format!("{units}/sandwatch.service"),
        ),
        over(folder.join("toy.service"), &format!("{units}/toy.service")),
        over(folder.join("report.service"), &format!("{units}/report.service")),
        over(folder.join("wanted.conf"), &format!("{units}/multi-user.target.d/wanted.conf")),
        over(folder.join("sandwatch.yaml"), "etc/sandwatch/sandwatch.yaml"),
        over(host::repo()?.join("rules/identities.yaml"), "etc/sandwatch/rules.d/identities.yaml"),
        over(written("id_ed25519", "no key\n")?, "root/.ssh/id_ed25519"),
        over(old, "root/sandwatch.deb"),
        over(new, "root/sandwatch-next.deb"),
    ]);
    let settings =
        Settings { memory_mib: 2560, timeout: Duration::from_secs(600), until, ..Settings::default() };
    let mut lines = |line: &str| println!("{line}");
    Cell::systemd()?.run_twice(&payload, &settings, &mut lines)
}

/// The archive of the system.
pub(crate) fn system() -> Result<PathBuf> {
    host::ensure(&[Package { name: "mmdebstrap", proof: "/usr/bin/mmdebstrap" }])?;
    let release =
        release(&std::fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?)?;
    let folder = host::cache()?.join("systemd");
    let key = host::sha256(RECIPE.join("\n").as_bytes());
    let archive = folder.join(format!("{release}-{}.tar", key.get(..16).unwrap_or(&key)));
    if !archive.exists() {
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        eprintln!("xtask: making a Debian {release} with systemd (about a minute)");
        make(&release, &archive)?;
    }
    Ok(archive)
}

fn make(release: &str, archive: &Path) -> Result<()> {
    // Whole under another name first: what is there is whole.
    let half = archive.with_extension("half.tar");
    checked(Command::new("mmdebstrap").args(RECIPE).arg(release).arg(&half)).context("mmdebstrap failed")?;
    std::fs::rename(&half, archive).with_context(|| format!("cannot keep {}", archive.display()))
}

fn release(text: &str) -> Result<String> {
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name.context("/etc/os-release names no release of Debian")?.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::release;

    #[test]
    fn release_of_debian_is_read_with_and_without_quotes() {
        assert_eq!(release("ID=debian\nVERSION_CODENAME=bookworm\n").unwrap(), "bookworm");
        assert_eq!(release("VERSION_CODENAME=\"trixie\"").unwrap(), "trixie");
        assert!(release("ID=x").is_err());
    }
}

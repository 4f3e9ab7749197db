//! A Debian of its own that packages are installed in: a folder, into which dpkg and the program go by chroot.

use super::folder;
use crate::host::{self, capture, checked};
use crate::{commands, systemd};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder.
pub(super) struct Root {
    path: PathBuf,
}

impl Root {
    /// A new one of this name.
    pub(super) fn make(name: &str) -> Result<Self> {
        let path = folder()?.join(name);
        if path.exists() {
            std::fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        checked(
            Command::new("tar")
                .arg("-xf")
                .arg(systemd::system()?)
                .arg("-C")
                .arg(&path)
                .args(["--exclude", "./dev/*"]),
        )?;
        std::fs::write(path.join("dev/null"), "")?;
        Ok(Self { path })
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("chroot");
        command.arg(&self.path).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        capture(&mut command)
    }

    fn dpkg(&self, package: &Path) -> Result<String> {
        std::fs::copy(package, self.path.join("tmp/sandwatch.deb")).context("cannot copy the package")?;
        self.run(&["dpkg", "--force-confold", "-i", "/tmp/sandwatch.deb"])
    }

    fn file(&self, path: &str) -> PathBuf {
        self.path.join(path)
    }

    /// It runs, its parts are in order, and nothing is started or enabled that nobody asked for.
    pub(super) fn install(&self, package: &Path) -> Result<()> {
        self.dpkg(package)?;
        let said = self.run(&["sandwatch", "--version"])?;
        ensure!(said.contains(env!("CARGO_PKG_VERSION")), "--version says {said}");
        self.run(&["sandwatch", "rules", "check", "/usr/lib/sandwatch/rules"])?;
        // The configuration that it comes with is one that the agent takes. The folder for logs is the unit's to make.
        std::fs::create_dir_all(self.file("var/log/sandwatch"))?;
        self.run(&["sandwatch", "alert", "test", "--config", "/etc/sandwatch/sandwatch.yaml"])?;
        let wrong = self.run(&["dpkg", "--verify", "sandwatch"])?;
        // The system was made without manual pages and documentation.
        let wrong: Vec<&str> = wrong
            .lines()
            .filter(|l| !l.contains("/usr/share/man/") && !l.contains("/usr/share/doc/"))
            .collect();
        ensure!(wrong.is_empty(), "dpkg --verify: {wrong:?}");
        ensure!(self.file("etc/sandwatch/rules.d").is_dir(), "no folder for rules of this site");
        ensure!(
            !self.file("etc/systemd/system/multi-user.target.wants/sandwatch.service").exists(),
            "it was enabled"
        );
        self.run(&["systemd-analyze", "verify", "--man=no", "/lib/systemd/system/sandwatch.service"])?;
        self.run(&["systemctl", "enable", "sandwatch.service"])?;
        Ok(())
    }

    /// What the administrator changed stays, and so does what the agent keeps.
    pub(super) fn upgrade(&self, package: &Path) -> Result<()> {
        let config = self.file("etc/sandwatch/sandwatch.yaml");
        let changed = std::fs::read_to_string(&config)?.replace("# cluster: prod-eu", "cluster: prod-eu");
        std::fs::write(&config, &changed)?;
        std::fs::create_dir_all(self.file("var/lib/sandwatch/spool"))?;
        std::fs::write(self.file("var/lib/sandwatch/spool/kept"), "an alert")?;
        self.dpkg(package)?;
        ensure!(self.version()?.ends_with("+next-1"), "the version is {}", self.version()?);
        self.kept(&changed)
    }

    /// The same, back to the version before.
    pub(super) fn downgrade(&self, package: &Path) -> Result<()> {
        self.dpkg(package)?;
        ensure!(
            self.version()? == concat!(env!("CARGO_PKG_VERSION"), "-1"),
            "the version is {}",
            self.version()?
        );
        let config = std::fs::read_to_string(self.file("etc/sandwatch/sandwatch.yaml"))?;
        self.kept(&config)
    }

    fn kept(&self, config: &str) -> Result<()> {
        let now = std::fs::read_to_string(self.file("etc/sandwatch/sandwatch.yaml"))?;
        ensure!(now == config && now.contains("\ncluster: prod-eu"), "the configuration was not kept");
        ensure!(self.file("var/lib/sandwatch/spool/kept").exists(), "the spool was not kept");
        let link = self.file("etc/systemd/system/multi-user.target.wants/sandwatch.service");
        ensure!(link.symlink_metadata().is_ok(), "it is no longer enabled");
        Ok(())
    }

    fn version(&self) -> Result<String> {
        self.run(&["dpkg-query", "--show", "--showformat=${Version}", "sandwatch"])
    }

    /// The program goes; what the administrator and the agent wrote stays.
    pub(super) fn remove(&self) -> Result<()> {
        self.run(&["dpkg", "--remove", "sandwatch"])?;
        ensure!(!self.file("usr/bin/sandwatch").exists(), "the program is still there");
        ensure!(self.file("etc/sandwatch/sandwatch.yaml").exists(), "the configuration is gone");
        ensure!(self.file("var/lib/sandwatch/spool/kept").exists(), "the spool is gone");
        Ok(())
    }

    /// What the document has a person type, in a folder with what was built: from the package, then by hand.
    pub(super) fn by_the_document(&self, package: &Path) -> Result<()> {
        let name = package.file_name().context("the package has no name")?;
        let program = folder()?.join("sandwatch-amd64");
        for (from, to) in
            [(package, Path::new("target/package").join(name)), (&program, "target/release/sandwatch".into())]
        {
            let to = self.file("src").join(to);
            std::fs::create_dir_all(to.parent().context("no folder")?)?;
            std::fs::copy(from, &to).with_context(|| format!("cannot make {}", to.display()))?;
        }
        for part in ["rules", "deploy"] {
            capture(Command::new("cp").arg("-r").arg(host::repo()?.join(part)).arg(self.file("src")))?;
        }
        for text in commands::of_tier("package")? {
            self.run(&["sh", "-e", "-c", &format!("cd /src && {text}")])?;
        }
        ensure!(self.file("etc/systemd/system/sandwatch.service").exists(), "the unit is not there");
        let wrong =
            self.run(&["systemd-analyze", "verify", "--man=no", "/etc/systemd/system/sandwatch.service"])?;
        ensure!(wrong.is_empty(), "the unit that was put there: {wrong}");
        Ok(())
    }

    /// Nothing is left, and it can be installed again.
    pub(super) fn purge(&self, again: &Path) -> Result<()> {
        self.run(&["dpkg", "--purge", "sandwatch"])?;
        let left = left_behind(&self.path)?;
        ensure!(left.is_empty(), "left behind: {left}");
        self.dpkg(again)?;
        match self.run(&["dpkg", "--purge", "sandwatch"]) {
            Ok(_) => Ok(()),
            Err(error) => bail!("the second time: {error:#}"),
        }
    }
}

/// What below this folder has the program's name, but for what was put into its `tmp`.
fn left_behind(root: &Path) -> Result<String> {
    // The whole path is compared: the folder itself may lie below another `tmp`.
    let tmp = root.join("tmp/*");
    capture(Command::new("find").arg(root).args(["-xdev", "-iname", "*sandwatch*", "-not", "-path"]).arg(tmp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_package_leaves_behind_is_found_wherever_the_folder_lies() {
        let root = std::env::temp_dir().join(format!("package-root-{}", std::process::id())).join("tmp/root");
        for folder in ["tmp", "var/lib"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("tmp/sandwatch.deb"), "").unwrap();
        let before = left_behind(&root).unwrap();
        std::fs::write(root.join("var/lib/sandwatch"), "").unwrap();
        let after = left_behind(&root).unwrap();
        std::fs::remove_dir_all(root.ancestors().nth(2).unwrap()).unwrap();
        assert_eq!(
            (before.trim(), after.trim()),
            ("", &*root.join("var/lib/sandwatch").display().to_string())
        );
    }
}

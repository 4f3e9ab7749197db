//! A private apt: its own sources, state and downloads in the cache, the machine's mirror and keyrings.
//!
//! The machine's own package state is neither read nor changed, and no mirror's address is written down
//! anywhere in the repository: it is what apt is configured to use here. Signatures are checked by apt
//! against Debian's archive keys, packages by apt against the signed index, and once more here.

use super::{Package, capture, checked, ensure, is_root, sha256_file};
use anyhow::{Context, Result, anyhow, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Which of the two Debian archives a suite is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mirror {
    Main,
    Security,
}

/// One downloaded package.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Downloaded {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) sha256: String,
    #[serde(skip)]
    pub(crate) file: PathBuf,
}

/// apt, pointed at one suite, with all its state in one folder.
pub(crate) struct Apt {
    dir: PathBuf,
}

impl Apt {
    /// Sets up the folder and fetches the suite's index.
    ///
    /// # Errors
    /// This is not a Debian machine with apt and its archive keys, or the mirror cannot be reached.
    pub(crate) fn open(dir: &Path, mirror: Mirror, suite: &str) -> Result<Self> {
        Self::set_up(dir, mirror, suite, false)
    }

    /// The same with the index of source packages, which is large.
    ///
    /// # Errors
    /// As for [`open`](Apt::open).
    pub(crate) fn with_sources(dir: &Path, mirror: Mirror, suite: &str) -> Result<Self> {
        Self::set_up(dir, mirror, suite, true)
    }

    fn set_up(dir: &Path, mirror: Mirror, suite: &str, sources: bool) -> Result<Self> {
        ensure(&[Package { name: "debian-archive-keyring", proof: KEYRING }])?;
        let address = mirror_address(mirror)?;
        for folder in ["lists/partial", "archives/partial"] {
            std::fs::create_dir_all(dir.join(folder))
                .with_context(|| format!("cannot make {}", dir.join(folder).display()))?;
        }
        std::fs::write(dir.join("status"), "")?;
        let mut list = format!("deb [arch=amd64 signed-by={KEYRING}] {address} {suite} main\n");
        if sources {
            list.push_str(&format!("deb-src [signed-by={KEYRING}] {address} {suite} main\n"));
        }
        std::fs::write(dir.join("sources.list"), list)?;
        let apt = Self { dir: dir.to_path_buf() };
        checked(apt.command("apt-get").args(["-qq", "update"]))
            .with_context(|| format!("cannot fetch the package index of {suite}"))?;
        Ok(apt)
    }

    /// One package, downloaded and its hash compared with the signed index.
    pub(crate) fn package(&self, name: &str) -> Result<Downloaded> {
        let record = capture(self.command("apt-cache").args(["show", "--no-all-versions", name]))
            .with_context(|| format!("package {name} is not in the index"))?;
        self.download_one(name, &record)
    }

    /// A source package of this version, downloaded and checked by apt: its description, next to its archives.
    pub(crate) fn source(&self, name: &str, version: &str) -> Result<PathBuf> {
        let archives = self.dir.join("archives");
        let wanted = format!("{name}={version}");
        checked(self.command("apt-get").current_dir(&archives).args([
            "-qq",
            "source",
            "--download-only",
            &wanted,
        ]))?;
        Ok(archives.join(format!("{name}_{version}.dsc")))
    }

    /// All packages whose names `wanted` accepts among `package` and what it leads to, downloaded and their
    /// hashes compared with the signed index.
    pub(crate) fn download(&self, package: &str, wanted: fn(&str) -> bool) -> Result<Vec<Downloaded>> {
        let mut queue = vec![package.to_owned()];
        let mut seen: Vec<String> = Vec::new();
        let mut downloaded = Vec::new();
        while let Some(name) = queue.pop() {
            if seen.contains(&name) {
                continue;
            }
            let record = capture(self.command("apt-cache").args(["show", "--no-all-versions", &name]))
                .with_context(|| format!("package {name} is not in the index"))?;
            for line in field(&record, "Depends").unwrap_or_default().split([',', '|']) {
                let dependency = line.split_whitespace().next().unwrap_or_default();
                if wanted(dependency) {
                    queue.push(dependency.to_owned());
                }
            }
            // The meta package that the walk starts from holds nothing.
            if wanted(&name) {
                downloaded.push(self.download_one(&name, &record)?);
            }
            seen.push(name);
        }
        Ok(downloaded)
    }

    fn download_one(&self, name: &str, record: &str) -> Result<Downloaded> {
        let get = |key: &str| field(record, key).ok_or_else(|| anyhow!("the index has no {key} for {name}"));
        let (version, expected) = (get("Version")?.to_owned(), get("SHA256")?.to_owned());
        let archives = self.dir.join("archives");
        checked(self.command("apt-get").current_dir(&archives).args([
            "-qq",
            "download",
            &format!("{name}={version}"),
        ]))?;
        // apt writes ':' of an epoch as %3a in file names.
        let prefix = format!("{name}_{}_", version.replace(':', "%3a"));
        let file = std::fs::read_dir(&archives)?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&prefix)))
            .ok_or_else(|| anyhow!("apt-get download left no {prefix}*.deb in {}", archives.display()))?;
        let sha256 = sha256_file(&file)?;
        if sha256 != expected {
            bail!("{} has hash {sha256}, the signed index says {expected}", file.display());
        }
        Ok(Downloaded { name: name.to_owned(), version, sha256, file })
    }

    fn command(&self, program: &str) -> Command {
        let dir = self.dir.display();
        let mut command = Command::new(program);
        for option in [
            format!("Dir::State={dir}"),
            format!("Dir::State::lists={dir}/lists"),
            format!("Dir::State::status={dir}/status"),
            format!("Dir::Cache={dir}"),
            format!("Dir::Cache::archives={dir}/archives"),
            format!("Dir::Etc::sourcelist={dir}/sources.list"),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "Dir::Etc::preferences=/dev/null".to_owned(),
            "Dir::Etc::preferencesparts=/dev/null".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            "Acquire::Retries=3".to_owned(),
            // The cache may be in a home folder that apt's own user cannot enter.
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command
    }
}

/// The address this machine's apt uses for an archive.
fn mirror_address(mirror: Mirror) -> Result<String> {
    if let Some(address) = configured(mirror)? {
        return Ok(address);
    }
    // Container images ship without package lists, and without lists apt does not tell its targets.
    if is_root() {
        checked(Command::new("apt-get").args(["-qq", "update"]))
            .context("cannot refresh the package lists")?;
        if let Some(address) = configured(mirror)? {
            return Ok(address);
        }
    }
    bail!(
        "apt on this machine has no package lists of Debian's {} archive; as root run: apt-get update",
        match mirror {
            Mirror::Main => "main",
            Mirror::Security => "security",
        }
    )
}

fn configured(mirror: Mirror) -> Result<Option<String>> {
    let targets = capture(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(LABEL)|$(REPO_URI)",
        "Created-By: Packages",
    ]))?;
    Ok(address_in(&targets, mirror))
}

fn address_in(targets: &str, mirror: Mirror) -> Option<String> {
    let label = match mirror {
        Mirror::Main => "Debian",
        Mirror::Security => "Debian-Security",
    };
    targets
        .lines()
        .filter_map(|line| line.split_once('|'))
        .find(|(l, _)| *l == label)
        .map(|(_, a)| a.to_owned())
}

/// A one-line field of the first stanza of a package record.
fn field<'a>(record: &'a str, name: &str) -> Option<&'a str> {
    record
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(": "))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::{Mirror, address_in, field};

    #[test]
    fn address_is_taken_by_label_not_by_the_look_of_the_address() {
        let targets = "Other|http://one.example/debian/\nDebian-Security|http://two.example/sec/\nDebian|file:/three/\n";
        assert_eq!(address_in(targets, Mirror::Main).as_deref(), Some("file:/three/"));
        assert_eq!(address_in(targets, Mirror::Security).as_deref(), Some("http://two.example/sec/"));
        assert_eq!(address_in("Other|x\n", Mirror::Main), None);
    }

    #[test]
    fn field_is_of_the_first_stanza_only() {
        let record = "Package: a\nVersion: 1\n\nPackage: b\nSHA256: ff\n";
        assert_eq!(field(record, "Version"), Some("1"));
        assert_eq!(field(record, "SHA256"), None);
    }
}

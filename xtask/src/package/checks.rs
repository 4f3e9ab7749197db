//! The tiers `image` and `package`: what was made is looked at by the tools that others will use on it.

use super::program::Architecture;
use super::{deb, folder, image, pod, time};
use crate::host::{self, Package, capture, checked, shown};
use crate::test::Outcome;
use crate::{chart, commands, systemd};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Independent readers of OCI archives, and what runs what they unpack.
const READERS: [Package; 3] = [
    Package { name: "skopeo", proof: "/usr/bin/skopeo" },
    Package { name: "umoci", proof: "/usr/bin/umoci" },
    Package { name: "runc", proof: "/usr/sbin/runc" },
];
const DEBIAN: [Package; 2] = [
    Package { name: "lintian", proof: "/usr/bin/lintian" },
    Package { name: "logrotate", proof: "/usr/sbin/logrotate" },
];

/// Checks with a name each.
#[derive(Default)]
pub(super) struct Checks {
    pub(super) outcome: Outcome,
}

impl Checks {
    pub(super) fn check(&mut self, name: &str, result: Result<()>) {
        self.outcome.add(match result {
            Ok(()) => Outcome::single(true, ""),
            Err(error) => Outcome::broken(&format!("{name}: {error:#}")),
        });
    }
}

/// The tier `image`.
pub(crate) fn image_tier() -> Result<Outcome> {
    host::ensure(&READERS)?;
    let archive = super::image_archive()?;
    let mut checks = Checks::default();
    checks.check("the same again", reproducible(&archive));
    checks.check("skopeo reads it", described(&archive));
    checks.check("the document's commands", copied());
    let bundle = unpack(&archive);
    checks
        .check("umoci unpacks it", bundle.as_ref().map(|_| ()).map_err(|error| anyhow::anyhow!("{error:#}")));
    if let Ok(bundle) = bundle {
        checks
            .check("the program tells its version", run(&bundle, &["--version"], env!("CARGO_PKG_VERSION")));
        checks.check(
            "its rules are in order",
            run(&bundle, &["rules", "check", "/usr/lib/sandwatch/rules"], "profiles"),
        );
        checks.check(
            "the recorded demo plays",
            run(&bundle, &["demo", "--recorded", "--output", "-"], "sandwatch/alert/v1"),
        );
        checks.check("nothing else to run", alone(&bundle));
        let program = folder()?.join("sandwatch-amd64");
        checks.check("in a pod it sees what it sees on the host", pod::sees_the_same(&program, &bundle));
        checks.check(
            "the bill of materials",
            bill(&bundle.join("rootfs/usr/share/doc/sandwatch/sbom.cdx.json")),
        );
    }
    Ok(checks.outcome)
}

/// The archive from the same program once more.
fn reproducible(archive: &Path) -> Result<()> {
    let path = folder()?.join("sandwatch-amd64");
    let program = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let packed = image::archive(&[(Architecture::Amd64, program)], time()?)?;
    ensure!(packed.bytes == std::fs::read(archive)?, "the archive has other bytes");
    Ok(())
}

fn described(archive: &Path) -> Result<()> {
    let text = capture(
        Command::new("skopeo")
            .args(["inspect", "--config"])
            .arg(format!("oci-archive:{}", archive.display())),
    )?;
    let config: Value = serde_json::from_str(&text).context("skopeo wrote no JSON")?;
    ensure!(config["architecture"] == "amd64" && config["os"] == "linux", "platform: {config}");
    ensure!(config["config"]["Entrypoint"][0] == image::ENTRYPOINT[0], "entry point: {config}");
    for label in ["version", "revision", "source", "licenses"] {
        let label = format!("org.opencontainers.image.{label}");
        ensure!(config["config"]["Labels"][&label].is_string(), "no label {label}");
    }
    Ok(())
}

/// What the document does with the image. There is no registry: a folder stands for it.
fn copied() -> Result<()> {
    const REGISTRY: &str = "docker://registry.example/";
    let work = folder()?.join("copied");
    if work.exists() {
        std::fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    }
    std::fs::create_dir_all(work.join("registry"))
        .with_context(|| format!("cannot make {}", work.display()))?;
    std::os::unix::fs::symlink(host::target()?, work.join("target")).context("cannot link what was built")?;
    for text in commands::of_tier("image")? {
        ensure!(text.contains(REGISTRY), "`{text}` copies to no {REGISTRY}");
        let (from, name) = text.split_once(REGISTRY).unwrap_or_default();
        let text = format!("{from}dir:registry/{}", name.replace(['/', ':'], "-"));
        capture(Command::new("sh").args(["-e", "-c", &text]).current_dir(&work))?;
    }
    std::fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))
}

/// A bundle for runc: umoci needs the archive as a folder.
fn unpack(archive: &Path) -> Result<PathBuf> {
    let work = folder()?.join("unpacked");
    if work.exists() {
        std::fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    }
    let layout = work.join("layout");
    std::fs::create_dir_all(&layout).with_context(|| format!("cannot make {}", layout.display()))?;
    checked(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&layout))?;
    let bundle = work.join("bundle");
    let name = format!("{}:{}", layout.display(), env!("CARGO_PKG_VERSION"));
    capture(Command::new("umoci").args(["unpack", "--image", &name]).arg(&bundle))?;
    Ok(bundle)
}

/// Runs the program in the image with these arguments: nothing may be written, no capabilities.
fn run(bundle: &Path, arguments: &[&str], expected: &str) -> Result<()> {
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
    config["process"]["terminal"] = false.into();
    config["process"]["args"] =
        std::iter::once(image::ENTRYPOINT[0]).chain(arguments.iter().copied()).collect();
    config["process"]["capabilities"] = serde_json::json!({});
    config["process"]["noNewPrivileges"] = true.into();
    config["root"]["readonly"] = true.into();
    std::fs::write(&path, config.to_string())?;
    let name = format!("sandwatch-image-{}", std::process::id());
    let said = capture(Command::new("runc").args(["run", "--bundle"]).arg(bundle).arg(&name))?;
    ensure!(said.contains(expected), "no `{expected}` in what it says: {said}");
    Ok(())
}

/// One executable, and nothing that belongs to somebody else or may be written by others.
fn alone(bundle: &Path) -> Result<()> {
    let found =
        capture(Command::new("find").arg(bundle.join("rootfs")).args(["-type", "f", "-perm", "/111"]))?;
    let found: Vec<&str> = found.lines().collect();
    ensure!(found.len() == 1 && found[0].ends_with("/usr/bin/sandwatch"), "executables: {found:?}");
    let open = capture(
        Command::new("find")
            .arg(bundle.join("rootfs"))
            .args(["(", "-type", "f", "-perm", "/022", "-o", "!", "-uid", "0", ")"]),
    )?;
    ensure!(open.is_empty(), "writable by others, or not root's: {open}");
    Ok(())
}

/// CycloneDX's own schema, by CycloneDX's own library.
fn bill(path: &Path) -> Result<()> {
    let script = "import sys\nfrom cyclonedx.schema import SchemaVersion\nfrom cyclonedx.validation.json import JsonStrictValidator\n\
                  wrong = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())\nprint(wrong or 'valid')";
    let said = capture(chart::tools()?.python().args(["-c", script]).arg(path))?;
    ensure!(said.trim() == "valid", "{said}");
    let document: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let names: Vec<&str> = document["components"]
        .as_array()
        .context("no components")?
        .iter()
        .filter_map(|c| c["name"].as_str())
        .collect();
    for expected in ["aya", "rustls", "ring", "serde"] {
        ensure!(names.contains(&expected), "{expected} is missing among {} components", names.len());
    }
    ensure!(!names.contains(&"proptest"), "crates of tests are in it");
    Ok(())
}

/// The tier `package`.
pub(crate) fn deb_tier() -> Result<Outcome> {
    host::ensure(&DEBIAN)?;
    let program = super::program::build(Architecture::Amd64)?;
    let program = std::fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
    let pages = deb::pages()?;
    let old = deb::wrap(Architecture::Amd64, env!("CARGO_PKG_VERSION"), program.clone(), &pages)?;
    let new = deb::wrap(
        Architecture::Amd64,
        &format!("{}+next", env!("CARGO_PKG_VERSION")),
        program.clone(),
        &pages,
    )?;
    let mut checks = Checks::default();
    checks.check("the same again", same_again(&old, program, &pages));
    checks.check("lintian", lintian(&old));
    checks.check("logrotate", logrotate());
    let root = Root::make()?;
    checks.check("install", root.install(&old));
    checks.check("upgrade", root.upgrade(&new));
    checks.check("downgrade", root.downgrade(&old));
    checks.check("remove", root.remove());
    checks.check("purge", root.purge(&new));
    checks.check("the document's commands", root.by_the_document(&old));
    Ok(checks.outcome)
}

fn same_again(path: &Path, program: Vec<u8>, pages: &Path) -> Result<()> {
    let before = host::sha256_file(path)?;
    let after =
        host::sha256_file(&deb::wrap(Architecture::Amd64, env!("CARGO_PKG_VERSION"), program, pages)?)?;
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

/// A Debian of its own that packages are installed in.
struct Root {
    path: PathBuf,
}

impl Root {
    fn make() -> Result<Self> {
        let path = folder()?.join("debian");
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

    fn install(&self, package: &Path) -> Result<()> {
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
    fn upgrade(&self, package: &Path) -> Result<()> {
        let config = self.file("etc/sandwatch/sandwatch.yaml");
        let changed = std::fs::read_to_string(&config)?.replace("# cluster: prod-eu", "cluster: prod-eu");
        std::fs::write(&config, &changed)?;
        std::fs::create_dir_all(self.file("var/lib/sandwatch/spool"))?;
        std::fs::write(self.file("var/lib/sandwatch/spool/kept"), "an alert")?;
        self.dpkg(package)?;
        ensure!(self.version()?.ends_with("+next-1"), "the version is {}", self.version()?);
        self.kept(&changed)
    }

    fn downgrade(&self, package: &Path) -> Result<()> {
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

    fn remove(&self) -> Result<()> {
        self.run(&["dpkg", "--remove", "sandwatch"])?;
        ensure!(!self.file("usr/bin/sandwatch").exists(), "the program is still there");
        ensure!(self.file("etc/sandwatch/sandwatch.yaml").exists(), "the configuration is gone");
        ensure!(self.file("var/lib/sandwatch/spool/kept").exists(), "the spool is gone");
        Ok(())
    }

    /// What the document has a person type, in a folder with what was built: from the package, then by hand.
    fn by_the_document(&self, package: &Path) -> Result<()> {
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
    fn purge(&self, again: &Path) -> Result<()> {
        self.run(&["dpkg", "--purge", "sandwatch"])?;
        let left = capture(Command::new("find").arg(&self.path).args([
            "-xdev",
            "-iname",
            "*sandwatch*",
            "-not",
            "-path",
            "*/tmp/*",
        ]))?;
        ensure!(left.is_empty(), "left behind: {left}");
        self.dpkg(again)?;
        match self.run(&["dpkg", "--purge", "sandwatch"]) {
            Ok(_) => Ok(()),
            Err(error) => bail!("the second time: {error:#}"),
        }
    }
}

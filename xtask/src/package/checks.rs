//! The tier `image`: what was made is looked at by the tools that others will use on it.

use super::program::Architecture;
use super::{folder, image, pod, time};
use crate::host::{self, Package, capture, checked};
use crate::test::Outcome;
use crate::{chart, commands};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Independent readers of OCI archives, and what runs what they unpack.
const READERS: [Package; 3] = [
    Package { name: "skopeo", proof: "/usr/bin/skopeo" },
    Package { name: "umoci", proof: "/usr/bin/umoci" },
    Package { name: "runc", proof: "/usr/sbin/runc" },
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

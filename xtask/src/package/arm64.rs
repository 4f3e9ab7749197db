//! The tier `arm64`: what is cross-built is what it should be, and runs as far as an emulated processor can take it. No kernel of that
//! architecture is there to load probes into, so it stays marked as untested.

use super::checks::Checks;
use super::program::Architecture;
use super::{deb, folder, image};
use crate::host::{self, Package, capture};
use crate::test::Outcome;
use anyhow::{Result, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const NEEDED: [Package; 3] = [
    Package { name: "qemu-user-static", proof: EMULATOR },
    Package { name: "skopeo", proof: "/usr/bin/skopeo" },
    Package { name: "binutils", proof: "/usr/bin/readelf" },
];
const EMULATOR: &str = "/usr/bin/qemu-aarch64-static";

/// The tier.
pub(crate) fn arm64_tier() -> Result<Outcome> {
    host::ensure(&NEEDED)?;
    let made = image::build(&[Architecture::Arm64])?;
    let package = deb::build(Architecture::Arm64, env!("CARGO_PKG_VERSION"))?;
    let root = folder()?.join("root-arm64");
    let program = root.join("usr/bin/sandwatch");
    let mut checks = Checks::default();
    checks.check("the program is static and of aarch64", is_static(&program));
    checks.check("skopeo reads the image", described(&made.archive));
    checks.check("the package is of arm64", packaged(&package, &program));
    checks.check("the program tells its version", run(&program, &["--version"], env!("CARGO_PKG_VERSION")));
    let rules = root.join("usr/lib/sandwatch/rules").display().to_string();
    checks.check("its rules are in order", run(&program, &["rules", "check", &rules], "profiles"));
    // The image has no tests of rules; those of the repository go through the whole pipeline.
    let tested = host::repo()?.join("rules").display().to_string();
    checks.check("the rules' tests", run(&program, &["rules", "test", &tested], " 0 failed"));
    checks.check(
        "the recorded demo plays",
        run(&program, &["demo", "--recorded", "--output", "-"], "sandwatch/alert/v1"),
    );
    Ok(checks.outcome)
}

/// Its processor, and that nothing has to be loaded with it.
fn is_static(program: &Path) -> Result<()> {
    let said =
        capture(Command::new("readelf").args(["--wide", "--file-header", "--program-headers"]).arg(program))?;
    let machine = said.lines().find(|line| line.trim_start().starts_with("Machine:")).unwrap_or_default();
    ensure!(machine.ends_with("AArch64"), "{machine}");
    ensure!(!said.contains("INTERP") && !said.contains("DYNAMIC"), "it wants a loader: {said}");
    Ok(())
}

fn described(archive: &Path) -> Result<()> {
    let text = capture(
        Command::new("skopeo")
            .args(["--override-arch", "arm64", "inspect", "--config"])
            .arg(format!("oci-archive:{}", archive.display())),
    )?;
    let config: Value = serde_json::from_str(&text)?;
    ensure!(config["architecture"] == "arm64" && config["os"] == "linux", "platform: {config}");
    Ok(())
}

/// For whom the package is, and that the same program is in it as in the image.
fn packaged(package: &Path, program: &Path) -> Result<()> {
    let architecture = capture(Command::new("dpkg-deb").arg("--field").arg(package).arg("Architecture"))?;
    ensure!(architecture.trim() == "arm64", "it says {architecture}");
    let inside = folder()?.join("arm64-package");
    if inside.exists() {
        std::fs::remove_dir_all(&inside)?;
    }
    capture(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&inside))?;
    let same = host::sha256_file(&inside.join("usr/bin/sandwatch"))? == host::sha256_file(program)?;
    std::fs::remove_dir_all(&inside)?;
    ensure!(same, "another program than in the image");
    Ok(())
}

/// Runs the program on an emulated processor.
fn run(program: &Path, arguments: &[&str], expected: &str) -> Result<()> {
    let said = capture(Command::new(EMULATOR).arg(program).args(arguments))?;
    ensure!(said.contains(expected), "no `{expected}` in what it says: {said}");
    Ok(())
}

//! One function per registry. Only what the lock names is taken, only as ready-made packages, and no script of a package
//! runs.

use super::PYTHON;
use crate::host::checked;
use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;

/// `npm ci` of the recipe into `place`.
pub(super) fn npm(recipe: &Path, place: &Path) -> Result<()> {
    std::fs::create_dir_all(place).with_context(|| format!("cannot make {}", place.display()))?;
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(recipe.join(file), place.join(file))
            .with_context(|| format!("cannot copy {file} to {}", place.display()))?;
    }
    let mut command = Command::new("/usr/bin/npm");
    command.args(["ci", "--ignore-scripts", "--omit=optional", "--omit=dev", "--no-audit", "--no-fund"]);
    command.args(["--no-update-notifier", "--loglevel=error"]).current_dir(place);
    checked(&mut command)
}

/// A virtual environment at `place` with the recipe's packages.
pub(super) fn pypi(recipe: &Path, place: &Path) -> Result<()> {
    checked(Command::new(PYTHON).args(["-m", "venv"]).arg(place))?;
    let mut command = Command::new(place.join("bin/python"));
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    command.args(["--require-hashes", "--only-binary", ":all:", "--requirement"]);
    checked(command.arg(recipe.join("requirements.lock")))
}

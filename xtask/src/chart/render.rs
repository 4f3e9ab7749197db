//! What Helm makes of the chart.

use super::{Tools, folder};
use crate::host;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Values to render with: one file below `tests/chart/values` each.
pub(super) const SETS: [&str; 4] = ["default", "everything", "least", "api"];

/// The file of a set.
pub(super) fn values(set: &str) -> Result<PathBuf> {
    Ok(host::repo()?.join("tests/chart/values").join(format!("{set}.yaml")))
}

/// The manifests for a version of Kubernetes, as text.
///
/// # Errors
/// Helm refuses; what it says is the message.
pub(super) fn text(tools: &Tools, values: &Path, version: &str) -> Result<String> {
    named(tools, "sandwatch", values, version)
}

/// The same of a release that is called like this.
///
/// # Errors
/// Helm refuses; what it says is the message.
pub(super) fn named(tools: &Tools, release: &str, values: &Path, version: &str) -> Result<String> {
    let mut command = tools.helm();
    command.args(["template", release]).arg(folder()?).args([
        "--namespace",
        "sandwatch",
        "--kube-version",
        version,
    ]);
    host::capture(command.arg("--values").arg(values))
}

/// What a person is told after the installation.
pub(super) fn notes(tools: &Tools, values: &Path) -> Result<String> {
    let mut command = tools.helm();
    command.args(["install", "sandwatch"]).arg(folder()?).args([
        "--namespace",
        "sandwatch",
        "--dry-run=client",
    ]);
    let text = host::capture(command.arg("--values").arg(values))?;
    let (_, notes) = text.split_once("\nNOTES:\n").context("Helm printed no notes")?;
    Ok(notes.to_owned())
}

/// The objects in manifests.
pub(super) fn objects(manifests: &str) -> Result<Vec<Value>> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(manifests).context("Helm wrote no YAML")?;
    Ok(objects.into_iter().filter(|object| !object.is_null()).collect())
}

/// The only object of a kind.
pub(super) fn only<'a>(objects: &'a [Value], kind: &str) -> Result<&'a Value> {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    match (found.next(), found.next()) {
        (Some(object), None) => Ok(object),
        (None, _) => bail!("there is no {kind}"),
        _ => bail!("there is more than one {kind}"),
    }
}

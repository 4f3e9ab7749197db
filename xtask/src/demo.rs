//! `cargo xtask demo`: one command from a fresh clone to the first alert.
//!
//! Everything is built as the invoking user; only the run itself needs root. The demo then takes this
//! process's place, so signals and its exit code pass through untouched.

use crate::build::{self, Profile};
use crate::{host, setup};
use anyhow::{Result, anyhow};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What `cargo xtask demo` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Arguments for `sandwatch demo`, after `--`
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Sets up, builds, and becomes `sandwatch demo`; returns only if that fails.
pub(crate) fn main(options: &Options) -> Result<()> {
    setup::build_tools()?;
    let agent = build::agent(Profile::Dev)?;
    let mut command = if host::is_root() {
        Command::new(&agent)
    } else {
        eprintln!("xtask: the probes need root: sudo {} demo", agent.display());
        let mut sudo = Command::new("sudo");
        sudo.arg("--").arg(&agent);
        sudo
    };
    command.arg("demo").args(&options.arguments);
    let error = command.exec();
    Err(anyhow!(error).context(format!("cannot start {}", host::shown(&command))))
}

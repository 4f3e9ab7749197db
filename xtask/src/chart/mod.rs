//! The Helm chart `deploy/helm/sandwatch`: what in it is made from other files of the repository, and its tests.
//!
//! `cargo xtask chart` looks whether the made files are as they should be, `--write` makes them. `tools` brings Helm, `render` asks it for
//! manifests, `checks` is the tier `chart`; `kubernetes` has those about
//! its versions, `scraped` those about who scrapes the agents.

mod checks;
mod kubernetes;
mod made;
mod readme;
mod render;
mod schema;
mod scraped;
mod server;
mod tools;

use anyhow::{Result, bail};
use std::path::PathBuf;

pub(crate) use checks::{capabilities, run};
pub(crate) use server::run as on_a_server;
#[cfg(test)]
pub(crate) use tools::FROM_PYPI;
pub(crate) use tools::{Tools, tools};

/// What `cargo xtask chart` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Write the files that are made from others: README.md, values.schema.json, the alert rules and the dashboard
    #[arg(long)]
    write: bool,
}

/// Runs the command.
pub(crate) fn main(options: &Options) -> Result<()> {
    if options.write {
        for file in made::write()? {
            println!("wrote {}", file.display());
        }
        return Ok(());
    }
    let stale = made::stale()?;
    if stale.is_empty() {
        println!("chart: everything that is made from other files is as they say");
        return Ok(());
    }
    for line in &stale {
        eprintln!("{line}");
    }
    bail!("run: cargo xtask chart --write");
}

/// The chart's folder.
pub(crate) fn folder() -> Result<PathBuf> {
    Ok(crate::host::repo()?.join("deploy/helm/sandwatch"))
}

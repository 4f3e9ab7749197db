//! `cargo xtask`: everything that builds, checks, measures and shows sandwatch, as plain Rust, so that a
//! machine with rustup and Debian's packages needs nothing else.
//!
//! `cargo xtask --help` lists the commands; each lives in a module of its own name.

mod alerts;
mod bench;
mod build;
mod chart;
mod cluster;
mod commands;
mod demo;
mod engines;
mod fuzz;
mod host;
mod libtest;
mod links;
mod lint;
mod package;
mod peers;
mod setup;
mod systemd;
mod test;
mod vm;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build, test, measure and show sandwatch", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what a build needs beyond rustup
    Setup(setup::Options),
    /// Build and show a workflow worker that leaves its sandbox, and the alerts
    Demo(demo::Options),
    /// Run the test tiers and print what passed, failed, was skipped, was not run
    Test(test::Options),
    /// Measure what the agent costs, against its budgets
    Bench(bench::Options),
    /// One measured loop (used by bench)
    #[command(hide = true)]
    BenchLoad(bench::load::Options),
    /// All measurements on the machine this runs on (used by bench)
    #[command(hide = true)]
    BenchMeasure(bench::measure::Options),
    /// Run the fuzz targets, each for a while
    Fuzz(fuzz::Options),
    /// Look whether what the Helm chart has from other files is as it should be, or make it so
    Chart(chart::Options),
    /// Write the container image as an OCI archive, without Docker
    Image(package::ImageOptions),
    /// Write the Debian package
    Deb(package::DebOptions),
    /// Check formatting, lints, shell scripts and documentation links
    Lint,
    /// Boot Debian kernels in qemu and run the behaviour tests, or any command, inside
    VmTest(vm::Options),
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Why this program would not take a command that a document has of it; `None` also if it is another's.
fn refused(text: &str) -> Option<String> {
    let words = text.strip_prefix("cargo xtask ")?.split_whitespace();
    let words = std::iter::once("xtask").chain(words);
    Cli::try_parse_from(words).err().map(|error| error.to_string())
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup(options) => setup::main(&options).map(|()| ExitCode::SUCCESS),
        Command::Demo(options) => demo::main(&options).map(|()| ExitCode::SUCCESS),
        Command::Test(options) => test::main(&options),
        Command::Bench(options) => bench::main(&options).map(|()| ExitCode::SUCCESS),
        Command::BenchLoad(options) => bench::load::main(&options).map(|()| ExitCode::SUCCESS),
        Command::BenchMeasure(options) => bench::measure::main(&options).map(|()| ExitCode::SUCCESS),
        Command::Fuzz(options) => fuzz::main(&options).map(|()| ExitCode::SUCCESS),
        Command::Chart(options) => chart::main(&options).map(|()| ExitCode::SUCCESS),
        Command::Image(options) => package::image(&options).map(|()| ExitCode::SUCCESS),
        Command::Deb(options) => package::deb(&options).map(|()| ExitCode::SUCCESS),
        Command::Lint => lint::main().map(|()| ExitCode::SUCCESS),
        Command::VmTest(options) => vm::main(&options),
    }
}

#[cfg(test)]
mod tests {
    use super::refused;

    #[test]
    fn command_of_this_program_is_held_against_its_options() {
        assert_eq!(refused("cargo xtask image --arch arm64"), None);
        assert_eq!(refused("helm install x"), None);
        assert!(refused("cargo xtask image --arch sparc").is_some());
        assert!(refused("cargo xtask picture").is_some());
    }
}

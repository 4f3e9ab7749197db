//! `cargo xtask vm-test`: real kernels in qemu.
//!
//! A VM is a Debian kernel (fetched into the cache by a private apt), an initramfs built here, and a
//! payload: the behaviour tests, or any command for debugging (`--run`). There is no disk and no network;
//! what the payload leaves in `/out` comes back. The programs inside are the very ones that run here.

mod cell;
mod cpio;
mod initramfs;
mod kernel;
mod matrix;
mod module;
mod payload;
mod privilege;
mod programs;
mod qemu;

use cell::Lsm;
pub(crate) use cell::{Cell, CellResult, Settings};
use kernel::Release;
pub(crate) use matrix::{best_and_worst, other_rungs, run_tests};
pub(crate) use payload::{Extra, Payload};
pub(crate) use programs::report as report_programs;

use crate::build::{self, Profile};
use crate::setup;
use anyhow::{Context, Result};
use kernel::RELEASES;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// What `cargo xtask vm-test` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Kernel (5.10, 6.1, 6.12, 7.2); may be given several times; all if left out
    #[arg(long)]
    kernel: Vec<String>,
    /// Rung the probes are pinned to (auto, lsm, fentry, kprobe, cgroup, tracepoint); may be given several times;
    /// all if left out
    #[arg(long)]
    hooks: Vec<String>,
    /// Boot with `bpf` among the active LSMs, without, or both
    #[arg(long, value_enum, default_value = "both")]
    lsm: LsmChoice,
    /// Only tests whose name contains this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Run this shell command instead of the behaviour tests, with `sandwatch` on its path
    #[arg(long, value_name = "COMMAND")]
    run: Option<String>,
    /// With --run: do not build sandwatch, do not put it into the VM
    #[arg(long, requires = "run")]
    bare: bool,
    /// Put a program of this machine into the VM's /usr/bin, with the libraries it needs
    #[arg(long, value_name = "FILE")]
    program: Vec<PathBuf>,
    /// Put a file or folder into the VM
    #[arg(long, value_name = "FROM:TO")]
    add: Vec<String>,
    /// Load a kernel module before the payload runs
    #[arg(long, value_name = "NAME", default_values_t = [String::from("overlay")])]
    module: Vec<String>,
    /// Further kernel parameters
    #[arg(long, default_value = "", value_name = "TEXT", allow_hyphen_values = true)]
    parameters: String,
    /// Seconds one VM may take
    #[arg(long, default_value_t = 600)]
    timeout: u64,
    /// Memory of a VM in MiB
    #[arg(long, default_value_t = 1024)]
    memory: u32,
    /// Processors of a VM
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// VMs at the same time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Write the programs' sizes on each kernel into docs/performance.md, and which privileges each rung takes into
    /// docs/security.md
    #[arg(long)]
    write_docs: bool,
    /// Fetch the kernels again even if the cache has them
    #[arg(long)]
    refresh: bool,
}

/// Which boots: one value stands for two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LsmChoice {
    With,
    Without,
    Both,
}

impl LsmChoice {
    fn boots(self) -> &'static [Lsm] {
        match self {
            Self::With => &[Lsm::With],
            Self::Without => &[Lsm::Without],
            Self::Both => &[Lsm::With, Lsm::Without],
        }
    }
}

/// Runs the command.
pub(crate) fn main(options: &Options) -> Result<ExitCode> {
    setup::vm_packages()?;
    let settings = Settings {
        again: false,
        until: None,
        memory_mib: options.memory,
        cpus: options.cpus,
        timeout: Duration::from_secs(options.timeout),
        parameters: options.parameters.clone(),
        refresh: options.refresh,
        jobs: options.jobs.max(1),
    };
    let releases = match options.kernel.as_slice() {
        [] => RELEASES.to_vec(),
        names => names.iter().map(|name| Release::named(name)).collect::<Result<_>>()?,
    };
    match &options.run {
        Some(command) => run_command(options, &settings, &releases, command),
        None => {
            let cells = matrix::cells(&releases, &options.hooks, options.lsm.boots());
            let results = run_tests(&cells, &settings, options.filter.as_deref())?;
            programs::report(&results, options.write_docs)?;
            if options.write_docs {
                privilege::document(&results)?;
            }
            Ok(exit_code(matrix::summary(&results)))
        }
    }
}

fn run_command(
    options: &Options,
    settings: &Settings,
    releases: &[Release],
    command: &str,
) -> Result<ExitCode> {
    let mut payload =
        Payload { script: command.to_owned(), modules: options.module.clone(), ..Payload::default() };
    if !options.bare {
        setup::build_tools()?;
        payload.add_agent(build::agent(Profile::Dev)?)?;
    }
    for program in &options.program {
        payload.programs.push(Extra::program(program)?);
    }
    for pair in &options.add {
        let (from, to) = pair.split_once(':').with_context(|| format!("--add {pair}: want FROM:TO"))?;
        payload.files.push(Extra { from: from.into(), to: to.trim_start_matches('/').to_owned() });
    }
    // A command is for looking at one thing: one boot with BPF LSM unless asked otherwise.
    let boots = if options.lsm == LsmChoice::Both { &[Lsm::With] } else { options.lsm.boots() };
    let hooks = options.hooks.first().map_or("auto", String::as_str);
    let mut good = true;
    for &release in releases {
        for &lsm in boots {
            let cell = Cell { release, lsm, hooks: hooks.to_owned() };
            let result = cell.run(&payload, settings, &mut |line| println!("{line}"))?;
            for file in &result.files {
                println!("-- {}", file.display());
            }
            println!("== {}", result.one_line());
            good &= result.code == Some(0);
        }
    }
    Ok(exit_code(good))
}

/// Runs one of our own programs beside the agent in a VM with BPF LSM, its output on the terminal.
pub(crate) fn run_program(
    kernel: &str,
    hooks: &str,
    agent: PathBuf,
    program: &Path,
    script: String,
) -> Result<CellResult> {
    setup::vm_packages()?;
    let mut payload = Payload { script, ..Payload::default() };
    payload.add_agent(agent)?;
    payload.programs.push(Extra::program(program)?);
    let settings = Settings { timeout: Duration::from_secs(1800), memory_mib: 3072, ..Settings::default() };
    let cell = Cell { release: Release::named(kernel)?, lsm: Lsm::With, hooks: hooks.to_owned() };
    cell.run(&payload, &settings, &mut |line| println!("{line}"))
}

fn exit_code(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

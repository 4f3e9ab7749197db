//! `cargo xtask vm-test`: real kernels in qemu.
//!
//! A VM is a Debian kernel (fetched into the cache by a private apt), an initramfs built here, and a
//! payload: the behaviour tests, or any command for debugging (`--run`). There is no disk and no network;
//! what the payload leaves in `/out` comes back.

mod apt;
mod cpio;
mod initramfs;
mod kernel;
mod module;
mod qemu;

use crate::host;
use anyhow::{Context, Result, bail};
use initramfs::{Contents, Extra};
use kernel::{RELEASES, Release};
use qemu::Machine;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What `cargo xtask vm-test` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Kernel (5.10, 6.1, 6.12, 7.2); may be given several times; all if left out
    #[arg(long)]
    kernel: Vec<String>,
    /// Boot with `bpf` among the active LSMs, without, or both
    #[arg(long, value_enum, default_value = "with")]
    lsm: Lsm,
    /// Run this shell command instead of the behaviour tests
    #[arg(long, value_name = "COMMAND")]
    run: Option<String>,
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
    #[arg(long, default_value = "", value_name = "TEXT")]
    parameters: String,
    /// Seconds one VM may take
    #[arg(long, default_value_t = 300)]
    timeout: u64,
    /// Memory of a VM in MiB
    #[arg(long, default_value_t = 1024)]
    memory: u32,
    /// Processors of a VM
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// Fetch the kernels again even if the cache has them
    #[arg(long)]
    refresh: bool,
}

/// Whether BPF is among the active LSMs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Lsm {
    With,
    Without,
    Both,
}

/// Runs the command.
pub(crate) fn main(options: &Options) -> Result<ExitCode> {
    let releases = match options.kernel.as_slice() {
        [] => RELEASES.to_vec(),
        names => names.iter().map(|name| Release::named(name)).collect::<Result<_>>()?,
    };
    let Some(command) = &options.run else { bail!("give a command with --run") };
    let cache = host::cache()?;
    let logs = host::target()?.join("vm");
    std::fs::create_dir_all(&logs)?;
    let mut failed = false;
    for release in releases {
        let kernel = release.kernel(&cache, options.refresh)?;
        for bpf_lsm in options.lsm.choices() {
            let name = format!("{}-{}", release.name, if bpf_lsm { "lsm" } else { "nolsm" });
            let scratch = logs.join(format!("{name}.work.{}", std::process::id()));
            std::fs::create_dir_all(&scratch)?;
            let contents = Contents {
                script: command.clone(),
                env: Vec::new(),
                programs: programs(options)?,
                files: extras(options)?,
                modules: options.module.clone(),
                timeout: Some(options.timeout.saturating_sub(30).max(5)),
            };
            let initramfs = scratch.join("initramfs.cpio");
            std::fs::write(&initramfs, contents.archive(&kernel, &scratch)?)?;
            let log = logs.join(format!("{name}.log"));
            let machine = Machine {
                kernel: &kernel,
                initramfs: &initramfs,
                bpf_lsm,
                parameters: &options.parameters,
                memory_mib: options.memory,
                cpus: options.cpus,
                timeout: Duration::from_secs(options.timeout),
                log: &log,
            };
            println!("== kernel {} ({}), {}", release.name, kernel.version, lsm_words(bpf_lsm));
            let outcome = machine.run_patiently(&mut |line| println!("{line}"))?;
            let out = logs.join(format!("{name}.out"));
            for file in qemu::unpack(&outcome.files, &out)? {
                println!("-- {}", file.display());
            }
            let verdict = match (outcome.timed_out, outcome.code) {
                (true, _) => "timed out".to_owned(),
                (_, Some(0)) => "ok".to_owned(),
                (_, Some(code)) => format!("failed with exit code {code}"),
                (_, None) => "ended without a verdict (kernel panic?)".to_owned(),
            };
            failed |= outcome.code != Some(0);
            println!(
                "== kernel {} {verdict}: boot {:.1} s, total {:.1} s; log {}",
                release.name,
                outcome.boot_seconds,
                outcome.seconds,
                log.display()
            );
            std::fs::remove_dir_all(&scratch)?;
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Lsm {
    fn choices(self) -> Vec<bool> {
        match self {
            Self::With => vec![true],
            Self::Without => vec![false],
            Self::Both => vec![true, false],
        }
    }
}

fn lsm_words(bpf_lsm: bool) -> &'static str {
    if bpf_lsm { "BPF LSM active" } else { "BPF LSM not active" }
}

fn programs(options: &Options) -> Result<Vec<Extra>> {
    options
        .program
        .iter()
        .map(|from| {
            let name = from.file_name().with_context(|| format!("{} names no file", from.display()))?;
            Ok(Extra { from: from.clone(), to: format!("usr/bin/{}", name.to_string_lossy()) })
        })
        .collect()
}

fn extras(options: &Options) -> Result<Vec<Extra>> {
    options
        .add
        .iter()
        .map(|pair| {
            let (from, to) = pair.split_once(':').with_context(|| format!("--add {pair}: want FROM:TO"))?;
            Ok(Extra { from: from.into(), to: to.trim_start_matches('/').to_owned() })
        })
        .collect()
}

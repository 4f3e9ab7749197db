//! `cargo xtask bench`: what the agent costs the machine it watches.
//!
//! Small loops (`load`) run in processes of their own, in and outside worker cgroups that the bench makes
//! (`lab`), with and without the agent in alternation (`ratios`). Medians are compared with the budgets;
//! a missed budget is reported as such and never fails the run. The same program measures inside a VM.

mod agent;
mod budget;
mod capacity;
mod delivery;
mod lab;
mod latency;
pub(crate) mod load;
pub(crate) mod measure;
mod progstats;
mod ratios;
mod report;
mod sink;
mod stats;

pub(crate) use report::into_document;

use crate::build::{self, Profile};
use crate::{host, setup, vm};
use anyhow::{Context, Result, bail};
use budget::{Budget, Report, Value};
use clap::ValueEnum;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `cargo xtask bench` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Measure in a VM with this kernel instead of on this machine
    #[arg(long, value_name = "KERNEL")]
    vm: Option<String>,
    /// Rung the probes are pinned to
    #[arg(long, default_value = "auto")]
    hooks: String,
    /// Alternations with and without the agent
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Only measurements whose name contains this text; docs/performance.md stays as it is
    #[arg(long)]
    only: Option<String>,
    /// Few and short measurements, to try the bench itself; docs/performance.md stays as it is
    #[arg(long)]
    quick: bool,
}

/// Builds, measures, prints, keeps.
pub(crate) fn main(options: &Options) -> Result<()> {
    setup::build_tools()?;
    let agent = build::agent(Profile::Release)?;
    let bench = build::executables(&["build", "--release", "--package", "xtask"])?
        .into_iter()
        .find(|executable| executable.name == "xtask")
        .context("cargo built no xtask")?
        .path;
    let dir = host::target()?.join("bench");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let (out, section) = match &options.vm {
        Some(kernel) => {
            (in_vm(options, kernel, agent, bench)?, format!("bench-vm-{kernel}-{}", options.hooks))
        }
        None => (here(options, &agent, &bench, &dir)?, format!("bench-host-{}", options.hooks)),
    };
    let text = std::fs::read_to_string(&out).with_context(|| format!("cannot read {}", out.display()))?;
    let mut report: Report = serde_json::from_str(&text).context("the bench wrote no report")?;
    if options.vm.is_none() && options.only.is_none() {
        report.values.push(judge_rate()?);
    }
    if options.vm.is_none() && options.only.as_deref().is_none_or(|only| "delivery".contains(only)) {
        report.values.extend(delivery::measure(options.quick)?);
    }
    let markdown = report::markdown(&report);
    println!("{markdown}");
    let kept =
        dir.join(if options.vm.is_some() { format!("{section}.json") } else { "overhead.json".to_owned() });
    std::fs::write(&kept, serde_json::to_string_pretty(&report)?)
        .with_context(|| format!("cannot write {}", kept.display()))?;
    if !options.quick && options.only.is_none() {
        into_document(&host::repo()?.join("docs/performance.md"), &section, &markdown)?;
    }
    let missed = report.missed();
    println!("{}: {} budgets missed", kept.display(), missed.len());
    Ok(())
}

fn here(options: &Options, agent: &Path, bench: &Path, dir: &Path) -> Result<PathBuf> {
    let out = dir.join("overhead.json");
    let mut command = if host::is_root() { Command::new(bench) } else { Command::new("sudo") };
    if !host::is_root() {
        command.arg("--").arg(bench);
    }
    command
        .arg("bench-measure")
        .args(["--hooks", &options.hooks, "--rounds", &options.rounds.to_string()])
        .arg("--agent")
        .arg(agent)
        .arg("--rules")
        .arg(host::repo()?.join("rules"))
        .arg("--out")
        .arg(&out);
    if options.quick {
        command.arg("--quick");
    }
    if let Some(only) = &options.only {
        command.args(["--only", only]);
    }
    host::checked(&mut command)?;
    Ok(out)
}

fn in_vm(options: &Options, kernel: &str, agent: PathBuf, bench: PathBuf) -> Result<PathBuf> {
    let quick = if options.quick { " --quick" } else { "" };
    let script = format!(
        "xtask bench-measure --emulated --hooks {} --rounds {}{quick} --agent /usr/bin/sandwatch --rules \
         /usr/lib/sandwatch/rules --out /out/overhead.json",
        options.hooks, options.rounds
    );
    let result = vm::run_program(kernel, &options.hooks, agent, &bench, script)?;
    match result.files.iter().find(|file| file.ends_with("overhead.json")) {
        Some(file) => Ok(file.clone()),
        None => bail!("the bench in the VM gave no report: {}", result.one_line()),
    }
}

/// Events a second that one core decodes and judges, the best of three: it needs no kernel, so what disturbs
/// it is only ever other load.
fn judge_rate() -> Result<Value> {
    #[derive(serde::Deserialize)]
    struct Judged {
        events: u64,
        seconds: f64,
    }
    let program = build::executables(&["bench", "--no-run", "--package", "monitor", "--bench", "judge"])?
        .into_iter()
        .find(|executable| executable.name == "judge")
        .context("cargo built no bench `judge`")?;
    let mut best: f64 = 0.0;
    for _ in 0..3 {
        let line = host::capture(&mut Command::new(&program.path))?;
        let judged: Judged =
            serde_json::from_str(line.trim()).context("the bench `judge` printed no result")?;
        best = best.max(judged.events as f64 / judged.seconds);
    }
    Ok(Value {
        what: "decode to judge, one core, all shipped rules".to_owned(),
        value: best,
        unit: "events/s".to_owned(),
        budget: Some(Budget::AtLeast(1_000_000.0)),
    })
}

/// A value as it is written on the command line.
fn value_name(load: load::Load) -> String {
    load.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

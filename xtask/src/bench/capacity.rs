//! Floods, memory, idleness: the agent at its limits and at rest.

use super::agent::{Agent, Summary};
use super::lab::{Lab, Rates, finish};
use super::load::{Load, Options};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

/// What a flood came to.
pub(crate) struct Flood {
    /// Opens a second that the flooders made.
    pub(crate) per_second: f64,
    /// The same without the agent, of a single flooder.
    pub(crate) alone: Option<f64>,
    pub(crate) opens: u64,
    /// The agent's own account.
    pub(crate) summary: Summary,
}

/// Watched opens as fast as `flooders` processes can, each in a worker of its own.
pub(crate) fn flood(lab: &Lab, program: &Path, hooks: &str, flooders: usize, millis: u64) -> Result<Flood> {
    let workers: Vec<_> =
        (0..flooders).map(|n| lab.add_cgroup(&format!("worker-flood-{n}"))).collect::<Result<_>>()?;
    let options = Options { load: Load::Open, path: Some(lab.secret_file()), port: 0, millis, rate: 0 };
    let alone = match &workers[..] {
        [worker] => {
            let options = Options { millis: millis / 5, ..options.clone() };
            Some(1e9 / lab.run(Some(worker), &options)?.each())
        }
        _ => None,
    };
    let agent = Agent::start(lab, program, hooks, Rates::Shipped)?;
    let started = Instant::now();
    let children: Vec<Child> =
        workers.iter().map(|worker| lab.start(Some(worker), &options)).collect::<Result<_>>()?;
    let mut opens = 0;
    for child in children {
        opens += finish(child)?.operations;
    }
    let seconds = started.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_millis(300));
    let summary = agent.stop()?;
    Ok(Flood { per_second: opens as f64 / seconds, alone, opens, summary })
}

/// Share of one processor that the agent takes while nothing happens.
pub(crate) fn idle_share(agent: &Agent, time: Duration) -> Result<f64> {
    let before = agent.cpu()?;
    std::thread::sleep(time);
    Ok(agent.cpu()?.saturating_sub(before).as_secs_f64() / time.as_secs_f64())
}

/// Fills `cgroups` workers with `processes` live processes altogether, and calls `look` while they live.
pub(crate) fn crowded<T>(
    lab: &Lab,
    cgroups: usize,
    processes: usize,
    look: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let each = processes.checked_div(cgroups).context("no cgroups")?.saturating_sub(1);
    let mut parents = Parents(Vec::new());
    for number in 0..cgroups {
        let worker = lab.add_cgroup(&format!("worker-crowd-{number}"))?;
        let options =
            Options { load: Load::Crowd, path: None, port: 0, millis: 600_000, rate: u64::try_from(each)? };
        parents.0.push(lab.start(Some(&worker), &options)?);
    }
    for parent in &mut parents.0 {
        let Some(stdout) = parent.stdout.take() else { bail!("a crowd has no output") };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.is_empty() {
            bail!("a crowd of {each} processes could not be made");
        }
    }
    std::thread::sleep(Duration::from_secs(2));
    look()
}

/// Ends the crowds' parents; their children are set to go with them.
struct Parents(Vec<Child>);

impl Drop for Parents {
    fn drop(&mut self) {
        for parent in &mut self.0 {
            if parent.kill().is_ok() {
                let _ = parent.wait();
            }
        }
        // Orphans are reaped by someone else, in its own time; their cgroups are busy until then.
        std::thread::sleep(Duration::from_millis(500));
    }
}

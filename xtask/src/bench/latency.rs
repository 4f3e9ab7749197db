//! From execve to the alert's line in a file.

use super::agent::Agent;
use super::lab::{Lab, finish};
use super::load::{Load, Options, monotonic_ns};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Milliseconds of each exec. Every exec happens in a worker of its own, so that each is a new incident with
/// a line of its own; the worker's first process may execute nothing.
///
/// With `background`, another worker opens a watched file that often a second meanwhile.
pub(crate) fn measure(lab: &Lab, prefix: &str, count: usize, background: u64) -> Result<Vec<f64>> {
    let mut workers = Vec::new();
    for number in 0..count {
        workers.push(lab.add_cgroup(&format!("strict-{prefix}-{number}"))?);
    }
    // New cgroups are noticed by the agent in its own time; what it needs for that is not what is measured.
    std::thread::sleep(Duration::from_millis(1500));
    let noise = if background > 0 {
        let worker = lab.cgroup.join("worker");
        let time = u64::try_from(count)? * 60 + 4000;
        let options = load(Load::PacedOpen, Some(lab.secret_file()), time, background);
        Some(lab.start(Some(&worker), &options)?)
    } else {
        None
    };
    let mut times = Vec::new();
    for worker in &workers {
        times.push(one(lab, worker)?);
    }
    if let Some(mut noise) = noise {
        noise.kill().context("cannot end the background load")?;
        noise.wait()?;
    }
    Ok(times)
}

fn one(lab: &Lab, worker: &std::path::Path) -> Result<f64> {
    let mut alerts = std::fs::File::open(lab.alerts()).ok();
    if let Some(file) = &mut alerts {
        file.seek(SeekFrom::End(0))?;
    }
    let name = worker.file_name().context("a worker has a name")?.to_string_lossy().into_owned();
    let options = load(Load::ExecOnce, Some(PathBuf::from("/bin/true")), 20, 0);
    let mut child = lab.start(Some(worker), &options)?;
    let Some(stdout) = child.stdout.take() else { bail!("the exec loop has no output") };
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut text = String::new();
    let seen = loop {
        if alerts.is_none() {
            alerts = std::fs::File::open(lab.alerts()).ok();
        }
        if let Some(file) = &mut alerts {
            file.read_to_string(&mut text)?;
            if text.lines().any(|line| line.contains(&name)) {
                break monotonic_ns();
            }
        }
        if Instant::now() > deadline {
            bail!("no alert for the exec in {name} within 10 s");
        }
        std::thread::sleep(Duration::from_micros(30));
    };
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let before: u64 = line.trim().parse().context("the exec loop printed no time")?;
    child.wait()?;
    // Something before the exec was alerted on: then it is not the exec's line that was timed.
    let passed = seen.checked_sub(before).with_context(|| format!("{name} had an alert before its exec"))?;
    Ok(passed as f64 / 1e6)
}

/// Processor time the agent takes for 1,000 events, in milliseconds, at a steady rate; and the events' rate.
pub(crate) fn cpu_per_thousand(lab: &Lab, agent: &Agent, rate: u64) -> Result<(f64, f64)> {
    let worker = lab.cgroup.join("worker");
    let before = agent.cpu()?;
    let options = load(Load::PacedOpen, Some(lab.secret_file()), 4000, rate);
    let measured = finish(lab.start(Some(&worker), &options)?)?;
    std::thread::sleep(Duration::from_millis(200));
    let used = agent.cpu()?.saturating_sub(before);
    let events = measured.operations as f64;
    Ok((used.as_secs_f64() * 1e3 / (events / 1e3), events / (measured.nanoseconds / 1e9)))
}

fn load(load: Load, path: Option<PathBuf>, millis: u64, rate: u64) -> Options {
    Options { load, path, port: 0, millis, rate }
}

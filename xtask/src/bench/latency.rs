//! From execve to the alert's line in a file.

use super::agent::Agent;
use super::lab::{Lab, finish};
use super::load::{Load, Options, monotonic_ns};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant, SystemTime};

/// What an exec took, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exec {
    /// From before the call to the alert's line.
    pub(crate) line: f64,
    /// Of these, until the kernel raised the event: what the call itself takes on this machine.
    pub(crate) event: f64,
}

/// Each exec. Every one happens in a worker of its own, so that each is a new incident with
/// a line of its own; the worker's first process may execute nothing.
///
/// With `background`, another worker opens a watched file that often a second meanwhile.
pub(crate) fn measure(lab: &Lab, prefix: &str, count: usize, background: u64) -> Result<Vec<Exec>> {
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
        Some(Noise(lab.start(Some(&worker), &options)?))
    } else {
        None
    };
    let mut times = Vec::new();
    for worker in &workers {
        times.push(one(lab, worker)?);
    }
    drop(noise);
    Ok(times)
}

/// The background load. It ends with the measurement, also with one that fails: what is measured next is not to have it beside.
struct Noise(Child);

impl Drop for Noise {
    fn drop(&mut self) {
        if self.0.kill().is_ok() {
            let _ = self.0.wait();
        }
    }
}

fn one(lab: &Lab, worker: &std::path::Path) -> Result<Exec> {
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
    let (seen, since_event) = loop {
        if alerts.is_none() {
            alerts = std::fs::File::open(lab.alerts()).ok();
        }
        if let Some(file) = &mut alerts {
            file.read_to_string(&mut text)?;
            // What is behind the last line feed is half a line.
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            if let Some(line) = whole.lines().find(|line| line.contains(&name)) {
                let (now, wall) = (monotonic_ns(), SystemTime::now());
                break (now, since_event(line, wall)?);
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
    let line = passed as f64 / 1e6;
    Ok(Exec { line, event: line - since_event.as_secs_f64() * 1e3 })
}

/// How long before `now` the event of an alert was.
fn since_event(line: &str, now: SystemTime) -> Result<Duration> {
    #[derive(serde::Deserialize)]
    struct Alert {
        time: String,
    }
    let alert: Alert = serde_json::from_str(line).context("the alert is no JSON")?;
    let event = since_epoch(&alert.time).with_context(|| format!("`{}` is no time", alert.time))?;
    Ok(now.duration_since(SystemTime::UNIX_EPOCH)?.saturating_sub(event))
}

/// Reads `2026-11-27T17:38:34.783984123Z`.
fn since_epoch(text: &str) -> Option<Duration> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let numbers = |text: &str, by: char| -> Option<[u64; 3]> {
        let numbers: Vec<u64> = text.split(by).map(str::parse).collect::<Result<_, _>>().ok()?;
        numbers.try_into().ok()
    };
    let ([year, month, day], [hours, minutes, seconds]) = (numbers(date, '-')?, numbers(time, ':')?);
    // Days since the epoch, in years that begin with March so that the leap day is their last.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    let nanoseconds = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some(Duration::new(((days * 24 + hours) * 60 + minutes) * 60 + seconds, nanoseconds))
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

#[cfg(test)]
mod tests {
    use super::since_epoch;

    #[test]
    fn time_of_an_alert_is_read_across_leap_days() {
        let time = |text| since_epoch(text).map(|time| (time.as_secs(), time.subsec_nanos()));
        assert_eq!(time("1970-01-01T00:00:00Z"), Some((0, 0)));
        assert_eq!(time("2024-02-29T12:00:01.5Z"), Some((1_709_208_001, 500_000_000)));
        assert_eq!(time("2026-11-27T17:38:34.783984123Z"), Some((1_795_801_114, 783_984_123)));
        assert_eq!(time("yesterday"), None);
    }
}

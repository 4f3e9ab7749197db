//! The measured agent: started, waited for, looked at from outside, ended.

use super::lab::{Lab, Rates};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long an agent may take to be ready; emulated kernels are slow to verify programs.
const READY: Duration = Duration::from_secs(90);

/// A running `sandwatch run`.
pub(crate) struct Agent {
    child: Child,
    log: Receiver<String>,
    /// From its start to its word that it is ready.
    pub(crate) ready: Duration,
}

/// Events as the agent counted them, from the line it ends with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Summary {
    pub(crate) seen: u64,
    pub(crate) sent: u64,
    pub(crate) filtered: u64,
    /// Everything that was not sent and not filtered, by whatever name.
    pub(crate) lost: u64,
    /// Of these, what a full ring buffer refused.
    pub(crate) ring_lost: u64,
}

impl Agent {
    /// Starts the agent and waits until it is ready.
    ///
    /// # Errors
    /// It ended, or was not ready in time; the message carries the end of its log.
    pub(crate) fn start(lab: &Lab, program: &Path, hooks: &str, rates: Rates) -> Result<Self> {
        let started = Instant::now();
        let mut child = Command::new(program)
            .args(["run", "--hooks", hooks, "--config"])
            .arg(lab.config(rates))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let Some(stderr) = child.stderr.take() else { bail!("the agent has no standard error") };
        let (sender, log) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut agent = Self { child, log, ready: Duration::ZERO };
        agent.wait_ready(started)?;
        Ok(agent)
    }

    fn wait_ready(&mut self, started: Instant) -> Result<()> {
        let mut seen: Vec<String> = Vec::new();
        loop {
            match self.log.recv_timeout(READY.saturating_sub(started.elapsed())) {
                Ok(line) if is_ready(&line) => {
                    self.ready = started.elapsed();
                    return Ok(());
                }
                Ok(line) => seen.push(line),
                Err(error) => {
                    let how = match error {
                        RecvTimeoutError::Timeout => "was not ready in time",
                        RecvTimeoutError::Disconnected => "ended before it was ready",
                    };
                    bail!("the agent {how}:\n{}", seen[seen.len().saturating_sub(15)..].join("\n"));
                }
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it and reads its closing line.
    pub(crate) fn stop(mut self) -> Result<Summary> {
        let pid = i32::try_from(self.child.id())?;
        // SAFETY: kill has no memory preconditions; the pid is a child that was not waited for yet.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        let status = self.child.wait()?;
        let lines: Vec<String> = self.log.iter().collect();
        if !status.success() {
            bail!("the agent ended with {status}:\n{}", lines[lines.len().saturating_sub(15)..].join("\n"));
        }
        lines
            .iter()
            .rev()
            .find_map(|line| summary(line))
            .with_context(|| format!("the agent ended without its summary line:\n{}", lines.join("\n")))
    }

    /// Resident memory in bytes, now and at its highest.
    pub(crate) fn memory(&self) -> Result<(u64, u64)> {
        Ok((self.status_kib("VmRSS:")? * 1024, self.status_kib("VmHWM:")? * 1024))
    }

    /// A line of `/proc/PID/status` that is in KiB.
    pub(crate) fn status_kib(&self, key: &str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|number| number.parse().ok())
            .with_context(|| format!("/proc/PID/status has no {key}"))
    }

    /// Processor time used so far, by all its threads and its canary's helper.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let own = threads_cpu(self.pid())?;
        let helpers = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid()))?;
        let helpers = helpers.split_whitespace().filter_map(|pid| pid.parse().ok());
        // One that has ended since is simply not there.
        Ok(own + helpers.filter_map(|pid| threads_cpu(pid).ok()).sum())
    }

    /// Memory of all its BPF maps in bytes, as the kernel accounts it, each map once.
    pub(crate) fn map_memory(&self) -> Result<u64> {
        let mut total = 0;
        let mut seen = BTreeSet::new();
        for info in fdinfo(self.pid())? {
            if let (Some(id), Some(bytes)) = (number(&info, "map_id:"), number(&info, "memlock:"))
                && seen.insert(id)
            {
                total += bytes;
            }
        }
        Ok(total)
    }

    /// Ids of its BPF programs.
    pub(crate) fn programs(&self) -> Result<BTreeSet<u64>> {
        Ok(fdinfo(self.pid())?.iter().filter_map(|info| number(info, "prog_id:")).collect())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && self.child.kill().is_ok() {
            let _ = self.child.wait();
        }
    }
}

/// Processor time of all threads that a process has now.
fn threads_cpu(pid: u32) -> Result<Duration> {
    let dir = PathBuf::from(format!("/proc/{pid}/task"));
    let mut nanoseconds = 0u64;
    for thread in std::fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
        // schedstat counts nanoseconds, where stat has ticks of 10 ms.
        let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let number = text.split_whitespace().next().and_then(|number| number.parse::<u64>().ok());
        nanoseconds += number.with_context(|| format!("a schedstat of process {pid} has no number"))?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

fn fdinfo(pid: u32) -> Result<Vec<String>> {
    let dir = PathBuf::from(format!("/proc/{pid}/fdinfo"));
    let entries = std::fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?;
    // A descriptor that was closed meanwhile is simply not there.
    Ok(entries.filter_map(Result::ok).filter_map(|e| std::fs::read_to_string(e.path()).ok()).collect())
}

fn number(info: &str, key: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix(key)).and_then(|value| value.trim().parse().ok())
}

fn is_ready(line: &str) -> bool {
    line.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == "ready" || word == "watching")
}

/// Reads `seen N, sent N, filtered N, lost N (…), throttled N, errors N; …`. What was throttled or failed was
/// lost too, only under another name.
fn summary(line: &str) -> Option<Summary> {
    let words: Vec<&str> =
        line.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let after = |key: &str| {
        let at = words.iter().position(|word| *word == key)?;
        words.get(at + 1)?.parse::<u64>().ok()
    };
    Some(Summary {
        seen: after("seen")?,
        sent: after("sent")?,
        filtered: after("filtered")?,
        lost: after("lost")? + after("throttled")? + after("errors")?,
        ring_lost: after("lost")?,
    })
}

#[cfg(test)]
mod tests {
    use super::{Summary, is_ready, number, summary};

    #[test]
    fn summary_line_is_read_with_every_kind_of_loss() {
        let line = "sandwatch: seen 10, sent 4, filtered 1, lost 1 (priority 1, lifecycle 0), throttled 3, errors 1; \
                    received 4, findings 0, alerts 2";
        let expected = Summary { seen: 10, sent: 4, filtered: 1, lost: 5, ring_lost: 1 };
        assert_eq!(summary(line), Some(expected));
        assert_eq!(summary("events: none"), None);
    }

    #[test]
    fn ready_is_a_word_of_its_own() {
        assert!(is_ready(r#"{"message":"ready: watching 2 workers"}"#));
        assert!(!is_ready("rules are already loaded"));
    }

    #[test]
    fn number_is_read_from_fdinfo() {
        assert_eq!(number("pos:\t0\nmap_id:\t17\nmemlock:\t4096\n", "memlock:"), Some(4096));
    }
}

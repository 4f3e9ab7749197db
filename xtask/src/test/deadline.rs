//! The time all tiers share.

use anyhow::{Context, Result, bail};
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A moment after which nothing is started and what runs is ended.
pub(crate) struct Deadline {
    at: Option<Instant>,
}

/// What a command left behind.
pub(crate) struct Finished {
    pub(crate) good: bool,
    /// Standard output and error, in the order they came.
    pub(crate) output: String,
    pub(crate) timed_out: bool,
}

impl Deadline {
    /// Counted from now; none means no end.
    pub(crate) fn new(time: Option<Duration>) -> Self {
        Self { at: time.and_then(|time| Instant::now().checked_add(time)) }
    }

    /// Time left.
    pub(crate) fn left(&self) -> Duration {
        self.at.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()))
    }

    /// The last moment at which something that takes so long may begin; none if there is always time.
    pub(crate) fn last_start(&self, takes: Duration) -> Option<Instant> {
        // Without room for it the moment has passed.
        self.at.map(|at| at.checked_sub(takes).unwrap_or_else(Instant::now))
    }

    /// Runs a command to its end or to the deadline, its output collected.
    pub(crate) fn run(&self, command: &mut Command) -> Result<Finished> {
        let shown = crate::host::shown(command);
        let (mut reader, writer) = std::io::pipe().context("cannot make a pipe")?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let mut child = command.spawn().with_context(|| format!("cannot start {shown}"))?;
        // The command still holds the pipe's writing end, and so would keep the reader waiting.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let collector = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let result = reader.read_to_end(&mut bytes);
            result.map(|_| String::from_utf8_lossy(&bytes).into_owned())
        });
        let mut timed_out = false;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if self.left().is_zero() && !timed_out {
                timed_out = true;
                child.kill()?;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let Ok(output) = collector.join() else { bail!("the thread that reads {shown} died") };
        Ok(Finished { good: status.success(), output: output?, timed_out })
    }
}

/// `90s`, `80m`, `2h`.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    let explain = || format!("`{text}` is no time; write 90s, 80m or 2h");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(explain)?;
    let number: u64 = number.parse().map_err(|_| explain())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(explain()),
    };
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}

#[cfg(test)]
mod tests {
    use super::{Deadline, parse_time};
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(parse_time("80m"), Ok(Duration::from_secs(4800)));
        assert_eq!(parse_time("90s"), Ok(Duration::from_secs(90)));
        for bad in ["", "80", "m", "8 m", "é"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn output_of_both_streams_is_collected() {
        let finished =
            Deadline::new(None).run(Command::new("sh").args(["-c", "echo a; echo b >&2; exit 3"])).unwrap();
        assert_eq!(finished.output, "a\nb\n");
        assert!(!finished.good && !finished.timed_out);
    }

    #[test]
    fn a_command_past_the_deadline_is_ended() {
        let finished =
            Deadline::new(Some(Duration::from_millis(50))).run(Command::new("sleep").arg("60")).unwrap();
        assert!(finished.timed_out && !finished.good);
    }
}

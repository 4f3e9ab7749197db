//! The agent as a child process: `sandwatch run`, its alerts and its log.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{DemoError, interrupt};

/// What the agent's log says of a worker, of its profile, and once its probes are in place and its workers are known.
const FOUND: &str = "worker found";
const CHOSEN: &str = "profile chosen";
const READY: &str = "watching";
/// Lines of the log that an error shows.
const TAIL: usize = 12;

/// The running agent. Dropping it kills it.
pub(super) struct Agent {
    child: Child,
    alerts: Lines<ChildStdout>,
    log: Lines<ChildStderr>,
    tail: Vec<String>,
}

/// A worker as the agent's log names it.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Name.
    pub(super) name: String,
    /// Path below the cgroup2 root.
    pub(super) cgroup: String,
    /// Profile.
    pub(super) profile: String,
}

impl Agent {
    /// Starts `sandwatch run` with this configuration, its alerts coming here as JSON lines.
    pub(super) fn start(config: &Path, hooks: Option<&str>) -> Result<Self, DemoError> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("sandwatch").args(["run", "--output", "-", "--config"]).arg(config);
        if let Some(hooks) = hooks {
            command.args(["--hooks", hooks]);
        }
        command
            .env("SANDWATCH_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Ctrl-C is for the demo, which then ends its agent in order.
        command.process_group(0);
        // SAFETY: between fork and exec only prctl is called, which is async-signal-safe.
        unsafe {
            command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?));
        }
        let failed = |source| DemoError::Process { what: "cannot start the agent", source };
        let mut child = command.spawn().map_err(failed)?;
        let pipes = (child.stdout.take(), child.stderr.take());
        let (Some(out), Some(err)) = pipes else { return Err(failed(io::ErrorKind::BrokenPipe.into())) };
        Ok(Self {
            alerts: Lines::new(out).map_err(failed)?,
            log: Lines::new(err).map_err(failed)?,
            child,
            tail: Vec::new(),
        })
    }

    /// Waits until the agent says that it is ready; the workers it found by then.
    pub(super) fn wait_ready(&mut self, timeout: Duration) -> Result<Vec<Found>, DemoError> {
        let until = Instant::now() + timeout;
        let mut workers: Vec<Found> = Vec::new();
        loop {
            for line in self.log_lines() {
                let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
                match text("message").as_str() {
                    FOUND => workers.push(Found {
                        name: text("worker"),
                        cgroup: text("cgroup"),
                        ..Found::default()
                    }),
                    CHOSEN => {
                        let name = text("worker");
                        workers
                            .iter_mut()
                            .filter(|found| found.name == name)
                            .for_each(|w| w.profile = text("profile"));
                    }
                    READY => return Ok(workers),
                    _ => {}
                }
            }
            if self.log.closed {
                let status =
                    self.child.wait().map_err(|source| DemoError::Process { what: "wait", source })?;
                return Err(self.error(format!("ended before it was ready ({status})"), status.code()));
            }
            if Instant::now() > until {
                return Err(self.error(format!("was not ready within {} s", timeout.as_secs()), None));
            }
            self.wait(until)?;
        }
    }

    /// Alerts that came since the last call, as JSON lines.
    pub(super) fn alerts(&mut self) -> Vec<String> {
        self.log_lines();
        self.alerts.take()
    }

    /// Waits for something from the agent, or until then.
    pub(super) fn wait(&self, until: Instant) -> Result<(), DemoError> {
        let open: Vec<BorrowedFd<'_>> =
            [(self.alerts.closed, self.alerts.from.as_fd()), (self.log.closed, self.log.from.as_fd())]
                .into_iter()
                .filter_map(|(closed, fd)| (!closed).then_some(fd))
                .collect();
        interrupt::wait(&open, until)
    }

    /// Ends the agent in order and returns what it still had to say: alerts, and its summary line.
    pub(super) fn stop(mut self) -> (Vec<String>, Option<String>) {
        let _ = kill(pid(&self.child), Signal::SIGTERM);
        let until = Instant::now() + Duration::from_secs(5);
        let mut alerts = Vec::new();
        while !(self.alerts.closed && self.log.closed) && Instant::now() < until {
            alerts.extend(self.alerts.take());
            self.log_lines();
            std::thread::sleep(Duration::from_millis(5));
        }
        let summary =
            self.tail.iter().rev().find_map(|line| line.strip_prefix("sandwatch: ")).map(str::to_owned);
        (alerts, summary)
    }

    fn log_lines(&mut self) -> Vec<Value> {
        let lines = self.log.take();
        self.tail.extend(lines.iter().map(|line| readable(line)));
        let extra = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..extra);
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn error(&self, what: String, code: Option<i32>) -> DemoError {
        DemoError::Agent { what, log: self.tail.clone(), code }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

/// A line of the JSON log as a person reads it.
fn readable(line: &str) -> String {
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(line) else { return line.to_owned() };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    format!("{} {}", text("level"), text("message"))
}

/// Whole lines of a pipe that is read without blocking.
struct Lines<R> {
    from: R,
    rest: Vec<u8>,
    closed: bool,
}

impl<R: Read + AsFd> Lines<R> {
    fn new(from: R) -> io::Result<Self> {
        let flags = OFlag::from_bits_retain(fcntl(from.as_fd(), FcntlArg::F_GETFL)?);
        fcntl(from.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(Self { from, rest: Vec::new(), closed: false })
    }

    fn take(&mut self) -> Vec<String> {
        let mut buffer = [0u8; 16384];
        while !self.closed {
            match self.from.read(&mut buffer) {
                Ok(0) => self.closed = true,
                Ok(count) => self.rest.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.closed = true,
            }
        }
        let end = if self.closed {
            self.rest.len()
        } else {
            self.rest.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1)
        };
        let whole: Vec<u8> = self.rest.drain(..end).collect();
        String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect()
    }
}

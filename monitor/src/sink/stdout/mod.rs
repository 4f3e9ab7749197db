//! Standard output: lines for people on a terminal, JSON otherwise.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::alert::MAX_ALERT;
use crate::config::SinkConfig;
use crate::delivery::{Item, Limits, Outcome, Promise, Transport};
use crate::sink::begun::Begun;
use crate::sink::in_order::in_order;

/// At most this much at once goes to a pipe or terminal: what poll promises room for (`PIPE_BUF`).
const CHUNK: usize = 4096;

/// Standard output.
#[derive(Debug)]
pub struct StdoutSink {
    timeout: Duration,
    max_bytes: usize,
    begun: Begun,
}

impl StdoutSink {
    /// As configured.
    pub fn new(config: &SinkConfig) -> Self {
        let max_bytes =
            config.max_bytes.map_or(MAX_ALERT, |bytes| usize::try_from(bytes.0).unwrap_or(MAX_ALERT));
        Self { timeout: config.timeout.0, max_bytes, begun: Begun::default() }
    }

    fn send_to(&mut self, out: BorrowedFd<'_>, batch: &[Item]) -> Vec<Outcome> {
        in_order(batch, |item| match self.write(out, item) {
            Ok(()) => Outcome::Accepted,
            Err(error) => Outcome::Retry { reason: error.to_string(), after: None },
        })
    }

    fn write(&mut self, out: BorrowedFd<'_>, item: &Item) -> io::Result<()> {
        let mut line = item.text.clone();
        line.push(b'\n');
        let until = Instant::now() + self.timeout;
        self.begun.write(item.seq, &line, &mut |bytes| write_some(out, bytes, until))
    }
}

impl Transport for StdoutSink {
    fn promise(&self) -> Promise {
        Promise::Unacknowledged
    }

    fn limits(&self) -> Limits {
        Limits { items: 64, bytes: 1 << 20, max_bytes: self.max_bytes }
    }

    fn target(&self) -> String {
        "standard output".to_owned()
    }

    fn send(&mut self, batch: &[Item]) -> Vec<Outcome> {
        self.send_to(io::stdout().as_fd(), batch)
    }

    fn shared(&self) -> bool {
        false
    }
}

fn write_some(out: BorrowedFd<'_>, bytes: &[u8], until: Instant) -> io::Result<usize> {
    // The lock keeps others' lines apart; its buffer is gone around, which could hold back what a full pipe refused.
    let _others = io::stdout().lock();
    let mut fds = [PollFd::new(out, PollFlags::POLLOUT)];
    let left = until.saturating_duration_since(Instant::now());
    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
    if poll(&mut fds, timeout)? == 0 {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads it"));
    }
    // An error condition is for the write to report.
    let count = nix::unistd::write(out, &bytes[..bytes.len().min(CHUNK)])?;
    if count == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(count) }
}

/// Columns of the terminal, if it is one.
pub(super) fn terminal_width() -> Option<usize> {
    io::stdout().is_terminal().then(|| super::terminal_columns(io::stdout().as_fd()))
}

#[cfg(test)]
mod tests;

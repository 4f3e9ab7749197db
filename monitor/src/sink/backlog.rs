//! Formatted alerts that wait to be written, bounded.

use std::collections::VecDeque;
use std::io;

use super::output::Output;

/// The oldest go first: to the output while it takes them, overboard (counted) when the bound is reached.
#[derive(Debug)]
pub(super) struct Backlog {
    lines: VecDeque<Vec<u8>>,
    /// Bytes of the first line that are written already.
    written: usize,
    bound: usize,
    pub(super) done: u64,
    pub(super) dropped: u64,
}

impl Backlog {
    pub(super) fn new(bound: usize) -> Self {
        Self { lines: VecDeque::new(), written: 0, bound: bound.max(1), done: 0, dropped: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Takes a line; says whether an older one had to go for it. A half-written line is never the one: its rest would be
    /// missing in the middle of the file.
    pub(super) fn push(&mut self, line: Vec<u8>) -> bool {
        let full = self.lines.len() >= self.bound;
        if full {
            let oldest = usize::from(self.written > 0);
            if self.lines.remove(oldest).is_none() {
                // The bound is one and that one is half written: the new line is what goes.
                self.dropped += 1;
                return true;
            }
            self.dropped += 1;
        }
        self.lines.push_back(line);
        full
    }

    /// Writes as much as the output takes. `Ok` also when it would block.
    pub(super) fn write_to(&mut self, output: &mut dyn Output) -> io::Result<()> {
        while let Some(line) = self.lines.front() {
            match output.write(line.get(self.written..).unwrap_or_default()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if self.written >= line.len() {
                self.lines.pop_front();
                self.written = 0;
                self.done += 1;
            }
        }
        Ok(())
    }

    /// The output was replaced: a half-written line starts over, the new file has none of it.
    pub(super) fn restart_line(&mut self) {
        self.written = 0;
    }
}

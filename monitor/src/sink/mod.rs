//! Where alerts go.
//!
//! [`Sinks`] hands each alert to every sink whose filter takes it; a [`Sink`] keeps what it cannot write yet and tries
//! again on [`Sinks::tick`]. Nothing here blocks the agent or ends it: a sink that fails says so once, counts what it had
//! to drop, and says so again when it has recovered. `backlog` is the queue between formatting and writing, `output`
//! what is written to (a file, standard output).

mod backlog;
mod filter;
mod lines;
pub mod net;
mod output;

use std::io;
use std::path::PathBuf;

pub use filter::Filter;
pub use lines::LineSink;
pub(crate) use output::terminal_columns;
pub use output::{FileOutput, Output, StdoutOutput};

use crate::alert::{Alert, SafeAlert};
use crate::config::{SinkConfig, SinkKind};

/// Why a sink could not take or write an alert.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// A file could not be opened.
    #[error("sink {sink:?}: {}: cannot be opened: {source}; alerts are kept in memory until it can", path.display())]
    Open {
        /// Sink.
        sink: String,
        /// File.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not one to append to.
    #[error("sink {sink:?}: {}: {what}; give another path", path.display())]
    Unfit {
        /// Sink.
        sink: String,
        /// File.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A write failed; what was not written is kept.
    #[error("sink {sink:?}: cannot write to {target}: {source}; {waiting} alert(s) are kept in memory")]
    Write {
        /// Sink.
        sink: String,
        /// Where to.
        target: String,
        /// Why.
        source: io::Error,
        /// Alerts that wait.
        waiting: usize,
    },
    /// The memory set aside for a failing sink is full.
    #[error("sink {sink:?}: its buffer is full, {dropped} alert(s) were dropped so far; {cause}")]
    Full {
        /// Sink.
        sink: String,
        /// Alerts dropped since the agent started.
        dropped: u64,
        /// Why it does not empty.
        cause: String,
    },
}

/// A place where alerts go.
pub trait Sink {
    /// Its name.
    fn name(&self) -> &str;

    /// Takes an alert and writes it if it can. On an error that says `kept`, the alert waits for the next
    /// [`flush`](Sink::flush); nothing has to be handed in twice.
    fn deliver(&mut self, alert: &SafeAlert) -> Result<(), SinkError>;

    /// Writes what waits, as far as it goes without blocking.
    fn flush(&mut self) -> Result<(), SinkError>;

    /// Opens its file again under its name, after it was rotated away.
    fn reopen(&mut self) -> Result<(), SinkError>;

    /// How it is doing.
    fn stats(&self) -> SinkStats;
}

/// How a sink is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkStats {
    /// Alerts taken, after the filter.
    pub taken: u64,
    /// Alerts written.
    pub written: u64,
    /// Alerts in memory.
    pub waiting: u64,
    /// Alerts dropped because the memory was full.
    pub dropped: u64,
}

/// Every sink of the agent.
#[derive(Default)]
pub struct Sinks {
    sinks: Vec<Entry>,
}

struct Entry {
    sink: Box<dyn Sink>,
    failing: bool,
}

impl Sinks {
    /// The sinks of the configuration; standard output if it names none. A sink that cannot be opened for lack of room
    /// or of a file system starts with its memory; one that never can is an error.
    pub fn open(configs: &[SinkConfig]) -> Result<Self, SinkError> {
        let default = [SinkConfig::stdout()];
        let configs = if configs.is_empty() { &default[..] } else { configs };
        let mut sinks = Self::default();
        for config in configs {
            match config.kind {
                SinkKind::Stdout => sinks.add(Box::new(LineSink::new(config, StdoutOutput::new()))),
                SinkKind::File => {
                    let path = config.path.clone().unwrap_or_default();
                    let output = FileOutput::open(&config.name, path)?;
                    sinks.add(Box::new(LineSink::new(config, output)));
                }
            }
        }
        Ok(sinks)
    }

    /// Adds a sink.
    pub fn add(&mut self, sink: Box<dyn Sink>) {
        self.sinks.push(Entry { sink, failing: false });
    }

    /// Redacts and bounds an alert and hands it to every sink.
    pub fn deliver(&mut self, alert: Alert) {
        let safe = SafeAlert::new(alert);
        for entry in &mut self.sinks {
            let result = entry.sink.deliver(&safe);
            entry.note(result);
        }
    }

    /// Lets every sink write what waits. To be called about once a second and at the end.
    pub fn tick(&mut self) {
        for entry in &mut self.sinks {
            let result = entry.sink.flush();
            entry.note(result);
        }
    }

    /// Opens files again (SIGHUP).
    pub fn reopen(&mut self) {
        for entry in &mut self.sinks {
            let result = entry.sink.reopen();
            entry.note(result);
        }
    }

    /// How each sink is doing.
    pub fn stats(&self) -> Vec<(String, SinkStats)> {
        self.sinks.iter().map(|entry| (entry.sink.name().to_owned(), entry.sink.stats())).collect()
    }
}

impl Entry {
    /// Says an outage once and its end once: a full disk must not fill the journal as well.
    fn note(&mut self, result: Result<(), SinkError>) {
        match result {
            Ok(()) if self.failing && self.sink.stats().waiting == 0 => {
                self.failing = false;
                let stats = self.sink.stats();
                tracing::info!(sink = self.sink.name(), dropped = stats.dropped, "the sink writes again");
            }
            Ok(()) => {}
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::error!("{error}");
            }
            Err(error) => tracing::debug!("{error}"),
        }
    }
}

#[cfg(test)]
mod tests;

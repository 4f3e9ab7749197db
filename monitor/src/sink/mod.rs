//! Where alerts go: one folder for each type of sink.
//!
//! A sink is plugged into delivery as a [`Transport`] (a log: it is handed batches and answers) or as a [`Driver`] (it keeps a
//! state of its own). It knows its receiver and nothing of the spool, of retries or of the other sinks. [`plug`] makes the
//! one that a configuration names.

pub mod alertmanager;
mod begun;
mod elasticsearch;
mod file;
mod held;
mod http;
mod in_order;
#[cfg(feature = "kafka")]
mod kafka;
mod late;
pub mod net;
mod open;
mod otlp;
pub mod pagerduty;
mod pagers;
pub mod slack;
mod splunk;
mod stdout;
mod syslog;
mod trial;
mod waiting;
pub mod webhook;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{SinkConfig, SinkKind};
use crate::delivery::{Clock, Driver, Transport};
use crate::oncall::OnCall;

pub use elasticsearch::Elasticsearch;
pub use file::FileSink;
pub use http::Http;
#[cfg(feature = "kafka")]
pub use kafka::Kafka;
pub use open::network;
pub use otlp::Otlp;
pub use pagers::pagers;
pub use splunk::Splunk;
pub use stdout::StdoutSink;
pub use syslog::Syslog;
pub use trial::{Said, TestAlert, Trial};

use held::Held;
use waiting::Waiting;

/// Why a sink cannot work as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// A file could not be opened.
    #[error("sink {sink:?}: {}: cannot be opened: {source}", path.display())]
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
    /// A file that it is told of is not there, or does not hold what it should.
    #[error("sink {sink:?}: {what}")]
    Missing {
        /// Sink.
        sink: String,
        /// Which, and what is wrong with it. Names no secret.
        what: String,
    },
    /// Something else that it is told.
    #[error("sink {sink:?}: {what}")]
    Wrong {
        /// Sink.
        sink: String,
        /// What is wrong, where, and what to do. Names no secret.
        what: String,
    },
}

impl SinkError {
    /// Something that a sink is told is wrong.
    pub fn wrong(sink: &str, what: String) -> Self {
        Self::Wrong { sink: sink.to_owned(), what }
    }

    /// Why a sink cannot be opened.
    fn of(sink: &str, error: &net::NetError) -> Self {
        let (sink, what) = (sink.to_owned(), error.to_string());
        if error.may_pass() { Self::Missing { sink, what } } else { Self::Wrong { sink, what } }
    }

    /// Whether it can end without a change of the configuration: a file comes, a disk has room again.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::Missing { .. })
    }

    /// The same without the sink's name.
    pub fn what(&self) -> String {
        match self {
            Self::Open { path, source, .. } => format!("{}: cannot be opened: {source}", path.display()),
            Self::Unfit { path, what, .. } => format!("{}: {what}", path.display()),
            Self::Missing { what, .. } | Self::Wrong { what, .. } => what.clone(),
        }
    }
}

/// What a sink may use besides its configuration.
pub struct Place<'a> {
    /// Where to keep something over a restart, in a folder of its own; `None`: nowhere.
    pub state_dir: Option<&'a Path>,
    /// Time.
    pub clock: &'a Arc<dyn Clock>,
    /// The agent has run for a while: what it said of its condition still holds.
    pub goes_on: bool,
}

/// A sink, ready for its thread.
pub enum Plug {
    /// A log.
    Log(Box<dyn Transport>),
    /// A state.
    State(Box<dyn Driver>),
}

/// Makes the sink of a configuration. Called on the agent's own thread before any other is started, and when sinks change;
/// nothing is connected to yet.
///
/// # Errors
/// What is wrong with the configuration, if it can never work. What may pass (a key that is not there, a full disk, a
/// receiver that is away) is for the sink to report: alerts wait meanwhile.
pub fn plug(config: &SinkConfig, place: &Place<'_>) -> Result<Plug, SinkError> {
    Ok(match config.kind {
        SinkKind::Stdout => log(config, |config| Ok(Box::new(StdoutSink::new(config))))?,
        SinkKind::File => log(config, |config| Ok(Box::new(FileSink::open(config)?)))?,
        SinkKind::Syslog
        | SinkKind::Http
        | SinkKind::Elasticsearch
        | SinkKind::Splunk
        | SinkKind::Otlp
        | SinkKind::Kafka
        | SinkKind::Webhook => {
            log(config, |config| network(config).map_err(|error| SinkError::of(&config.name, &error)))?
        }
        SinkKind::Pagerduty | SinkKind::Alertmanager | SinkKind::Slack => {
            let (clock, state_dir) = (Arc::clone(place.clock), place.state_dir.map(Path::to_owned));
            let goes_on = place.goes_on;
            let open = move |config: &SinkConfig| -> Result<Box<dyn Driver>, SinkError> {
                let pagers = pagers(config).map_err(|error| SinkError::of(&config.name, &error))?;
                let (dir, clock) = (state_dir.as_deref(), Arc::clone(&clock));
                let on_call = OnCall::new(&config.name, pagers, dir, config.retry.0, clock, goes_on);
                Ok(Box::new(on_call))
            };
            Plug::State(Box::new(Waiting::new(config, Box::new(open))?))
        }
    })
}

fn log(
    config: &SinkConfig,
    open: impl Fn(&SinkConfig) -> Result<Box<dyn Transport>, SinkError> + Send + 'static,
) -> Result<Plug, SinkError> {
    Ok(Plug::Log(Box::new(Held::new(config, Box::new(open))?)))
}

/// Columns of the terminal that a sink writes to, if it does.
pub(crate) fn terminal_width(config: &SinkConfig) -> Option<usize> {
    match config.kind {
        SinkKind::Stdout => stdout::terminal_width(),
        _ => None,
    }
}

/// Columns of the terminal; 80 where it does not say.
pub(crate) fn terminal_columns(fd: BorrowedFd<'_>) -> usize {
    use std::os::fd::AsRawFd;
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is borrowed and open, and TIOCGWINSZ writes one winsize.
    let answer = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    if answer == 0 && size.ws_col > 0 { usize::from(size.ws_col) } else { 80 }
}

#[cfg(test)]
mod size_tests;

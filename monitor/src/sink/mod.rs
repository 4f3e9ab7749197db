//! Where alerts go: one folder for each type of sink.
//!
//! A sink is plugged into delivery as a [`Transport`] (a log: it is handed batches and answers) or as a [`Driver`] (it keeps a
//! state of its own). It knows its receiver and nothing of the spool, of retries or of the other sinks. [`plug`] makes the
//! one that a configuration names.

pub mod alertmanager;
mod begun;
mod elasticsearch;
mod file;
mod http;
#[cfg(feature = "kafka")]
mod kafka;
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

/// Why a sink can never work as it is configured.
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
}

/// What a sink may use besides its configuration.
pub struct Place<'a> {
    /// Where to keep something over a restart, in a folder of its own; `None`: nowhere.
    pub state_dir: Option<&'a Path>,
    /// Time.
    pub clock: &'a Arc<dyn Clock>,
}

/// A sink, ready for its thread.
pub enum Plug {
    /// A log.
    Log(Box<dyn Transport>),
    /// A state.
    State(Box<dyn Driver>),
}

/// Makes the sink of a configuration. Called on the agent's own thread before any other is started; nothing is connected
/// to yet.
///
/// # Errors
/// What is wrong with the configuration, if it can never work. What may pass (a full disk, a receiver that is away) is for
/// the sink to report when it is asked to send.
pub fn plug(config: &SinkConfig, place: &Place<'_>) -> Result<Plug, SinkError> {
    let unfit = |error: net::NetError| SinkError::wrong(&config.name, error.to_string());
    Ok(match config.kind {
        SinkKind::Stdout => Plug::Log(Box::new(StdoutSink::new(config))),
        SinkKind::File => Plug::Log(Box::new(FileSink::open(config)?)),
        SinkKind::Syslog
        | SinkKind::Http
        | SinkKind::Elasticsearch
        | SinkKind::Splunk
        | SinkKind::Otlp
        | SinkKind::Kafka
        | SinkKind::Webhook => Plug::Log(network(config).map_err(unfit)?),
        SinkKind::Pagerduty | SinkKind::Alertmanager | SinkKind::Slack => {
            let pagers = pagers(config).map_err(unfit)?;
            let clock = Arc::clone(place.clock);
            Plug::State(Box::new(OnCall::new(&config.name, pagers, place.state_dir, config.retry.0, clock)))
        }
    })
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

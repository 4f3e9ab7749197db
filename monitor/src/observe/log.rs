//! The agent's own log, on standard error: for people on a terminal, JSON lines otherwise.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Variable that sets what is logged (`info`, `monitor::kernel=debug`, …).
const VARIABLE: &str = "SANDWATCH_LOG";

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// For people if standard error is a terminal.
    pub fn detect() -> Self {
        if std::io::stderr().is_terminal() { Self::Human } else { Self::Json }
    }
}

/// Starts the log at `level` (`warn`, `info`, …) unless `SANDWATCH_LOG` says otherwise. A second call changes nothing.
pub fn start_log(format: LogFormat, level: &str) {
    let filter = std::env::var(VARIABLE)
        .ok()
        .and_then(|text| EnvFilter::try_new(text).ok())
        .unwrap_or_else(|| EnvFilter::new(level));
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // An error means that a log was started before, which is what was asked for.
    let _ = match format {
        LogFormat::Human => {
            let color =
                std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            builder.with_ansi(color).compact().try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

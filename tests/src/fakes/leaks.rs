//! For tests that look for secrets where none may be: a log that is kept, a receiver that repeats what it was told, and everything
//! below a folder.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tracing::subscriber::{set_global_default, with_default};

use super::{Reply, Server};

/// Everything that was logged, at every level.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// What every thread of this process logs from now on: those of delivery are not the test's own.
    ///
    /// # Errors
    /// Another one is kept already.
    pub fn of_process() -> Result<Self> {
        let log = Self::default();
        set_global_default(log.subscriber()).context("one process has one log")?;
        tracing::trace!("the log works");
        Ok(log)
    }

    /// What this thread logs while `run` runs.
    pub fn of<T>(run: impl FnOnce() -> T) -> (Self, T) {
        let log = Self::default();
        let ran = with_default(log.subscriber(), || {
            tracing::trace!("the log works");
            run()
        });
        (log, ran)
    }

    /// So far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    fn subscriber(&self) -> impl tracing::Subscriber + Send + Sync + 'static {
        let writer = self.clone();
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A receiver that repeats everything it was told.
///
/// # Errors
/// No address is free.
pub fn parrot(status: u16) -> io::Result<Server> {
    Server::start(move |request| {
        let headers: Vec<String> =
            request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let told =
            format!("{} {} ?{} is wrong {}", headers.join("; "), request.path, request.query, request.text());
        Reply::text(status, &told)
    })
}

/// Every file below a folder, with its path, as one text.
///
/// # Errors
/// One cannot be read.
pub fn everything(folder: &Path) -> io::Result<String> {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        text.push_str(&path.display().to_string());
        text.push('\n');
        if path.is_dir() {
            text.push_str(&everything(&path)?);
        } else {
            text.push_str(&String::from_utf8_lossy(&std::fs::read(&path)?));
            text.push('\n');
        }
    }
    Ok(text)
}

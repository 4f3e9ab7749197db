//! Asking the running agent.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{Ask, Refusal};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(6);
/// No answer is longer.
const LONGEST: u64 = 256 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("no agent answers at {}: {source}", path.display())]
    Nobody {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody does, and does not answer.
    #[error("the agent at {} does not answer: {source}", path.display())]
    Silent {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It answers something else.
    #[error("the agent at {}: {what}", path.display())]
    Refused {
        /// The socket.
        path: PathBuf,
        /// What it says.
        what: String,
    },
}

impl AskError {
    /// Whether there is no agent, or none that this user may ask.
    pub fn is_nobody(&self) -> bool {
        matches!(self, Self::Nobody { .. })
    }
}

/// Asks the agent whose socket this is.
///
/// # Errors
/// Nobody listens, or what is answered is not what was asked for.
pub fn ask<T: DeserializeOwned>(path: &Path, question: &Ask) -> Result<T, AskError> {
    let refused = |what: String| AskError::Refused { path: path.to_owned(), what };
    let text = ask_line(path, question)?;
    match serde_json::from_str(&text) {
        Ok(answer) => Ok(answer),
        Err(error) => Err(refused(match serde_json::from_str::<Refusal>(&text) {
            Ok(refusal) => refusal.error,
            Err(_) => format!("its answer is not understood ({error}); is it of another version?"),
        })),
    }
}

/// The same, as text.
///
/// # Errors
/// Nobody listens or answers.
pub fn ask_line(path: &Path, question: &Ask) -> Result<String, AskError> {
    let silent = |source| AskError::Silent { path: path.to_owned(), source };
    let mut stream = connect(path).map_err(|source| AskError::Nobody { path: path.to_owned(), source })?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(silent)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(silent)?;
    let line = format!("{}\n", super::server::json(question));
    stream.write_all(line.as_bytes()).map_err(silent)?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer).map_err(silent)?;
    Ok(answer)
}

pub(super) fn connect(path: &Path) -> io::Result<UnixStream> {
    by_short_path(path, |short| UnixStream::connect(short))
}

/// The address of a unix socket has room for 107 bytes; a path by its folder's descriptor is always short.
pub(super) fn by_short_path<T>(path: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() < 100 {
        return act(path);
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return act(path) };
    let folder = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(folder)?;
    act(&Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name))
}

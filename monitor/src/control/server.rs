//! The thread that answers on the socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fs, io};

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use serde::Serialize;

use super::desk::Question;
use super::{Ask, Board, DoctorAnswer, Refusal};
use crate::alert::human::Style;

/// A question is a line of at most so many bytes.
const LONGEST: u64 = 4096;
/// How long whoever asks may take to say what, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the agent's thread may take: it turns at least every 250 ms.
const THINKS: Duration = Duration::from_secs(3);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Something else is there.
    #[error("{}: {what}; the agent answers nobody until its configuration names another place (`control:`)", path.display())]
    Taken {
        /// Where.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// A system call failed.
    #[error("{}: cannot {action}: {source}", path.display())]
    Os {
        /// Where.
        path: PathBuf,
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// The socket, answered until this is dropped.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    inode: (u64, u64),
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Opens the socket, for root (or whoever runs the agent) alone, and answers from the board.
    ///
    /// # Errors
    /// It cannot be opened, or another agent answers there.
    pub fn start(path: &Path, board: Arc<Board>) -> Result<Self, ControlError> {
        let failed = |action| move |source| ControlError::Os { path: path.to_owned(), action, source };
        make_room(path)?;
        let listener = open(path).map_err(failed("open the socket"))?;
        let inode = inode(path).map_err(failed("look at the socket"))?;
        let ends = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ends);
        let thread = crate::observe::start_thread("control", move || serve(&listener, &board, &end))
            .map_err(failed("start a thread for the socket"))?;
        Ok(Self { path: path.to_owned(), inode, ends, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Relaxed);
        // It waits for somebody to come.
        let woken = super::client::connect(&self.path).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken)
            && thread.join().is_err()
        {
            tracing::error!("the thread that answers on the control socket has panicked");
        }
        // One that another agent opened there meanwhile is not ours to remove.
        if inode(&self.path).is_ok_and(|now| now == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let meta = fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

/// Removes the socket of an agent that is no more.
fn make_room(path: &Path) -> Result<(), ControlError> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    let taken = |what| ControlError::Taken { path: path.to_owned(), what };
    if !meta.file_type().is_socket() {
        return Err(taken("something that is no socket is in the place of the control socket"));
    }
    if super::client::connect(path).is_ok() {
        return Err(taken("another agent answers there"));
    }
    fs::remove_file(path).map_err(|source| ControlError::Os {
        path: path.to_owned(),
        action: "remove the socket of an earlier agent",
        source,
    })
}

fn open(path: &Path) -> io::Result<UnixListener> {
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // Before it has a name: the file gets the mode of the socket (net/unix/af_unix.c, `unix_bind_bsd`).
    nix::sys::stat::fchmod(socket.as_fd(), nix::sys::stat::Mode::from_bits_truncate(0o600))?;
    super::client::by_short_path(path, |short| {
        bind(socket.as_raw_fd(), &UnixAddr::new(short)?)?;
        Ok(())
    })?;
    listen(&socket, Backlog::new(16)?)?;
    Ok(UnixListener::from(socket))
}

fn serve(listener: &UnixListener, board: &Board, ends: &AtomicBool) {
    for stream in listener.incoming() {
        if ends.load(Relaxed) {
            return;
        }
        match stream {
            Ok(stream) => {
                if let Err(error) = answer(&stream, board) {
                    tracing::debug!(%error, "a question on the control socket was not answered");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket takes nobody");
                // Out of descriptors, most likely: not at full speed.
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    }
}

fn answer(mut stream: &UnixStream, board: &Board) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST)).read_line(&mut line)?;
    let text = match serde_json::from_str(&line) {
        Ok(ask) => said(&ask, board),
        Err(error) => refusal(format!("the agent does not understand the question: {error}")),
    };
    stream.write_all(text.as_bytes())
}

fn said(ask: &Ask, board: &Board) -> String {
    match ask {
        Ask::Status => json(&board.status()),
        Ask::Workers => thought(board, Question::Workers),
        Ask::Incidents => thought(board, Question::Incidents),
        Ask::Doctor { programs, width, color } => match board.coverage() {
            None => refusal("this agent has no probes".to_owned()),
            Some(coverage) => {
                let style =
                    Style { width: width.unwrap_or(Style::PLAIN.width).clamp(40, 500), color: *color };
                match crate::cli::doctor_of(coverage, &board.rules(), *programs, &style) {
                    Ok((page, answer)) => {
                        json(&DoctorAnswer { level: coverage.level.name().to_owned(), page, json: answer })
                    }
                    Err(error) => refusal(error.to_string()),
                }
            }
        },
    }
}

fn thought(board: &Board, question: Question) -> String {
    board.desk.ask(question, THINKS).unwrap_or_else(|| {
        refusal(format!("the agent's own thread did not answer within {} s", THINKS.as_secs()))
    })
}

fn refusal(error: String) -> String {
    json(&Refusal { error })
}

pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}

//! What lines are written to. A write never blocks the agent: its thread also empties the kernel's ring buffers.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::PathBuf;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::SinkError;

/// At most this much at once goes to a pipe or terminal: what poll promises room for (`PIPE_BUF`).
const PIPE_CHUNK: usize = 4096;

/// Something that takes bytes without blocking.
pub trait Output {
    /// Writes some of `bytes` and says how many; `WouldBlock` if there is no room now.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Opens it again under its name; whether it is another file than before.
    fn reopen(&mut self) -> Result<bool, SinkError>;

    /// What people call it.
    fn target(&self) -> String;

    /// Width in columns if it is a terminal.
    fn terminal_width(&self) -> Option<usize>;
}

/// Standard output.
#[derive(Debug)]
pub struct StdoutOutput {
    width: Option<usize>,
}

impl StdoutOutput {
    /// Standard output as it is now: a terminal or not.
    pub fn new() -> Self {
        Self { width: io::stdout().is_terminal().then(|| terminal_columns(io::stdout().as_fd())) }
    }
}

impl Default for StdoutOutput {
    fn default() -> Self {
        Self::new()
    }
}

impl Output for StdoutOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut out = io::stdout().lock();
        wait_for_room(out.as_fd())?;
        let count = out.write(&bytes[..bytes.len().min(PIPE_CHUNK)])?;
        out.flush()?;
        Ok(count)
    }

    fn reopen(&mut self) -> Result<bool, SinkError> {
        Ok(false)
    }

    fn target(&self) -> String {
        "standard output".into()
    }

    fn terminal_width(&self) -> Option<usize> {
        self.width
    }
}

/// A file that is appended to, created for its owner and group only.
#[derive(Debug)]
pub struct FileOutput {
    sink: String,
    path: PathBuf,
    /// `None` until there is room to create it.
    file: Option<File>,
}

impl FileOutput {
    /// Opens (or creates, mode 0640) the file at `path` for the sink of this name. A line that an earlier agent could
    /// not finish is ended first. A disk that is full or read-only is no error: the file is opened when there is room.
    pub fn open(sink: &str, path: PathBuf) -> Result<Self, SinkError> {
        let file = match open_for_append(sink, &path) {
            Ok(file) => Some(file),
            Err(SinkError::Open { source, .. }) if is_passing(&source) => {
                tracing::error!(sink, path = %path.display(), "cannot be opened: {source}; alerts are kept in memory until it can");
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Self { sink: sink.to_owned(), path, file })
    }
}

/// Whether an error goes away by itself or by an administrator's hand without a change of configuration.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
}

fn open_for_append(sink: &str, path: &PathBuf) -> Result<File, SinkError> {
    let failed = |source| SinkError::Open { sink: sink.to_owned(), path: path.clone(), source };
    let mut options = OpenOptions::new();
    // Not blocking: the open of a named pipe without a reader would wait for one.
    options.read(true).append(true).create(true).mode(0o640).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC);
    let mut file = options.open(path).map_err(failed)?;
    let kind = file.metadata().map_err(failed)?.file_type();
    let unfit = |what| Err(SinkError::Unfit { sink: sink.to_owned(), path: path.clone(), what });
    if kind.is_block_device() {
        return unfit("is a block device");
    }
    if kind.is_socket() {
        return unfit("is a socket");
    }
    if kind.is_file() && !ends_with_line_feed(&mut file).map_err(failed)? {
        // A full disk may refuse even this; the next line then follows the torn one, which a reader can still tell.
        let _ = file.write(b"\n");
    }
    Ok(file)
}

fn ends_with_line_feed(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0u8];
    file.read_exact(&mut last)?;
    Ok(last[0] == b'\n')
}

impl Output for FileOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.file.is_none() {
            self.file = Some(open_for_append(&self.sink, &self.path).map_err(|error| match error {
                SinkError::Open { source, .. } => source,
                other => io::Error::other(other.to_string()),
            })?);
        }
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn reopen(&mut self) -> Result<bool, SinkError> {
        self.file = Some(open_for_append(&self.sink, &self.path)?);
        Ok(true)
    }

    fn target(&self) -> String {
        self.path.display().to_string()
    }

    fn terminal_width(&self) -> Option<usize> {
        None
    }
}

fn wait_for_room(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut fds = [PollFd::new(fd, PollFlags::POLLOUT)];
    match poll(&mut fds, PollTimeout::ZERO)? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        // An error condition is for the write to report.
        _ => Ok(()),
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

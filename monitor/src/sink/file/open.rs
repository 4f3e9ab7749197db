//! Opening a file that lines are appended to.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::sink::SinkError;

/// Of a file that is made here: who reads alerts is in its group.
const MODE: u32 = 0o640;

/// Opens or creates the file. A last line without an end gets one.
pub(super) fn for_append(sink: &str, path: &Path) -> Result<(File, Metadata), SinkError> {
    let failed = |source| SinkError::Open { sink: sink.to_owned(), path: path.to_owned(), source };
    let mut file = open_or_create(path).map_err(failed)?;
    let kind = file.metadata().map_err(failed)?.file_type();
    let unfit = |what| Err(SinkError::Unfit { sink: sink.to_owned(), path: path.to_owned(), what });
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
    let meta = file.metadata().map_err(failed)?;
    Ok((file, meta))
}

fn open_or_create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Not blocking: the open of a named pipe without a reader would wait for one.
    options.read(true).append(true).mode(MODE).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC);
    match options.create_new(true).open(path) {
        Ok(file) => {
            // The agent's umask, which is a strict one, has no say here; a file that was there keeps the mode that it was given.
            if let Err(error) = file.set_permissions(Permissions::from_mode(MODE)) {
                tracing::debug!(path = %path.display(), %error, "the file has the mode that its file system gives");
            }
            Ok(file)
        }
        // A symbolic link may lead to a file that is not there yet.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            options.create_new(false).create(true).open(path)
        }
        Err(error) => Err(error),
    }
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

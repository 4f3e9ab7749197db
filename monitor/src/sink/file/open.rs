//! Opening a file that lines are appended to.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use crate::sink::SinkError;

/// Opens or creates the file. A last line without an end gets one.
pub(super) fn for_append(sink: &str, path: &Path) -> Result<(File, Metadata), SinkError> {
    let failed = |source| SinkError::Open { sink: sink.to_owned(), path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    // Not blocking: the open of a named pipe without a reader would wait for one.
    options.read(true).append(true).create(true).mode(0o640).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC);
    let mut file = options.open(path).map_err(failed)?;
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

fn ends_with_line_feed(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0u8];
    file.read_exact(&mut last)?;
    Ok(last[0] == b'\n')
}

//! A file of lines: appended to, for its owner and group only, put aside when it is large.
//!
//! A line is in the file when `send` returns, and on the disk when `commit` does: only then does the engine forget it.

mod open;
mod rotate;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::alert::MAX_ALERT;
use crate::config::{Rotate, SinkConfig};
use crate::delivery::{Item, Limits, Outcome, Promise, Transport};
use crate::sink::SinkError;
use crate::sink::begun::Begun;
use crate::sink::in_order::in_order;

/// Has the disk take what a file was written.
type Sync = fn(&File) -> io::Result<()>;

/// A file.
#[derive(Debug)]
pub struct FileSink {
    sink: String,
    path: PathBuf,
    rotate: Option<Rotate>,
    max_bytes: usize,
    /// `None` until there is room to create it.
    file: Option<File>,
    size: u64,
    /// A regular file: it can be cut and synced.
    regular: bool,
    /// What `commit` has to make last.
    dirty: bool,
    /// Why lines that were accepted since the last `commit` may not be on the disk.
    unsynced: Option<String>,
    sync: Sync,
    /// Of a pipe or a device.
    begun: Begun,
}

impl FileSink {
    /// Opens (or creates, mode 0640) the file. A line that an earlier agent could not finish is ended first.
    ///
    /// # Errors
    /// It cannot be opened now, or is nothing to append to.
    pub fn open(config: &SinkConfig) -> Result<Self, SinkError> {
        let max_bytes =
            config.max_bytes.map_or(MAX_ALERT, |bytes| usize::try_from(bytes.0).unwrap_or(MAX_ALERT));
        let mut sink = Self {
            sink: config.name.clone(),
            path: config.path.clone().unwrap_or_default(),
            rotate: config.rotate,
            max_bytes,
            file: None,
            size: 0,
            regular: false,
            dirty: false,
            unsynced: None,
            sync: File::sync_data,
            begun: Begun::default(),
        };
        sink.open_now()?;
        Ok(sink)
    }

    fn open_now(&mut self) -> Result<(), SinkError> {
        let (file, meta) = open::for_append(&self.sink, &self.path)?;
        self.regular = meta.is_file();
        self.size = meta.size();
        self.file = Some(file);
        self.begun.forget();
        Ok(())
    }

    /// Notices that the file was moved or taken away, or cut by others, before something is written to what nobody reads.
    fn follow(&mut self) -> io::Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| self.regular) else { return Ok(()) };
        match std::fs::metadata(&self.path) {
            Ok(there) => {
                let ours = file.metadata()?;
                if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) {
                    self.size = ours.size();
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        tracing::info!(sink = self.sink, path = %self.path.display(), "the file was moved away; another one is begun");
        // What is in the old one is kept by whoever moved it.
        self.leave()
    }

    /// Lets go of the file, once what it was written is on the disk.
    fn leave(&mut self) -> io::Result<()> {
        let settled = self.settle();
        (self.file, self.size) = (None, 0);
        settled
    }

    /// Has the disk take what was written. If it does not, `commit` has to say so: the kernel tells of it once, may have forgotten
    /// the lines, and the next sync may be of another file.
    fn settle(&mut self) -> io::Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| self.regular) else { return Ok(()) };
        if !std::mem::take(&mut self.dirty) {
            return Ok(());
        }
        (self.sync)(file).inspect_err(|error| self.unsynced = Some(error.to_string()))
    }

    /// Writes one line, to a regular file whole or not at all.
    fn write(&mut self, seq: u64, line: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            self.open_now().map_err(|error| match error {
                SinkError::Open { source, .. } => source,
                other => io::Error::other(other.to_string()),
            })?;
        }
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        if !self.regular {
            return self.begun.write(seq, line, &mut |bytes| file.write(bytes));
        }
        let result = file.write_all(line);
        if result.is_ok() {
            self.size += line.len() as u64;
            self.dirty = true;
        } else if file.set_len(self.size).is_err() {
            // A half line stays; opening the file again ends it. An error of the disk is for `commit` to tell.
            let _ = self.leave();
        }
        result
    }

    fn put_aside_if_due(&mut self, more: u64) -> io::Result<()> {
        let Some(limit) = self.rotate else { return Ok(()) };
        if !self.regular || self.size == 0 || self.size + more <= limit.size.0 {
            return Ok(());
        }
        let size = self.size;
        self.leave()?;
        match rotate::put_aside(&self.path, limit.keep) {
            // Others have just put it aside.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done.inspect_err(|_| self.size = size),
        }
    }
}

impl Transport for FileSink {
    fn promise(&self) -> Promise {
        Promise::Acknowledged
    }

    fn limits(&self) -> Limits {
        Limits { items: 64, bytes: 1 << 20, max_bytes: self.max_bytes }
    }

    fn target(&self) -> String {
        self.path.display().to_string()
    }

    fn send(&mut self, batch: &[Item]) -> Vec<Outcome> {
        if let Err(error) = self.follow() {
            return vec![Outcome::Retry { reason: error.to_string(), after: None }];
        }
        in_order(batch, |item| {
            let mut line = Vec::with_capacity(item.text.len() + 1);
            line.extend_from_slice(&item.text);
            line.push(b'\n');
            match self.put_aside_if_due(line.len() as u64).and_then(|()| self.write(item.seq, &line)) {
                Ok(()) => Outcome::Accepted,
                Err(error) => Outcome::Retry { reason: error.to_string(), after: None },
            }
        })
    }

    fn commit(&mut self) -> Result<(), String> {
        if self.unsynced.is_none() && self.settle().is_err() {
            // The lines are written again, to a new descriptor.
            self.file = None;
        }
        self.unsynced.take().map_or(Ok(()), Err)
    }

    fn reopen(&mut self) -> Result<(), String> {
        if let Err(error) = self.settle() {
            tracing::warn!(sink = self.sink, %error, "the file that was put aside could not be synced; its last lines are written again");
        }
        self.open_now().map_err(|error| error.to_string())
    }

    fn shared(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;

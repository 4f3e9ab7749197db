//! The only writer of the log: appends, rotates, and goes on with what an earlier run left.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread::JoinHandle;

use super::entry::{Entry, LINE_MAX, Link, What};
use super::files::{LogFile, list};
use super::head::{Hash, Head};
use crate::state_dir::{Folder, StateError, io_error};

/// How much the log may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A file this long is followed by another.
    pub file: u64,
    /// So many files are kept.
    pub files: usize,
}

impl Default for Limits {
    /// 64 MiB: some 150,000 alerts.
    fn default() -> Self {
        Self { file: 8 << 20, files: 8 }
    }
}

/// The log, open to be written.
#[derive(Debug)]
pub struct Ledger {
    folder: Folder,
    limits: Limits,
    current: LogFile,
    pub(super) file: File,
    /// Length of the file up to the end of its last whole line.
    length: u64,
    /// The last entry.
    number: u64,
    hash: Hash,
    /// Digest of the configuration, for the start of the next file.
    config: String,
    missed: u64,
    /// What is on the disk for certain, and what is on its way there.
    synced: Option<Head>,
    syncing: Option<(Head, JoinHandle<io::Result<()>>)>,
}

/// What was there when the log was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// The configuration of the run before.
    pub config: Option<String>,
    /// Bytes of half an entry that were cut off.
    pub recovered: u64,
    /// The run before did not end in order.
    pub unfinished: bool,
}

impl Ledger {
    /// Opens the log below the state directory, making it if need be. `time` and `config` are for what it writes itself.
    ///
    /// # Errors
    /// It cannot be made, read or written, others may write there, or another agent does.
    pub fn open(
        state_dir: &Path,
        time: &str,
        config: &str,
        limits: Limits,
    ) -> Result<(Self, Opened), StateError> {
        let folder = Folder::take(state_dir, super::FOLDER)?;
        let mut files = list(folder.path()).map_err(io_error(folder.path(), "read it"))?;
        let mut opened = Opened::default();
        let current = files.pop().unwrap_or_else(|| LogFile::new(folder.path(), 1));
        let file = open(&current)?;
        let mut end = End { number: current.first.saturating_sub(1), ..End::default() };
        if end.number > 0 {
            // A file without a whole line yet goes on where the one before ended.
            if let Some(before) = files.pop() {
                end = End::read(&before)?;
            }
            (end.length, end.torn) = (0, Vec::new());
        }
        let end = end.and(&current)?;
        opened.config.clone_from(&end.config);
        opened.unfinished = end.number > 0 && !end.stopped;
        let mut ledger = Self {
            folder,
            limits,
            current,
            file,
            length: end.length,
            number: end.number,
            hash: end.hash,
            config: config.to_owned(),
            missed: 0,
            synced: None,
            syncing: None,
        };
        if !end.torn.is_empty() {
            opened.recovered = end.torn.len() as u64;
            ledger.cut().map_err(io_error(&ledger.current.path, "cut it"))?;
            let digest = Hash::of(&end.torn).named();
            ledger.append(time, What::Recovered { bytes: opened.recovered, digest })?;
        }
        Ok((ledger, opened))
    }

    /// Appends an entry. It is in the file when this returns, and on the disk when it is [`synced`](Self::synced).
    ///
    /// # Errors
    /// It cannot be written: it is counted, and the next one that can be written is preceded by how many were not.
    pub fn append(&mut self, time: &str, what: What) -> Result<(), StateError> {
        let result = self.try_append(time, what);
        if result.is_err() {
            self.missed += 1;
        }
        result
    }

    fn try_append(&mut self, time: &str, what: What) -> Result<(), StateError> {
        if self.length >= self.limits.file {
            self.rotate(time)?;
        }
        if self.missed > 0 {
            self.write(time, What::Missed { entries: self.missed })?;
            self.missed = 0;
        }
        self.write(time, what)
    }

    fn write(&mut self, time: &str, what: What) -> Result<(), StateError> {
        let entry =
            Entry { number: self.number.saturating_add(1), time: time.to_owned(), what, previous: self.hash };
        let mut line = entry.line();
        let hash = Hash::of(line.as_bytes());
        line.push('\n');
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // Half a line would break the chain for good.
            if let Err(error) = self.cut() {
                tracing::error!(%error, file = %self.current.path.display(), "half an entry stays in the local log");
            }
            return Err(io_error(&self.current.path, "write it")(error));
        }
        (self.number, self.hash) = (entry.number, hash);
        self.length += line.len() as u64;
        Ok(())
    }

    fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.length)
    }

    /// Goes on in a new file, and removes the oldest ones.
    fn rotate(&mut self, time: &str) -> Result<(), StateError> {
        // What is closed is on the disk: a head is never of a file that a power cut may still shorten.
        self.file.sync_data().map_err(io_error(&self.current.path, "write it"))?;
        self.begin(LogFile::new(self.folder.path(), self.number.saturating_add(1)))?;
        self.write(time, What::File { config: self.config.clone() })?;
        let mut files = list(self.folder.path()).map_err(io_error(self.folder.path(), "read it"))?;
        while files.len() > self.limits.files {
            let oldest = files.remove(0);
            let end = End::read(&oldest)?;
            // First said, then done: killed in between, the next rotation finds it still there.
            self.write(time, What::Removed { file: oldest.name(), last: end.number, hash: end.hash })?;
            fs::remove_file(&oldest.path).map_err(io_error(&oldest.path, "remove it"))?;
        }
        Ok(())
    }

    fn begin(&mut self, next: LogFile) -> Result<(), StateError> {
        let file = open(&next)?;
        self.length = file.metadata().map_err(io_error(&next.path, "look at it"))?.len();
        (self.current, self.file) = (next, file);
        Ok(())
    }

    /// Makes sure that the file is still the one that is written to; else goes on in a new one, and says so there.
    ///
    /// # Errors
    /// No new file can be made.
    pub fn look(&mut self, time: &str) -> Result<bool, StateError> {
        let there = fs::symlink_metadata(&self.current.path).ok();
        let ours = self.file.metadata().map_err(io_error(&self.current.path, "look at it"))?;
        let same = there.is_some_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()));
        if same && ours.len() == self.length {
            return Ok(true);
        }
        let file = self.current.name();
        self.begin(LogFile::new(self.folder.path(), self.number.saturating_add(1)))?;
        self.write(time, What::Replaced { file })?;
        Ok(false)
    }

    /// The newest entry.
    pub fn head(&self) -> Option<Head> {
        (self.number > 0).then(|| Head::of(self.number, &self.hash))
    }

    /// Lets what was appended so far be written to the disk, on a thread of its own: a disk may take its time.
    pub fn sync(&mut self) {
        let Some(head) = self.head() else { return };
        if self.syncing.is_some() || self.synced.as_ref() == Some(&head) {
            return;
        }
        let Ok(file) = self.file.try_clone() else { return };
        let work = move || file.sync_data();
        match std::thread::Builder::new().name("log-sync".to_owned()).stack_size(64 << 10).spawn(work) {
            Ok(thread) => self.syncing = Some((head, thread)),
            Err(error) => tracing::debug!(%error, "the local log is not synced"),
        }
    }

    /// Whether a sync is on its way.
    pub fn is_syncing(&mut self) -> bool {
        if let Some((head, thread)) = self.syncing.take() {
            if !thread.is_finished() {
                self.syncing = Some((head, thread));
                return true;
            }
            match thread.join() {
                Ok(Ok(())) => self.synced = Some(head),
                Ok(Err(error)) => tracing::warn!(%error, "the local log is not synced"),
                Err(_) => tracing::warn!("the local log is not synced"),
            }
        }
        false
    }

    /// The newest entry that no power cut takes: what may be told to others as the head.
    pub fn synced(&self) -> Option<&Head> {
        self.synced.as_ref()
    }

    /// The last entry of a run, on the disk.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self, time: &str, alerts: u64) -> Result<(), StateError> {
        self.append(time, What::Stop { alerts })?;
        self.file.sync_data().map_err(io_error(&self.current.path, "write it"))
    }
}

fn open(file: &LogFile) -> Result<File, StateError> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&file.path)
        .map_err(io_error(&file.path, "open it"))
}

/// Where a chain ends, as far as it goes on from there: whether it is whole is `verify`'s question.
#[derive(Default)]
struct End {
    number: u64,
    hash: Hash,
    config: Option<String>,
    stopped: bool,
    /// Bytes up to the end of the last whole line of the file, and those behind it.
    length: u64,
    torn: Vec<u8>,
}

impl End {
    fn read(file: &LogFile) -> Result<Self, StateError> {
        Self { number: file.first.saturating_sub(1), ..Self::default() }.and(file)
    }

    /// The end, after this file too.
    fn and(mut self, file: &LogFile) -> Result<Self, StateError> {
        let failed = |error| io_error(&file.path, "read it")(error);
        let mut reader = BufReader::new(File::open(&file.path).map_err(failed)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.by_ref().take(LINE_MAX as u64).read_until(b'\n', &mut line).map_err(failed)?;
            if read == 0 {
                return Ok(self);
            }
            if line.pop_if(|last| *last == b'\n').is_none() {
                // Longer than any of ours, or torn.
                if reader.fill_buf().map_err(failed)?.is_empty() {
                    self.torn = line;
                    return Ok(self);
                }
                self.length += read as u64;
                continue;
            }
            self.length += read as u64;
            self.number = self.number.saturating_add(1);
            self.hash = Hash::of(&line);
            if let Ok(link) = serde_json::from_slice::<Link>(&line) {
                self.number = link.number;
                self.config = link.config.or(self.config.take());
                self.stopped = link.what == "stop";
            }
        }
    }
}

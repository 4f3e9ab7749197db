//! Dead letters: what a receiver will never take, kept with the reason, and brought back when people ask for it.
//!
//! `STATE_DIR/dead/SINK.jsonl`, bounded: a full file becomes `SINK.jsonl.1`, and the one before that goes, which is said. `alerts
//! replay` moves a file into `dead/replay/` (`replay`); the agent looks there each second and sends what it finds to that sink
//! once more. A letter that cannot be written waits in memory (`unkept`).

mod replay;
mod unkept;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, SafeAlert};
use crate::delivery::spool::Ranges;

pub(crate) use replay::{ask_replay, replay_waits};
pub(crate) use unkept::{Unkept, Waiting};

/// A file of dead letters is not larger than this.
const MOST: u64 = 8 << 20;
/// So many bytes of letters are written at once.
const AT_ONCE: usize = 1 << 20;
/// The reason of the gap that names lost letters.
pub(crate) const DEAD_LETTERS: &str = "dead-letters";

/// A line is not longer than this.
const LINE: u64 = 1 << 20;

/// A dead letter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Letter<A = Alert> {
    /// When it was given up, RFC 3339.
    pub(crate) time: String,
    pub(crate) sink: String,
    /// Its number in the sink's stream.
    pub(crate) seq: u64,
    /// What the receiver said.
    pub(crate) reason: String,
    pub(crate) alert: A,
}

/// Letters that there was no room for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) count: u64,
    /// Their numbers in the sink's stream.
    pub(crate) seqs: Ranges,
}

/// What became of letters, and of older ones.
#[derive(Debug)]
pub(crate) struct Kept {
    /// How many of them, from the first on, are on the disk for good.
    pub(crate) count: usize,
    /// Why not the others.
    pub(crate) result: io::Result<()>,
    /// Of the files that had to go.
    pub(crate) lost: Lost,
}

/// The folder of dead letters.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    /// `None`: nowhere to keep them.
    folder: Option<PathBuf>,
    /// Held while a file is written to or taken: a sink's thread writes, another takes.
    busy: Mutex<()>,
    /// How often the disk was waited for.
    #[cfg(test)]
    pub(crate) syncs: std::sync::atomic::AtomicU64,
}

impl DeadLetters {
    pub(crate) fn new(state_dir: Option<&Path>) -> Self {
        Self { folder: state_dir.map(folder), ..Self::default() }
    }

    /// Keeps a sink's letters, in their order. The disk is waited for once, however many there are.
    pub(crate) fn keep(&self, sink: &str, letters: &[Letter<&SafeAlert>]) -> Kept {
        let mut kept = Kept { count: 0, result: Ok(()), lost: Lost::default() };
        let Some(folder) = &self.folder else { return Kept { count: letters.len(), ..kept } };
        let _busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.count < letters.len() && kept.result.is_ok() {
            kept.result = self.put(folder, sink, &letters[kept.count..], &mut kept.count, &mut kept.lost);
        }
        kept
    }

    /// Writes so many of these as go into a file at once, at least one, and adds how many that were.
    fn put(
        &self,
        folder: &Path,
        sink: &str,
        letters: &[Letter<&SafeAlert>],
        count: &mut usize,
        lost: &mut Lost,
    ) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let path = folder.join(format!("{sink}.jsonl"));
        let size = fs::metadata(&path).map_or(0, |meta| meta.len());
        let (mut lines, mut ends) = (Vec::new(), Vec::new());
        for letter in letters {
            let before = lines.len();
            serde_json::to_writer(&mut lines, letter)?;
            lines.push(b'\n');
            let full = size > 0 && size + lines.len() as u64 > MOST;
            if before > 0 && (full || lines.len() > AT_ONCE) {
                lines.truncate(before);
                break;
            }
            ends.push(lines.len());
        }
        if size > 0 && size + lines.len() as u64 > MOST {
            let older = folder.join(format!("{sink}.jsonl.1"));
            let gone = letters_of(&older);
            fs::rename(&path, &older)?;
            lost.join(&gone);
        }
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&path)?;
        let mut before = file.seek(SeekFrom::End(0))?;
        if !ends_whole(&mut file, before)? {
            // The rest of a line that was cut short is no letter; the next one must not become a part of it.
            file.write_all(b"\n")?;
            before += 1;
        }
        let (written, result) = write_most(&mut file, &lines);
        let whole = ends.partition_point(|end| *end <= written);
        let end = whole.checked_sub(1).map_or(0, |last| ends[last]);
        if end < lines.len() {
            // Half a letter is none; if even that fails, its end is mended by the next one.
            let _ = file.set_len(before + end as u64);
        }
        if end > 0 {
            #[cfg(test)]
            self.syncs.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if let Err(error) = file.sync_data() {
                // They wait, and are written again.
                let _ = file.set_len(before);
                return Err(error);
            }
        }
        *count += whole;
        result
    }
}

/// Writes what goes; how much that was.
fn write_most(file: &mut File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

fn ends_whole(file: &mut File, size: u64) -> io::Result<bool> {
    if size == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::Start(size - 1))?;
    let mut last = [0u8];
    file.read_exact(&mut last)?;
    Ok(last[0] == b'\n')
}

/// How many letters a file has, and their numbers, as far as it can be read.
fn letters_of(path: &Path) -> Lost {
    #[derive(Deserialize)]
    struct Number {
        seq: u64,
    }
    let mut lost = Lost::default();
    let Ok(file) = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path) else {
        return lost;
    };
    for line in BufReader::new(file).split(b'\n').map_while(Result::ok).filter(|line| !line.is_empty()) {
        lost.count += 1;
        if let Ok(Number { seq }) = serde_json::from_slice(&line) {
            lost.seqs.add(seq);
        }
    }
    lost
}

impl Lost {
    /// Adds an alert. One that told of lost ones tells of them through this.
    pub(crate) fn add(&mut self, seq: u64, alert: &Alert) {
        self.count += 1;
        self.seqs.add(seq);
        for run in alert.gap.iter().flat_map(|gap| &gap.sequences) {
            self.seqs.add_run(*run);
        }
    }

    pub(crate) fn join(&mut self, other: &Self) {
        self.count += other.count;
        other.seqs.runs().iter().for_each(|run| self.seqs.add_run(*run));
    }
}

fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("dead")
}

/// How many dead letters each sink has.
pub(crate) fn count(state_dir: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut all: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
    let entries = match fs::read_dir(folder(state_dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let Some(sink) = sink_of(&path) else { continue };
        let lines = BufReader::new(File::open(&path)?).split(b'\n');
        *all.entry(sink).or_default() += lines.map_while(Result::ok).count() as u64;
    }
    Ok(all.into_iter().collect())
}

/// The sink whose letters a file has: `NAME.jsonl` or `NAME.jsonl.1`.
fn sink_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_suffix(".jsonl").or_else(|| name.strip_suffix(".jsonl.1"))?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests;

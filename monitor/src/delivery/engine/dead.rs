//! Dead letters: what a receiver will never take, kept with the reason, and brought back when people ask for it.
//!
//! `STATE_DIR/dead/SINK.jsonl`, bounded: a full file becomes `SINK.jsonl.1`, and the one before that goes. `alerts replay`
//! moves a file into `dead/replay/`; the agent looks there each second and sends what it finds to that sink once more.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, SafeAlert};

/// A file of dead letters is not larger than this.
const MOST: u64 = 8 << 20;
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

/// The folder of dead letters.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    /// `None`: nowhere to keep them.
    folder: Option<PathBuf>,
    /// Held while a file is written to or taken: a sink's thread writes, another takes.
    busy: Mutex<()>,
}

impl DeadLetters {
    pub(crate) fn new(state_dir: Option<&Path>) -> Self {
        Self { folder: state_dir.map(folder), busy: Mutex::default() }
    }

    /// Keeps one.
    pub(crate) fn keep(&self, letter: &Letter<&SafeAlert>) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let _busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let path = folder.join(format!("{}.jsonl", letter.sink));
        let mut line = serde_json::to_vec(letter)?;
        line.push(b'\n');
        let size = fs::metadata(&path).map_or(0, |meta| meta.len());
        if size > 0 && size + line.len() as u64 > MOST {
            fs::rename(&path, folder.join(format!("{}.jsonl.1", letter.sink)))?;
        }
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)?
            .write_all(&line)
    }

    /// Hands out every letter that people want sent again, and removes its file. What is wrong is said in words.
    pub(crate) fn take_replayed(&self, mut each: impl FnMut(Letter)) -> Vec<String> {
        let mut problems = Vec::new();
        let Some(folder) = &self.folder else { return problems };
        let Ok(entries) = fs::read_dir(folder.join("replay")) else { return problems };
        let _busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort_unstable();
        for path in paths {
            if let Err(error) = read(&path, &mut each, &mut problems) {
                problems.push(format!("{}: cannot be read: {error}", path.display()));
                continue;
            }
            if let Err(error) = fs::remove_file(&path) {
                problems.push(format!("{}: cannot be removed: {error}", path.display()));
            }
        }
        problems
    }
}

fn read(path: &Path, each: &mut impl FnMut(Letter), problems: &mut Vec<String>) -> io::Result<()> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let mut reader = BufReader::new(file);
    for number in 1.. {
        let mut line = Vec::new();
        // A line that is longer is read in parts, none of which is a letter.
        if io::Read::take(&mut reader, LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        match serde_json::from_slice(&line) {
            Ok(letter) => each(letter),
            Err(error) => problems.push(format!("{}:{number}: is no dead letter: {error}", path.display())),
        }
    }
    Ok(())
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
        let lines = BufReader::new(fs::File::open(&path)?).split(b'\n');
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

/// Asks for a sink's dead letters, or those of all, to be sent again. The sinks that had some.
pub(crate) fn ask_replay(state_dir: &Path, only: Option<&str>) -> io::Result<Vec<String>> {
    let folder = folder(state_dir);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut paths: Vec<(String, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| Some((sink_of(&entry.path())?, entry.path())))
        .filter(|(sink, _)| only.is_none_or(|only| only == sink))
        .collect();
    // `.jsonl.1` is the older one.
    paths.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
    let waiting = folder.join("replay");
    DirBuilder::new().recursive(true).mode(0o700).create(&waiting)?;
    let mut sinks = Vec::new();
    for (number, (sink, path)) in paths.into_iter().enumerate() {
        let name = format!("{}-{number:04}-{sink}", jiff::Timestamp::now().as_nanosecond());
        fs::rename(&path, waiting.join(name))?;
        if !sinks.contains(&sink) {
            sinks.push(sink);
        }
    }
    Ok(sinks)
}

/// Whether letters still wait for an agent to take them.
pub(crate) fn replay_waits(state_dir: &Path) -> bool {
    fs::read_dir(folder(state_dir).join("replay")).is_ok_and(|mut entries| entries.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::fixture;

    fn keep(dead: &DeadLetters, seq: u64) {
        let alert = SafeAlert::new(fixture::incident());
        let letter =
            Letter { time: "t".into(), sink: "siem".into(), seq, reason: "400".into(), alert: &alert };
        dead.keep(&letter).unwrap();
    }

    #[test]
    fn letters_come_back_once_in_order_and_only_when_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let dead = DeadLetters::new(Some(dir.path()));
        keep(&dead, 1);
        keep(&dead, 2);
        let take = || {
            let mut seqs = Vec::new();
            assert!(dead.take_replayed(|letter| seqs.push(letter.seq)).is_empty());
            seqs
        };
        assert!(take().is_empty());
        assert_eq!(count(dir.path()).unwrap(), [("siem".to_owned(), 2)]);
        assert!(ask_replay(dir.path(), Some("other")).unwrap().is_empty());
        assert_eq!(ask_replay(dir.path(), None).unwrap(), ["siem"]);
        assert!(replay_waits(dir.path()));
        assert_eq!(take(), [1, 2]);
        assert!(!replay_waits(dir.path()) && take().is_empty());
    }

    #[test]
    fn a_full_file_is_put_aside_once_and_both_are_replayed_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let dead = DeadLetters::new(Some(dir.path()));
        keep(&dead, 1);
        let path = dir.path().join("dead/siem.jsonl");
        let full = OpenOptions::new().append(true).open(&path).unwrap();
        full.set_len(MOST).unwrap();
        keep(&dead, 2);
        assert!(fs::metadata(&path).unwrap().len() < MOST);
        ask_replay(dir.path(), Some("siem")).unwrap();
        let mut seqs = Vec::new();
        let problems = dead.take_replayed(|letter| seqs.push(letter.seq));
        assert_eq!(seqs, [1, 2]);
        assert!(problems[0].contains("is no dead letter"), "{problems:?}");
    }
}

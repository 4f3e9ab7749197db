//! Dead letters that people want sent again.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::{DeadLetters, LINE, Letter, folder, sink_of};

/// A file of letters that wait to be sent again.
pub(crate) struct Replayed {
    path: PathBuf,
    /// Whose they are, as far as its name says.
    pub(crate) sink: Option<String>,
}

impl DeadLetters {
    /// Files of letters that people want sent again, in the order in which they were.
    pub(crate) fn replayed(&self) -> Vec<Replayed> {
        let Some(folder) = &self.folder else { return Vec::new() };
        let Ok(entries) = fs::read_dir(folder.join("replay")) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort_unstable();
        paths.into_iter().map(|path| Replayed { sink: sink_of_replayed(&path), path }).collect()
    }

    /// Puts a file back among the dead letters; nobody would take them.
    pub(crate) fn put_back(&self, replayed: &Replayed) -> io::Result<()> {
        let (Some(folder), Some(sink)) = (&self.folder, &replayed.sink) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let _busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        for name in [format!("{sink}.jsonl"), format!("{sink}.jsonl.1")] {
            let path = folder.join(name);
            // The one that was there would be gone.
            if fs::symlink_metadata(&path).is_err() {
                return fs::rename(&replayed.path, path);
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Replayed {
    /// Hands out every letter. What is wrong with a line is said in words.
    ///
    /// # Errors
    /// The file cannot be read to its end.
    pub(crate) fn read(&self, mut each: impl FnMut(Letter), problems: &mut Vec<String>) -> io::Result<()> {
        let path = &self.path;
        let file =
            OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
        let mut reader = BufReader::new(file);
        for number in 1.. {
            let mut line = Vec::new();
            // A line that is longer is read in parts, none of which is a letter.
            if io::Read::take(&mut reader, LINE).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            match serde_json::from_slice(&line) {
                Ok(letter) => each(letter),
                Err(error) => {
                    problems.push(format!("{}:{number}: is no dead letter: {error}", path.display()))
                }
            }
        }
        Ok(())
    }

    /// Every letter is on its way.
    pub(crate) fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    pub(crate) fn shown(&self) -> String {
        self.path.display().to_string()
    }
}

/// As [`ask_replay`] names them: `TIME-NUMBER-SINK`.
fn sink_of_replayed(path: &Path) -> Option<String> {
    path.file_name()?.to_str()?.splitn(3, '-').nth(2).map(str::to_owned)
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

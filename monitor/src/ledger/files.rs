//! The files of the log: each is named by the number of its first entry.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Digits of a number in a name: names are in the order of numbers.
const DIGITS: usize = 20;
const ENDING: &str = ".jsonl";

/// One file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogFile {
    pub(super) path: PathBuf,
    /// The number of its first entry.
    pub(super) first: u64,
}

impl LogFile {
    pub(super) fn new(folder: &Path, first: u64) -> Self {
        Self { path: folder.join(format!("{first:0DIGITS$}{ENDING}")), first }
    }

    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// The files in a folder, from the oldest.
pub(super) fn list(folder: &Path) -> io::Result<Vec<LogFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(first) = first_of(&path) {
            files.push(LogFile { path, first });
        }
    }
    files.sort_unstable_by_key(|file| file.first);
    Ok(files)
}

fn first_of(path: &Path) -> Option<u64> {
    let number = path.file_name()?.to_str()?.strip_suffix(ENDING)?;
    (number.len() == DIGITS && number.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| number.parse().ok())?
}

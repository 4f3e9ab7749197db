//! The files of incidents in the state directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{CloseRequest, Saved};
use crate::alert::State;
pub use crate::state_dir::StateError as StoreError;
use crate::state_dir::{Before, Folder, check_owner, io_error, make, read_text, replace};

/// Their folder in the state directory.
const FOLDER: &str = "incidents";

/// Larger files are none of ours.
const FILE_MAX: u64 = 1 << 20;
/// Most files read.
const FILES_MAX: usize = 8192;
/// How long the file of a closed incident is kept.
const CLOSED_KEEP: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most files of closed incidents.
const CLOSED_MAX: usize = 256;

/// The files of the incidents, of which this is the only writer.
pub struct Store {
    folder: Folder,
}

impl Store {
    /// Opens the folder for incidents below the state directory, making it if need be.
    ///
    /// # Errors
    /// It cannot be made or used, others may write there, or another agent uses it.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let folder = Folder::take(state_dir, FOLDER)?;
        let closing = folder.path().join("close");
        make(&closing)?;
        check_owner(&closing)?;
        Ok(Self { folder })
    }

    /// The incidents that are not closed, and what is wrong with files that are set aside.
    pub fn load(&self) -> (Vec<Saved>, Vec<String>) {
        let mut problems = Vec::new();
        let mut all = Vec::new();
        for (path, read) in read_files(self.folder.path()) {
            match read {
                Ok(saved) => all.push(saved),
                Err(what) => {
                    let aside = path.with_extension("aside");
                    let moved = match fs::rename(&path, &aside) {
                        Ok(()) => format!("it is kept as {}", aside.display()),
                        Err(error) => format!("and it cannot be set aside: {error}"),
                    };
                    problems.push(format!("{}: {what}; {moved}", path.display()));
                }
            }
        }
        all.retain(|saved| saved.state() != State::Closed);
        (all, problems)
    }

    /// Writes the file of an incident: whole under another name, then under its own.
    ///
    /// # Errors
    /// It cannot be written; the one before is still there.
    pub fn save(&self, saved: &Saved) -> Result<(), StoreError> {
        let path = self.folder.path().join(format!("{}.json", saved.id()));
        let text = saved.text().map_err(|error| io_error(&path, "write it")(error.into()))?;
        write_whole(self.folder.path(), &path, &text)
    }

    /// The requests to close an incident that came since the last call, and what is wrong with those that are none.
    pub fn requests(&self) -> (Vec<CloseRequest>, Vec<String>) {
        let (mut requests, mut problems) = (Vec::new(), Vec::new());
        for path in json_files(&self.folder.path().join("close")) {
            let request = read_text(&path, FILE_MAX)
                .map_err(|error| error.to_string())
                .and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()))
                .and_then(CloseRequest::check);
            match request {
                Ok(request) => requests.push(request),
                Err(what) => {
                    problems.push(format!("{}: {what}", path.display()));
                    let _ = fs::remove_file(&path);
                }
            }
        }
        (requests, problems)
    }

    /// A request was taken.
    pub fn done(&self, request: &CloseRequest) {
        let path = request_path(self.folder.path(), &request.id);
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "request to close an incident not removed");
        }
    }

    /// Removes the files of incidents that were closed long ago, and what a killed agent left half written.
    pub fn prune(&self) {
        let now = SystemTime::now();
        let Ok(entries) = fs::read_dir(self.folder.path()) else { return };
        let mut closed: Vec<(SystemTime, PathBuf)> = Vec::new();
        for path in entries.flatten().map(|entry| entry.path()).take(FILES_MAX) {
            let Some(extension) = path.extension() else { continue };
            let changed = fs::symlink_metadata(&path).and_then(|meta| meta.modified()).unwrap_or(now);
            if extension == "tmp" {
                let _ = fs::remove_file(&path);
            } else if extension == "json"
                && read_file(&path).is_ok_and(|saved| saved.state() == State::Closed)
            {
                closed.push((changed, path));
            }
        }
        closed.sort_unstable();
        let too_many = closed.len().saturating_sub(CLOSED_MAX);
        for (number, (changed, path)) in closed.iter().enumerate() {
            if number < too_many || now.duration_since(*changed).is_ok_and(|age| age > CLOSED_KEEP) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// All incidents below a state directory, closed ones too, and what is wrong with files that cannot be read.
///
/// # Errors
/// The directory cannot be read.
pub fn read_incidents(state_dir: &Path) -> Result<(Vec<Saved>, Vec<String>), StoreError> {
    let folder = folder(state_dir);
    match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
        Err(error) => return Err(io_error(&folder, "read it")(error)),
        Ok(_) => {}
    }
    let (mut all, mut problems) = (Vec::new(), Vec::new());
    for (path, read) in read_files(&folder) {
        match read {
            Ok(saved) => all.push(saved),
            Err(what) => problems.push(format!("{}: {what}", path.display())),
        }
    }
    Ok((all, problems))
}

/// Leaves a request for the agent.
///
/// # Errors
/// It cannot be written.
pub(crate) fn leave_request(state_dir: &Path, request: &CloseRequest) -> Result<(), StoreError> {
    let folder = folder(state_dir).join("close");
    let path = request_path(&self::folder(state_dir), &request.id);
    let text = serde_json::to_string(request).map_err(|error| io_error(&path, "write it")(error.into()))?;
    write_whole(&folder, &path, &text)
}

/// Whether a request still waits for the agent.
pub(crate) fn request_waits(state_dir: &Path, id: &str) -> bool {
    request_path(&folder(state_dir), id).exists()
}

fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join(FOLDER)
}

fn request_path(folder: &Path, id: &str) -> PathBuf {
    folder.join("close").join(format!("{id}.json"))
}

fn read_files(folder: &Path) -> Vec<(PathBuf, Result<Saved, String>)> {
    json_files(folder).into_iter().map(|path| (path.clone(), read_file(&path))).collect()
}

/// At most `FILES_MAX`, sorted; none of a folder that cannot be read.
fn json_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .take(FILES_MAX)
        .collect();
    paths.sort_unstable();
    paths
}

fn read_file(path: &Path) -> Result<Saved, String> {
    let saved = Saved::parse(&read_text(path, FILE_MAX).map_err(|error| error.to_string())?)?;
    let name = path.file_stem().and_then(|name| name.to_str());
    if name == Some(saved.id()) { Ok(saved) } else { Err("it is the file of another incident".to_owned()) }
}

fn write_whole(folder: &Path, path: &Path, text: &str) -> Result<(), StoreError> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let half = folder.join(format!(".{name}.tmp"));
    replace(path, &half, text.as_bytes(), Before::Written).map_err(io_error(path, "write it"))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;

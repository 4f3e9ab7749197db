//! The state directory: folders in it that only one agent writes to.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

/// Why nothing can be kept there.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The directory cannot be used.
    #[error("{}: cannot {what}: {source}", path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Others may write there.
    #[error("{}: {what}, so another user could forge what is kept there; {fix}", path.display())]
    Unsafe {
        /// Directory.
        path: PathBuf,
        /// Who may write.
        what: String,
        /// What to do.
        fix: String,
    },
    /// Another agent uses it.
    #[error("{}: another agent uses it; give each its own `state_dir`", path.display())]
    InUse {
        /// Directory.
        path: PathBuf,
    },
}

/// A folder of the state directory, of which this is the only writer.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Held as long as the agent runs.
    _lock: Flock<File>,
}

impl Folder {
    /// Makes the folder, if need be, and takes it.
    pub(crate) fn take(state_dir: &Path, name: &str) -> Result<Self, StateError> {
        let path = state_dir.join(name);
        make(&path)?;
        for path in [state_dir, &path] {
            check_owner(path)?;
        }
        let lock = path.join("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&lock)
            .map_err(io_error(&lock, "open it"))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { path, _lock: lock }),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(StateError::InUse { path }),
            Err((_, error)) => Err(io_error(&lock, "lock it")(error.into())),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether an agent holds this folder of a state directory.
pub(crate) fn is_taken(state_dir: &Path, name: &str) -> bool {
    let lock = state_dir.join(name).join("lock");
    let Ok(file) = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(lock) else {
        return false;
    };
    matches!(Flock::lock(file, FlockArg::LockExclusiveNonblock), Err((_, nix::errno::Errno::EWOULDBLOCK)))
}

/// What has to be on the disk before a file takes the place of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// Its bytes: a renamed file whose blocks never came would be an empty one after a power cut.
    Synced,
    /// Nothing: what it tells of ends with the boot, or may be lost by a power cut.
    Written,
}

/// Puts a file of these bytes in place of the one at `path`: whoever reads it, and whatever fails, sees one of the two whole.
///
/// It is written at `half` first, which has to be on the same file system. The rename itself lasts once the folder is
/// synced.
pub(crate) fn replace(path: &Path, half: &Path, bytes: &[u8], before: Before) -> io::Result<()> {
    // What a killed agent left there, whatever it is by now.
    let _ = fs::remove_file(half);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(half)?;
    file.write_all(bytes)?;
    if before == Before::Synced {
        file.sync_data()?;
    }
    fs::rename(half, path)
}

/// The text of a plain file of at most `most` bytes.
///
/// # Errors
/// It cannot be read, is longer, is no text, or is something else than a file.
pub(crate) fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() > most {
        return Err(io::Error::other(format!("it is no file of at most {most} bytes")));
    }
    let mut text = String::new();
    file.take(most).read_to_string(&mut text)?;
    Ok(text)
}

/// Makes a folder, and those above it, for the agent alone.
pub(crate) fn make(path: &Path) -> Result<(), StateError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error(path, "make it"))
}

/// Refuses a folder that others may write to.
pub(crate) fn check_owner(path: &Path) -> Result<(), StateError> {
    let meta = fs::symlink_metadata(path).map_err(io_error(path, "look at it"))?;
    let us = nix::unistd::geteuid().as_raw();
    let refuse = |what: String, fix: String| Err(StateError::Unsafe { path: path.to_owned(), what, fix });
    if !meta.is_dir() {
        return refuse("is no directory".to_owned(), "move it away".to_owned());
    }
    if meta.uid() != 0 && meta.uid() != us {
        return refuse(format!("is owned by uid {}", meta.uid()), format!("chown root {}", path.display()));
    }
    if meta.mode() & 0o022 != 0 {
        return refuse("may be written by others".to_owned(), format!("chmod go-w {}", path.display()));
    }
    Ok(())
}

/// What went wrong with a file, in a [`StateError`].
pub(crate) fn io_error(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io { path, what, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn replaced_file_is_for_its_owner_only_and_what_lay_in_the_way_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, half, other) = (dir.path().join("a"), dir.path().join(".a"), dir.path().join("other"));
        fs::write(&path, "before").unwrap();
        fs::write(&other, "somebody's").unwrap();
        symlink(&other, &half).unwrap();
        for before in [Before::Synced, Before::Written] {
            replace(&path, &half, b"after", before).unwrap();
            assert_eq!(read_text(&path, 5).unwrap(), "after");
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&other).unwrap(), "somebody's");
        assert!(!half.exists());
    }

    #[test]
    fn file_that_cannot_be_replaced_is_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "before").unwrap();
        assert!(replace(&path, &dir.path().join("no/half"), b"after", Before::Synced).is_err());
        assert_eq!(read_text(&path, 6).unwrap(), "before");
    }

    #[test]
    fn text_of_links_pipes_folders_and_long_files_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("long"), "123456").unwrap();
        symlink(path("long"), path("link")).unwrap();
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert_eq!(read_text(&path("long"), 6).unwrap(), "123456");
        assert!(read_text(&path("long"), 5).unwrap_err().to_string().contains("at most 5 bytes"));
        for name in ["link", "pipe", "."] {
            assert!(read_text(&path(name), 6).is_err(), "{name}");
        }
        assert_eq!(read_text(&path("none"), 6).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

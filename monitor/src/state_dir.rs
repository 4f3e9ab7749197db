//! The state directory: folders in it that only one agent writes to.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
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

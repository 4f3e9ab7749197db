//! Files the cases act on.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Name that the cases' filter watches, wherever it lies.
pub(crate) const WATCHED_NAME: &str = "sw-secret-token";
/// Folder name that the cases' filter watches.
pub(crate) const WATCHED_FOLDER: &str = "sw-secret-folder";

/// Device in the kernel's encoding and inode of a file.
pub(crate) fn identity(path: &Path) -> Result<(u32, u64)> {
    let meta = fs::metadata(path).with_context(|| format!("cannot stat {}", path.display()))?;
    Ok(((libc::major(meta.dev()) << 20) | libc::minor(meta.dev()), meta.ino()))
}

/// A folder of this case, on the file system of the target folder (not tmpfs, where there is a choice), resolved.
pub(crate) fn folder() -> Result<tempfile::TempDir> {
    let base: PathBuf = if Path::new("/var/tmp").is_dir() { "/var/tmp".into() } else { std::env::temp_dir() };
    let base = base.canonicalize().context("cannot resolve the folder for temporary files")?;
    tempfile::Builder::new().prefix("sw-case-").tempdir_in(base).context("cannot make a temporary folder")
}

/// Writes a small secret and returns its path.
pub(crate) fn secret(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    fs::write(&path, "not-a-real-secret\n").with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

//! Folders: the repository, its build output, and the cache outside of it.

use anyhow::{Context, Result, anyhow};
use std::path::{Path, PathBuf};

/// The repository's root folder: the parent of this package.
pub(crate) fn repo() -> Result<PathBuf> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map(Path::to_path_buf).ok_or_else(|| anyhow!("{} has no parent", package.display()))
}

/// cargo's target folder.
pub(crate) fn target() -> Result<PathBuf> {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => Ok(repo()?.join(dir)),
        None => Ok(repo()?.join("target")),
    }
}

/// What is kept from run to run and from clone to clone: `$SANDWATCH_CACHE`, else `sandwatch` in the
/// user's cache folder. Made if it is missing.
///
/// # Errors
/// Neither variable nor home folder is set, or the folder cannot be made.
pub(crate) fn cache() -> Result<PathBuf> {
    let dir = if let Some(dir) = set("SANDWATCH_CACHE") {
        std::path::absolute(&dir)?
    } else if let Some(dir) = set("XDG_CACHE_HOME") {
        PathBuf::from(dir).join("sandwatch")
    } else {
        let home = set("HOME").ok_or_else(|| anyhow!("neither SANDWATCH_CACHE nor HOME is set"))?;
        PathBuf::from(home).join(".cache/sandwatch")
    };
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make the cache {}", dir.display()))?;
    Ok(dir)
}

fn set(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

//! Whether the disk has what an earlier agent gave it.
//!
//! What a process wrote outlives the process, but not always the kernel that held it: a power cut takes what was not synced.
//! So there is a file with the id of the boot in which everything that has a number was written. It is removed when the
//! disk takes no more (a full disk lets files go), and made again when everything is written. If it is missing at a start, or
//! is of another boot, numbers may have been given that no file knows of.

use std::fs;
use std::io;
use std::path::Path;

pub(crate) const NAME: &str = "boot";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Whether everything that has a number is in the files of the folder, as far as this kernel knows.
pub(crate) fn has_all(folder: &Path) -> bool {
    let Ok(now) = fs::read(BOOT_ID) else { return false };
    fs::read(folder.join(NAME)).is_ok_and(|then| then == now)
}

/// From now on it has.
pub(crate) fn set(folder: &Path) -> io::Result<()> {
    fs::write(folder.join(NAME), fs::read(BOOT_ID)?)
}

/// From now on it has not.
pub(crate) fn unset(folder: &Path) -> io::Result<()> {
    match fs::remove_file(folder.join(NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_of_another_boot_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!has_all(dir.path()));
        set(dir.path()).unwrap();
        assert!(has_all(dir.path()));
        fs::write(dir.path().join(NAME), "5f1c9b0e\n").unwrap();
        assert!(!has_all(dir.path()));
        unset(dir.path()).unwrap();
        unset(dir.path()).unwrap();
    }
}

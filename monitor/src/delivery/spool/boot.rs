//! Whether the disk has what an earlier agent gave it.
//!
//! What a process wrote outlives the process, but not always the kernel that held it: a power cut takes what was not synced.
//! So there is a file with the id of the boot in which everything that has a number was written. It is removed when the
//! disk takes no more (a full disk lets files go), and made again when everything is written. If it is missing at a start, or
//! is of another boot, numbers may have been given that no file knows of.
//!
//! It also says which file of which machine it is. If it is another one, somebody has put the folder back from a copy, or has made
//! other machines of this one, and what was given since is in none of its files.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::UNIX_EPOCH;

pub(crate) const NAME: &str = "boot";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const MACHINE_ID: &str = "/etc/machine-id";

/// What the folder has of the numbers that were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Has {
    /// All of them, as far as this kernel knows.
    All,
    /// Perhaps not all.
    Some,
    /// Those of the time of a copy.
    Copied,
}

/// What the folder has.
pub(crate) fn has(folder: &Path) -> Has {
    let path = folder.join(NAME);
    let Ok(text) = fs::read_to_string(&path) else { return Has::Some };
    let mut lines = text.lines();
    let (boot, file) = (lines.next(), lines.next());
    if let Some(file) = file
        && fs::metadata(&path).is_ok_and(|meta| identity(&meta) != file)
    {
        return Has::Copied;
    }
    match fs::read_to_string(BOOT_ID) {
        Ok(now) if boot == Some(now.trim_end()) => Has::All,
        _ => Has::Some,
    }
}

/// From now on it has all.
pub(crate) fn set(folder: &Path) -> io::Result<()> {
    // Another file each time: one that is overwritten by a copy says which file it was.
    unset(folder)?;
    let mut file: File =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(NAME))?;
    let boot = fs::read_to_string(BOOT_ID)?;
    writeln!(file, "{}\n{}", boot.trim_end(), identity(&file.metadata()?))
}

/// From now on it has not.
pub(crate) fn unset(folder: &Path) -> io::Result<()> {
    match fs::remove_file(folder.join(NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Numbers of files are given again, by some file systems at once: the file before is then told by when it was made. Only of two
/// that were made within one tick of the kernel's clock (a few ms, before Linux 6.13) that says nothing, and nobody has made a copy
/// of the first by then.
fn identity(meta: &Metadata) -> String {
    let born = meta.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let machine = fs::read_to_string(MACHINE_ID).unwrap_or_default();
    format!("{} {} {}", meta.ino(), born.map_or(0, |at| at.as_nanos()), machine.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_of_another_boot_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(has(dir.path()), Has::Some);
        set(dir.path()).unwrap();
        assert_eq!(has(dir.path()), Has::All);
        fs::write(dir.path().join(NAME), "5f1c9b0e\n").unwrap();
        assert_eq!(has(dir.path()), Has::Some);
        unset(dir.path()).unwrap();
        unset(dir.path()).unwrap();
    }

    #[test]
    fn copy_is_told_from_the_file_that_it_was_made_of_and_a_rename_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        set(dir.path()).unwrap();
        fs::copy(dir.path().join(NAME), other.path().join(NAME)).unwrap();
        assert_eq!((has(dir.path()), has(other.path())), (Has::All, Has::Copied));
        let older = fs::read(dir.path().join(NAME)).unwrap();
        // Another file by its number or by a later tick of the clock.
        for _ in 0..1000 {
            set(dir.path()).unwrap();
            if fs::read(dir.path().join(NAME)).unwrap() != older {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        fs::write(dir.path().join(NAME), older).unwrap();
        assert_eq!(has(dir.path()), Has::Copied, "overwritten in place");
        set(dir.path()).unwrap();
        fs::create_dir(dir.path().join("moved")).unwrap();
        fs::rename(dir.path().join(NAME), dir.path().join("moved").join(NAME)).unwrap();
        assert_eq!(has(&dir.path().join("moved")), Has::All);
    }

    #[test]
    fn folder_of_another_machine_is_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        set(dir.path()).unwrap();
        let path = dir.path().join(NAME);
        let text = fs::read_to_string(&path).unwrap();
        let machine = fs::read_to_string(MACHINE_ID).unwrap_or_default();
        let other = format!("{}5f1c9b0e\n", text.trim_end().strip_suffix(machine.trim()).unwrap());
        // The very file, as in a clone of the disk.
        fs::write(&path, other).unwrap();
        assert_eq!(has(dir.path()), Has::Copied);
        fs::write(&path, text).unwrap();
        assert_eq!(has(dir.path()), Has::All);
    }

    #[test]
    fn file_of_an_agent_before_this_one_is_understood() {
        let dir = tempfile::tempdir().unwrap();
        fs::copy(BOOT_ID, dir.path().join(NAME)).unwrap();
        assert_eq!(has(dir.path()), Has::All);
    }
}

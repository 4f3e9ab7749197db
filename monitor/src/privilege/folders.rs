//! Root without CAP_DAC_OVERRIDE writes where root may, like anybody else: what lies elsewhere is said at the start, and not first
//! when a file is to be opened again.

use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

/// Of these files, those that this thread can no longer write or make anew, each with what stands in the way: the file, or its
/// folder.
pub(super) fn closed(files: &[PathBuf]) -> Vec<(&Path, PathBuf)> {
    let writable = |path: &Path| access(path, AccessFlags::W_OK);
    let mut closed = Vec::new();
    for file in files.iter().map(PathBuf::as_path) {
        let folder = match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        for place in [file, folder] {
            // What is not there, or lies in a read-only file system, is something else, and its sink says so.
            if writable(place) == Err(nix::errno::Errno::EACCES) {
                closed.push((file, place.to_owned()));
                break;
            }
        }
    }
    closed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown};

    #[test]
    fn file_in_a_folder_of_somebody_else_is_named_with_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
        for place in [&ours, &theirs] {
            fs::create_dir(place).unwrap();
        }
        fs::set_permissions(&theirs, fs::Permissions::from_mode(0o555)).unwrap();
        if nix::unistd::geteuid().is_root() {
            chown(&theirs, Some(65534), None).unwrap();
        }
        let (here, there) = (ours.join("alerts.jsonl"), theirs.join("alerts.jsonl"));
        // Capabilities are a thread's own.
        let found = std::thread::spawn(move || {
            let plan = super::super::Plan::of(0);
            super::super::capabilities::keep_only(&plan).unwrap();
            let files = [here, there];
            closed(&files).into_iter().map(|(file, place)| (file.to_owned(), place)).collect::<Vec<_>>()
        });
        assert_eq!(found.join().unwrap(), [(theirs.join("alerts.jsonl"), theirs)]);
    }
}

//! The files of a spool, and disks that fail as a test says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::{Writer, format};
use crate::delivery::Class;

pub(crate) fn segments(dir: &Path, class: Class) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir.join("spool"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with(class.name()) && name.ends_with(".seg")
        })
        .collect();
    paths.sort();
    paths
}

/// Runs this test again in a mount namespace of its own, where a small file system may be mounted on `dir`: as root there,
/// whoever runs it. `true`: this is that run.
pub(crate) fn in_own_mounts(room: &str, test: &str) -> bool {
    let test = format!("{}::{test}", room.split_once("::").unwrap().1);
    const INNER: &str = "SANDWATCH_TEST_OWN_MOUNTS";
    if std::env::var_os(INNER).is_some() {
        return true;
    }
    let mut unshare = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let output = unshare
        .args(["--mount", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .env(INNER, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

pub(crate) fn mount_small(dir: &Path, size: &str) {
    let options = format!("size={size},mode=0700");
    let mount = ["-t", "tmpfs", "-o", &options, "sw-spool-test"];
    let status = Command::new("mount").args(mount).arg(dir).status().unwrap();
    assert!(status.success());
}

/// Takes what a file system has left.
pub(crate) fn fill(dir: &Path) {
    for number in 0.. {
        if fs::write(dir.join(format!("filler-{number}")), vec![0; 64 << 10]).is_err() {
            break;
        }
    }
}

pub(crate) fn make_room(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("filler") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

/// Reads with EIO from a file: the memory of a process has no page at such an address.
pub(crate) fn mount_bad_blocks(path: &Path) {
    let status = Command::new("mount").args(["--bind", "/proc/self/mem"]).arg(path).status();
    assert!(status.unwrap().success());
}

/// Ends what was mounted there.
pub(crate) fn unmount(path: &Path) {
    assert!(Command::new("umount").arg(path).status().unwrap().success());
}

/// What a power cut leaves: of files what was synced, and another boot.
pub(crate) fn power_cut(dir: &Path, writer: Writer) {
    let unsynced = writer.unsynced();
    drop(writer);
    for (path, length) in unsynced {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        if length < file.metadata().unwrap().len() {
            file.set_len(length).unwrap();
        }
    }
    if dir.join("spool/boot").exists() {
        fs::write(dir.join("spool/boot"), "another boot\n").unwrap();
    }
}

/// Damages a record of a segment that has so many of the same length.
pub(crate) fn corrupt(path: &Path, at: usize, of: usize) {
    let mut bytes = fs::read(path).unwrap();
    let record = (bytes.len() - format::HEADER) / of;
    bytes[format::HEADER + at * record + record / 2] ^= 0x55;
    fs::write(path, bytes).unwrap();
}

/// The files of the spool of these kinds, to be put back later.
pub(crate) fn copy_of(dir: &Path, wanted: impl Fn(&str) -> bool) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(dir.join("spool")).unwrap().flatten();
    let named = entries.filter(|entry| wanted(entry.file_name().to_str().unwrap()));
    named.map(|entry| (entry.path(), fs::read(entry.path()).unwrap())).collect()
}

/// As `cp` and most tools do it: another file of that name.
pub(crate) fn put_back(copy: &[(PathBuf, Vec<u8>)]) {
    for (path, bytes) in copy {
        let _ = fs::remove_file(path);
        fs::write(path, bytes).unwrap();
    }
}

pub(crate) fn is_cursor(name: &str) -> bool {
    name.ends_with(".cursor")
}

/// Runs this while the process may open nothing. Only in a process of its own.
pub(crate) fn without_files<T>(body: impl FnOnce() -> T) -> T {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
    let done = body();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    done
}

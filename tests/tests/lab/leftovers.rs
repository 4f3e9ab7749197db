//! What container runtimes leave behind when they are ended: their helpers, mounts and cgroups.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// containerd's helpers outlive it; those of one are told by the socket they were given.
pub(crate) fn end_shims(socket: &Path) {
    let socket = socket.to_str().unwrap().as_bytes();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line.split(|byte| *byte == 0).any(|argument| argument == socket) {
            // SAFETY: kill only takes numbers; the command line says that it is this test's own.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}

pub(crate) fn unmount_below(folder: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let prefix = folder.to_str().unwrap();
    let own =
        mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|path| path.starts_with(prefix));
    for path in own.collect::<Vec<_>>().into_iter().rev() {
        let _ = Command::new("umount").args(["-l", path]).stderr(Stdio::null()).status();
    }
}

/// The cgroups of this name and below, in every hierarchy there is: only those that are empty can be removed.
pub(crate) fn remove_cgroups(name: &str) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for line in mounts.lines() {
        let mut fields = line.split(' ');
        if let (Some(_), Some(path), Some("cgroup" | "cgroup2")) =
            (fields.next(), fields.next(), fields.next())
        {
            remove(&Path::new(path).join(name));
        }
    }
}

fn remove(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(path);
}

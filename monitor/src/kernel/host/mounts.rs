//! The mounts the sensor needs: cgroup2, tracefs, securityfs.

use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

/// One line of /proc/self/mountinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Path within the file system that is the root of this mount.
    pub(crate) root: PathBuf,
    /// Where it is mounted.
    pub(crate) point: PathBuf,
    /// Type of the file system.
    pub(crate) kind: String,
}

/// Parses /proc/self/mountinfo (proc(5)); lines that are not of its form are left out.
pub(crate) fn parse(mountinfo: &str) -> Vec<Mount> {
    mountinfo.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(3);
    Some(Mount {
        root: unescape(fields.next()?),
        point: unescape(fields.next()?),
        kind: after.split(' ').next()?.to_owned(),
    })
}

/// Space, tab, newline and backslash are octal escapes there (fs/proc_namespace.c: `mangle`).
pub(crate) fn unescape(field: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// The cgroup2 mount to use, and whether it shows the root of the hierarchy: its folder has inode 1 there
/// (kernel/cgroup/cgroup.c, `cgroup_id`), also in hybrid layouts; in a cgroup namespace it has another.
pub(crate) fn cgroup2(mounts: &[Mount]) -> Option<(PathBuf, bool)> {
    let is_root = |mount: &&Mount| std::fs::metadata(&mount.point).is_ok_and(|folder| folder.ino() == 1);
    let all = || mounts.iter().filter(|mount| mount.kind == "cgroup2");
    match all().find(is_root) {
        Some(mount) => Some((mount.point.clone(), true)),
        None => all().next().map(|mount| (mount.point.clone(), false)),
    }
}

/// Where a file system of this kind that has `probe` in it is, mounting it at `usual` when it is nowhere.
pub(crate) fn find_or_mount(
    mounts: &[Mount],
    kind: &'static str,
    usual: &Path,
    probe: &str,
) -> Result<(PathBuf, bool), io::Error> {
    let holds = |point: &Path| point.join(probe).exists();
    if let Some(mount) = mounts.iter().find(|mount| mount.kind == kind && holds(&mount.point)) {
        return Ok((mount.point.clone(), false));
    }
    if holds(usual) {
        return Ok((usual.to_owned(), false));
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some(kind), usual, Some(kind), flags, None::<&str>)?;
    if holds(usual) {
        Ok((usual.to_owned(), true))
    } else {
        Err(io::Error::new(io::ErrorKind::NotFound, format!("{} has no {probe}", usual.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_line_with_optional_fields_and_escapes_is_read() {
        let line =
            "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue";
        let expected = Mount { root: "/mnt1".into(), point: "/mnt 2".into(), kind: "ext3".into() };
        assert_eq!(parse(line), [expected]);
    }

    #[test]
    fn mountinfo_broken_line_is_left_out_and_the_next_is_read() {
        let text = "garbage\n\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(parse(text).len(), 1);
    }

    #[test]
    fn cgroup2_of_a_hybrid_layout_is_not_the_v1_mount() {
        let text = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                    41 31 0:38 / /nowhere/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup2(&parse(text)), Some(("/nowhere/unified".into(), false)));
        assert_eq!(cgroup2(&[]), None);
    }

    #[test]
    fn cgroup2_is_nowhere_on_a_host_with_v1_alone() {
        let text = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n32 31 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                    33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert_eq!(parse(text).len(), 3);
        assert_eq!(cgroup2(&parse(text)), None);
    }
}

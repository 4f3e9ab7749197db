//! A table of mounts, and what a mount is on the host: the host's own mount of the same device that shows the same part of
//! it, whatever name the worker knows it by.

use std::sync::Arc;

use crate::kernel::unescape_mount;
use crate::profile::Mounted;

/// A line of /proc/PID/mountinfo (proc(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostMount {
    /// Device, `MAJOR:MINOR`.
    device: String,
    /// What of the file system is mounted.
    root: String,
    /// Where.
    point: String,
    /// Type of the file system.
    kind: String,
    /// Neither mount nor file system is read-only.
    writable: bool,
}

impl HostMount {
    /// As a worker's mount, looked for among those of the host.
    pub(super) fn told(&self, host: &[Self]) -> Mounted {
        Mounted {
            point: self.point.as_str().into(),
            host: self.on_host(host),
            kind: self.kind.as_str().into(),
            writable: self.writable,
        }
    }

    fn on_host(&self, host: &[Self]) -> Option<Arc<str>> {
        // The mount that shows most of the way says best where it is; of several the first, which others repeat.
        let mut best: Option<(&Self, &str)> = None;
        for mount in host.iter().filter(|mount| mount.device == self.device) {
            if let Some(rest) = below(&mount.root, &self.root)
                && best.is_none_or(|(known, _)| mount.root.len() > known.root.len())
            {
                best = Some((mount, rest));
            }
        }
        let (mount, rest) = best?;
        let path = format!("{}{rest}", mount.point.trim_end_matches('/'));
        Some(if path.is_empty() { "/".into() } else { path.into() })
    }
}

/// The rest of a path below a folder: empty, or beginning with `/`.
fn below<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(folder.trim_end_matches('/'))?;
    let rest = if rest == "/" { "" } else { rest };
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// The mounts of a table; lines that are not of its form are left out.
pub(super) fn parse(text: &str) -> Vec<HostMount> {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<HostMount> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(2);
    let (device, root, point, options) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let mut of_type = after.split(' ');
    let (kind, super_options) = (of_type.next()?, of_type.nth(1).unwrap_or_default());
    let read_only = |options: &str| options.split(',').any(|option| option == "ro");
    let text = |field| unescape_mount(field).to_string_lossy().into_owned();
    Some(HostMount {
        device: device.to_owned(),
        root: text(root),
        point: text(point),
        kind: kind.to_owned(),
        writable: !read_only(options) && !read_only(super_options),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "\
        22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n\
        23 22 0:21 / /proc rw - proc proc rw\n\
        24 22 0:22 / /sys rw - sysfs sysfs rw\n\
        25 22 0:24 / /run rw - tmpfs tmpfs rw\n\
        26 22 8:2 / /var/lib/docker rw - xfs /dev/sda2 rw\n\
        27 22 8:1 /srv/data /data rw - ext4 /dev/sda1 rw\n\
        28 22 0:50 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw\n";

    fn told(mount: &str) -> Mounted {
        parse(mount)[0].told(&parse(HOST))
    }

    #[test]
    fn bind_mount_is_told_by_its_path_on_the_host() {
        let socket = told("90 80 0:24 /docker.sock /anything rw - tmpfs tmpfs rw");
        assert_eq!(socket.host.as_deref(), Some("/run/docker.sock"));
        assert!(socket.writable);
        assert_eq!(told("90 80 8:1 / /host ro - ext4 /dev/sda1 rw").host.as_deref(), Some("/"));
        assert_eq!(told("90 80 8:1 /etc /mnt ro - ext4 /dev/sda1 rw").host.as_deref(), Some("/etc"));
        assert_eq!(told("90 80 0:21 / /hostproc rw - proc proc rw").host.as_deref(), Some("/proc"));
        assert_eq!(told("90 80 8:1 /srv/data/a /a rw - ext4 /dev/sda1 rw").host.as_deref(), Some("/data/a"));
        assert_eq!(
            told("90 80 8:1 /srv/database /a rw - ext4 /dev/sda1 rw").host.as_deref(),
            Some("/srv/database")
        );
    }

    #[test]
    fn what_only_the_container_has_is_nothing_of_the_host() {
        assert_eq!(told("90 80 0:99 / /proc rw - proc proc rw").host, None);
        let root = told("80 1 0:50 / / rw - overlay overlay rw");
        assert_eq!(root.host.as_deref(), Some("/var/lib/docker/overlay2/x/merged"));
    }

    #[test]
    fn read_only_is_what_the_mount_or_its_file_system_says() {
        assert!(!told("90 80 8:1 /etc /mnt ro,relatime - ext4 /dev/sda1 rw").writable);
        assert!(!told("90 80 8:1 /etc /mnt rw shared:1 - ext4 /dev/sda1 ro,discard").writable);
        assert!(told("90 80 8:1 /etc /mnt rw,nosuid shared:1 master:2 - ext4 /dev/sda1 rw").writable);
    }

    #[test]
    fn point_with_a_blank_is_read_and_a_broken_line_left_out() {
        let all = parse("garbage\n90 80 8:1 /a\\040b /m\\040n rw - ext4 /dev/sda1 rw\n");
        assert_eq!(all.len(), 1);
        assert_eq!(&*all[0].told(&parse(HOST)).point, "/m n");
    }
}

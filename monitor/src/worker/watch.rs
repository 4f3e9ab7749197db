//! Notices new and removed cgroups below the watched folders.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

/// Watches folders of the cgroup hierarchy for cgroups that are made and removed in them.
pub struct CgroupWatch {
    inotify: Inotify,
    root: PathBuf,
    folders: HashMap<WatchDescriptor, String>,
    watched: BTreeSet<String>,
}

impl CgroupWatch {
    /// A watch of the hierarchy mounted at `root`.
    pub fn new(root: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        Ok(Self { inotify, root: root.to_owned(), folders: HashMap::new(), watched: BTreeSet::new() })
    }

    /// Readable when something changed.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Watches the folder of a cgroup (path below the root, starting with `/`); nothing happens if it is watched already.
    pub fn add(&mut self, path: &str) -> io::Result<()> {
        if self.watched.contains(path) {
            return Ok(());
        }
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_ONLYDIR;
        match self.inotify.add_watch(&self.root.join(path.trim_start_matches('/')), flags) {
            Ok(descriptor) => {
                self.folders.insert(descriptor, path.to_owned());
                self.watched.insert(path.to_owned());
                Ok(())
            }
            // Removed meanwhile: its parent's watch says so.
            Err(nix::errno::Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The cgroups that were made or removed since the last call; `/` if so many were that the kernel lost count.
    pub fn changed(&mut self) -> io::Result<BTreeSet<String>> {
        let mut changed = BTreeSet::new();
        loop {
            let events = match self.inotify.read_events() {
                Ok(events) => events,
                Err(nix::errno::Errno::EAGAIN) => return Ok(changed),
                Err(nix::errno::Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    changed.insert("/".to_owned());
                } else if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    if let Some(path) = self.folders.remove(&event.wd) {
                        self.watched.remove(&path);
                    }
                } else if let (Some(folder), Some(name)) = (self.folders.get(&event.wd), &event.name) {
                    // Files of cgroupfs appear and vanish too (controllers switched on); only folders are cgroups.
                    if event.mask.contains(AddWatchFlags::IN_ISDIR) {
                        let folder = folder.trim_end_matches('/');
                        changed.insert(format!("{folder}/{}", name.to_string_lossy()));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_and_removed_folders_are_named_and_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("lab")).unwrap();
        let mut watch = CgroupWatch::new(dir.path()).unwrap();
        watch.add("/").unwrap();
        watch.add("/lab").unwrap();
        watch.add("/missing").unwrap();
        std::fs::create_dir(dir.path().join("lab/w")).unwrap();
        std::fs::write(dir.path().join("lab/cgroup.procs"), "").unwrap();
        assert_eq!(watch.changed().unwrap(), BTreeSet::from(["/lab/w".to_owned()]));
        std::fs::remove_dir(dir.path().join("lab/w")).unwrap();
        std::fs::create_dir(dir.path().join("other")).unwrap();
        assert_eq!(watch.changed().unwrap(), BTreeSet::from(["/lab/w".to_owned(), "/other".to_owned()]));
    }

    #[test]
    fn folder_made_anew_can_be_watched_anew() {
        let dir = tempfile::tempdir().unwrap();
        let lab = dir.path().join("lab");
        let mut watch = CgroupWatch::new(dir.path()).unwrap();
        for _ in 0..2 {
            std::fs::create_dir(&lab).unwrap();
            watch.add("/lab").unwrap();
            std::fs::create_dir(lab.join("w")).unwrap();
            assert!(watch.changed().unwrap().contains("/lab/w"));
            std::fs::remove_dir_all(&lab).unwrap();
            watch.changed().unwrap();
        }
    }
}

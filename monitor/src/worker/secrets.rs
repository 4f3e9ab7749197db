//! Where the catalogue's secrets are in each worker, by device and inode.
//!
//! A hard link, a rename or a bind mount gives a secret another path, never another inode. The literal paths of the rules are
//! resolved in each worker's root (never following a link out of it), and a file that was opened by a watched path is
//! remembered by its inode: both become keys of the kernel's filter.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::Arc;

use crate::event::FileId;
use crate::kernel::InodeFilter;
use crate::process::kernel_dev;
use crate::profile::LiteralPath;

/// Most files known at once; the kernel's map has its own, larger bound.
const FILES_MAX: usize = 8192;

/// Resolves paths in a process's root.
pub trait RootFiles {
    /// The file at each path as that process would see it; what does not exist, or cannot be seen, is `None`.
    fn resolve(&self, pid: u32, paths: &mut dyn Iterator<Item = &str>) -> Vec<Option<FileId>>;
}

/// Through /proc/PID/root of the running host.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRoots;

impl RootFiles for SystemRoots {
    fn resolve(&self, pid: u32, paths: &mut dyn Iterator<Item = &str>) -> Vec<Option<FileId>> {
        let root = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC)
            .open(format!("/proc/{pid}/root"));
        match root {
            Ok(root) => paths.map(|path| in_root(&root, path).ok()).collect(),
            Err(_) => paths.map(|_| None).collect(),
        }
    }
}

fn in_root(root: &File, path: &str) -> io::Result<FileId> {
    let path = CString::new(path)?;
    // SAFETY: all-zero is a valid open_how.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: a valid descriptor, a NUL-terminated path and an open_how of the stated size, all alive during the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            root.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    };
    let fd = i32::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: openat2 just returned this descriptor; nothing else owns it.
    let file = unsafe { File::from_raw_fd(fd) };
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(FileId { dev: kernel_dev(meta.dev()), ino: meta.ino() })
}

struct Known {
    identity: Option<Arc<str>>,
    access: u32,
    /// Labels whose root has it; learnt files have the label that opened them.
    labels: Vec<u32>,
}

/// The known secrets of all workers.
#[derive(Default)]
pub struct KnownFiles {
    files: HashMap<FileId, Known>,
    reachable: BTreeMap<u32, Vec<Arc<str>>>,
    dirty: bool,
}

impl KnownFiles {
    /// Resolves the literal paths in the root of a worker's process.
    pub fn look(&mut self, label: u32, pid: u32, literals: &[LiteralPath], roots: &dyn RootFiles) {
        let found = roots.resolve(pid, &mut literals.iter().map(|literal| &*literal.path));
        let mut reachable: Vec<Arc<str>> = Vec::new();
        for (literal, file) in literals.iter().zip(found) {
            let Some(file) = file else { continue };
            if let Some(identity) = &literal.identity
                && !reachable.contains(identity)
            {
                reachable.push(identity.clone());
            }
            self.add(file, label, literal.access, literal.identity.clone());
        }
        self.reachable.insert(label, reachable);
    }

    /// Remembers a file that was opened by a path of the catalogue.
    pub fn learn(&mut self, file: FileId, label: u32, access: u32, identity: Arc<str>) {
        self.add(file, label, access, Some(identity));
    }

    fn add(&mut self, file: FileId, label: u32, access: u32, identity: Option<Arc<str>>) {
        if file == FileId::default() {
            return;
        }
        if let Some(known) = self.files.get_mut(&file) {
            self.dirty |= known.access | access != known.access;
            known.access |= access;
            if known.identity.is_none() {
                known.identity = identity;
            }
            if !known.labels.contains(&label) {
                known.labels.push(label);
            }
            return;
        }
        if self.files.len() >= FILES_MAX {
            tracing::warn!(
                max = FILES_MAX,
                "too many known secret files: this one is watched by its path only"
            );
            return;
        }
        self.files.insert(file, Known { identity, access, labels: vec![label] });
        self.dirty = true;
    }

    /// Forgets a worker.
    pub fn forget(&mut self, label: u32) {
        self.reachable.remove(&label);
        let before = self.files.len();
        self.files.retain(|_, known| {
            known.labels.retain(|of| *of != label);
            !known.labels.is_empty()
        });
        self.dirty |= self.files.len() != before;
    }

    /// Forgets everything: the rules changed.
    pub fn clear(&mut self) {
        self.files.clear();
        self.reachable.clear();
        self.dirty = true;
    }

    /// The identity a file is known as.
    pub fn identity(&self, file: FileId) -> Option<&str> {
        self.files.get(&file)?.identity.as_deref()
    }

    /// The identities that exist in a worker's root.
    pub fn reachable(&self, label: u32) -> &[Arc<str>] {
        self.reachable.get(&label).map_or(&[], Vec::as_slice)
    }

    /// Whether the kernel's filter is out of date; asking makes it not so.
    pub fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    /// The kernel filter's keys.
    pub fn inodes(&self) -> Vec<InodeFilter> {
        let mut inodes: Vec<InodeFilter> = self
            .files
            .iter()
            .map(|(file, known)| InodeFilter {
                dev: file.dev,
                ino: file.ino,
                generation: 0,
                access: known.access,
            })
            .collect();
        inodes.sort_unstable_by_key(|file| (file.dev, file.ino));
        inodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(path: &str, identity: &str) -> LiteralPath {
        LiteralPath { path: path.into(), access: 1, identity: Some(identity.into()) }
    }

    #[test]
    fn secret_in_the_own_root_is_known_by_inode_and_identity() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "x").unwrap();
        let mut files = KnownFiles::default();
        let literals = [literal(path.to_str().unwrap(), "token"), literal("/nonexistent/secret", "other")];
        files.look(1, std::process::id(), &literals, &SystemRoots);
        let meta = std::fs::metadata(&path).unwrap();
        let id = FileId { dev: kernel_dev(meta.dev()), ino: meta.ino() };
        assert_eq!(files.identity(id), Some("token"));
        assert_eq!(files.reachable(1), [Arc::from("token")]);
        assert!(files.take_dirty() && !files.take_dirty());
        files.forget(1);
        assert!(files.inodes().is_empty() && files.take_dirty());
    }

    #[test]
    fn folders_and_missing_processes_resolve_to_nothing() {
        assert_eq!(SystemRoots.resolve(std::process::id(), &mut ["/", "/etc"].into_iter()), [None, None]);
        assert_eq!(SystemRoots.resolve(u32::MAX, &mut ["/etc/passwd"].into_iter()), [None]);
    }

    #[test]
    fn file_shared_by_two_workers_stays_until_both_are_gone() {
        let mut files = KnownFiles::default();
        let id = FileId { dev: 1, ino: 2 };
        files.learn(id, 1, 1, "a".into());
        files.learn(id, 2, 1, "a".into());
        files.forget(1);
        assert_eq!(files.identity(id), Some("a"));
        files.forget(2);
        assert_eq!(files.identity(id), None);
    }
}

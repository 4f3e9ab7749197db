//! Where the catalogue's secrets are in each worker, by device and inode.
//!
//! A hard link, a rename or a bind mount gives a secret another path, never another inode. The literal paths of the rules are
//! resolved in each worker's root (never following a link out of it), and a file that was opened by a watched path is
//! remembered by its inode: both become keys of the kernel's filter. File systems give a deleted file's inode number to the
//! next new file, with another generation: the generation tells a secret from what came after it.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::Arc;

use crate::event::FileId;
use crate::kernel::InodeFilter;
use crate::process::{Credentials, kernel_dev};
use crate::profile::{LiteralPath, SecretPath};

use super::executions::{self, Execution};
use super::reach::readable;

/// Most files known at once; the kernel's map has its own, larger bound.
const FILES_MAX: usize = 8192;

/// `FS_IOC_GETVERSION` (include/uapi/linux/fs.h), `_IOR('v', 1, long)`: the inode's generation, as ext4, xfs, btrfs and f2fs
/// answer it.
const FS_IOC_GETVERSION: libc::Ioctl = 0x8008_7601_u32 as libc::Ioctl;

/// A file in a worker's root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// Device and inode.
    pub id: FileId,
    /// Inode generation; 0 if the file system does not tell.
    pub generation: u32,
}

/// Resolves paths in a process's root.
pub trait RootFiles {
    /// The file at each path as that process would see it; what does not exist, or cannot be seen, is `None`.
    fn resolve(&self, pid: u32, paths: &mut dyn Iterator<Item = &str>) -> Vec<Option<FoundFile>>;

    /// The identities of which that process may read a file, and whether there may be more; `None` if it cannot be said.
    fn readable(&self, pid: u32, who: &Credentials, secrets: &[SecretPath]) -> Option<(Vec<Arc<str>>, bool)> {
        let _ = (pid, who, secrets);
        None
    }

    /// What the first of these event logs that is in that process's root says is running.
    fn running(&self, pid: u32, logs: &[Arc<str>]) -> Vec<Execution> {
        let _ = (pid, logs);
        Vec::new()
    }
}

fn root_of(pid: u32) -> io::Result<File> {
    std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC)
        .open(format!("/proc/{pid}/root"))
}

/// Through /proc/PID/root of the running host.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRoots;

impl RootFiles for SystemRoots {
    fn resolve(&self, pid: u32, paths: &mut dyn Iterator<Item = &str>) -> Vec<Option<FoundFile>> {
        match root_of(pid) {
            Ok(root) => paths.map(|path| in_root(&root, path).ok()).collect(),
            Err(_) => paths.map(|_| None).collect(),
        }
    }

    fn readable(&self, pid: u32, who: &Credentials, secrets: &[SecretPath]) -> Option<(Vec<Arc<str>>, bool)> {
        Some(readable(&root_of(pid).ok()?, who, secrets))
    }

    fn running(&self, pid: u32, logs: &[Arc<str>]) -> Vec<Execution> {
        root_of(pid).map(|root| executions::read(&root, logs)).unwrap_or_default()
    }
}

/// Opens a path as a process with that root would, never following a link out of it.
pub(super) fn open_in(root: &File, path: &str, flags: libc::c_int) -> io::Result<File> {
    let path = CString::new(path)?;
    // SAFETY: all-zero is a valid open_how.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
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
    Ok(unsafe { File::from_raw_fd(fd) })
}

fn in_root(root: &File, path: &str) -> io::Result<FoundFile> {
    let file = open_in(root, path, libc::O_PATH)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let id = FileId { dev: kernel_dev(meta.dev()), ino: meta.ino() };
    Ok(FoundFile { id, generation: generation(&file) })
}

/// The generation of a regular file that an `O_PATH` descriptor names, 0 if it cannot be had.
fn generation(file: &File) -> u32 {
    // Opened again, because ioctl refuses O_PATH descriptors; without a trace in the file's access time where that is allowed.
    let open = |flags| {
        std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(flags | libc::O_CLOEXEC | libc::O_NONBLOCK)
            .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
    };
    let Ok(file) = open(libc::O_NOATIME).or_else(|_| open(0)) else { return 0 };
    let mut version: libc::c_long = 0;
    // SAFETY: a valid descriptor, and room for the long that the request's definition names; file systems write an int.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_GETVERSION, &raw mut version) };
    if done == 0 { version as u32 } else { 0 }
}

struct Known {
    /// 0: any.
    generation: u32,
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
    /// What the last look at each worker's root found.
    looked: BTreeMap<u32, Vec<FileId>>,
    dirty: bool,
}

impl KnownFiles {
    /// Resolves the literal paths in the root of a worker's process. What an earlier look found and this one does not (kubelet
    /// swapped `..data`, a key was rotated) is forgotten.
    pub fn look(&mut self, label: u32, pid: u32, literals: &[LiteralPath], roots: &dyn RootFiles) {
        let found = roots.resolve(pid, &mut literals.iter().map(|literal| &*literal.path));
        let mut reachable: Vec<Arc<str>> = Vec::new();
        let mut looked = Vec::new();
        for (literal, file) in literals.iter().zip(found) {
            let Some(file) = file else { continue };
            if let Some(identity) = &literal.identity
                && !reachable.contains(identity)
            {
                reachable.push(identity.clone());
            }
            self.add(file, label, literal.access, literal.identity.clone());
            looked.push(file.id);
        }
        self.reachable.insert(label, reachable);
        let before = self.looked.remove(&label).unwrap_or_default();
        for old in before.into_iter().filter(|old| !looked.contains(old)) {
            self.drop_label(old, label);
        }
        self.looked.insert(label, looked);
    }

    /// Remembers a file that was opened by a path of the catalogue.
    pub fn learn(&mut self, file: FoundFile, label: u32, access: u32, identity: Arc<str>) {
        self.add(file, label, access, Some(identity));
    }

    fn drop_label(&mut self, file: FileId, label: u32) {
        let Some(known) = self.files.get_mut(&file) else { return };
        known.labels.retain(|of| *of != label);
        if known.labels.is_empty() {
            self.files.remove(&file);
            self.dirty = true;
        }
    }

    fn add(&mut self, file: FoundFile, label: u32, access: u32, identity: Option<Arc<str>>) {
        let FoundFile { id: file, generation } = file;
        if file == FileId::default() {
            return;
        }
        if let Some(known) = self.files.get_mut(&file) {
            if known.generation != generation && known.generation != 0 && generation != 0 {
                // The inode's number has a new file, and that is the secret now.
                known.identity = None;
                known.labels.clear();
            }
            if generation != 0 {
                known.generation = generation;
            }
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
        self.files.insert(file, Known { generation, identity, access, labels: vec![label] });
        self.dirty = true;
    }

    /// Forgets a worker.
    pub fn forget(&mut self, label: u32) {
        self.reachable.remove(&label);
        self.looked.remove(&label);
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
        self.looked.clear();
        self.dirty = true;
    }

    /// The identity a file is known as. A generation of 0 is any.
    pub fn identity(&self, file: FoundFile) -> Option<&str> {
        let known = self.files.get(&file.id)?;
        let same = known.generation == file.generation || known.generation == 0 || file.generation == 0;
        known.identity.as_deref().filter(|_| same)
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
                // The kernel's answer may be a superset; the agent tells generations apart.
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
        assert_eq!(files.identity(FoundFile { id, generation: 0 }), Some("token"));
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
        let id = FoundFile { id: FileId { dev: 1, ino: 2 }, generation: 0 };
        files.learn(id, 1, 1, "a".into());
        files.learn(id, 2, 1, "a".into());
        files.forget(1);
        assert_eq!(files.identity(id), Some("a"));
        files.forget(2);
        assert_eq!(files.identity(id), None);
    }

    #[test]
    fn new_file_with_a_deleted_secrets_inode_number_is_no_secret() {
        let mut files = KnownFiles::default();
        let found = |generation| FoundFile { id: FileId { dev: 1, ino: 2 }, generation };
        files.learn(found(7), 1, 1, "a".into());
        assert_eq!(files.identity(found(7)), Some("a"));
        assert_eq!(files.identity(found(8)), None);
        assert_eq!(files.identity(found(0)), Some("a"), "what is not known speaks against nothing");
        files.learn(found(8), 1, 1, "b".into());
        assert_eq!(files.identity(found(8)), Some("b"), "the number's new file is a secret of its own");
        assert_eq!(files.identity(found(7)), None);
    }

    #[test]
    fn generation_of_a_file_is_that_of_its_inode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "x").unwrap();
        let text = path.to_str().unwrap();
        let twice = SystemRoots.resolve(std::process::id(), &mut [text, text].into_iter());
        assert!(twice[0].is_some() && twice[0] == twice[1]);
    }

    #[test]
    fn replaced_file_is_known_by_its_new_inode_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "old").unwrap();
        let mut files = KnownFiles::default();
        let literals = [literal(path.to_str().unwrap(), "token")];
        files.look(1, std::process::id(), &literals, &SystemRoots);
        let old = files.inodes();
        std::fs::write(dir.path().join("new"), "new").unwrap();
        std::fs::rename(dir.path().join("new"), &path).unwrap();
        files.look(1, std::process::id(), &literals, &SystemRoots);
        let new = files.inodes();
        assert_eq!((old.len(), new.len()), (1, 1));
        assert_ne!(old[0].ino, new[0].ino);
    }
}

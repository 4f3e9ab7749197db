//! A writer for the "newc" cpio format, which is what the kernel unpacks as initramfs.
//!
//! The kernel takes several archives one after the other, so a cached base and a fresh payload are simply
//! concatenated.

use anyhow::{Result, bail};
use std::collections::BTreeSet;
use std::path::Path;

/// An archive being written. Parent folders are added on first use.
pub(crate) struct Archive {
    bytes: Vec<u8>,
    inode: u32,
    folders: BTreeSet<String>,
}

impl Archive {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), inode: 0, folders: BTreeSet::new() }
    }

    /// A folder with mode 0755, and those above it.
    pub(crate) fn folder(&mut self, path: &str) -> Result<()> {
        let path = path.trim_matches('/');
        if path.is_empty() || self.folders.contains(path) {
            return Ok(());
        }
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.folder(parent)?;
        }
        self.folders.insert(path.to_owned());
        self.entry(path, 0o040_755, (0, 0), &[])
    }

    /// A regular file; `mode` are its permission bits.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.parent(path)?;
        self.entry(path, 0o100_000 | mode, (0, 0), content)
    }

    /// A file of this machine, executable if it is so here.
    pub(crate) fn file_from(&mut self, path: &str, source: &Path) -> Result<()> {
        use anyhow::Context as _;
        use std::os::unix::fs::PermissionsExt as _;
        let content = std::fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
        let mode = std::fs::metadata(source)?.permissions().mode() & 0o777;
        self.file(path, mode, &content)
    }

    /// A folder of this machine with all below it; symbolic links are followed.
    pub(crate) fn tree(&mut self, path: &str, source: &Path) -> Result<()> {
        self.folder(path)?;
        let mut entries: Vec<_> = std::fs::read_dir(source)?.collect::<Result<_, _>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let inner = format!("{}/{}", path.trim_end_matches('/'), entry.file_name().to_string_lossy());
            if std::fs::metadata(entry.path())?.is_dir() {
                self.tree(&inner, &entry.path())?;
            } else {
                self.file_from(&inner, &entry.path())?;
            }
        }
        Ok(())
    }

    /// A character device node.
    pub(crate) fn device(&mut self, path: &str, major: u32, minor: u32) -> Result<()> {
        self.parent(path)?;
        self.entry(path, 0o020_600, (major, minor), &[])
    }

    /// The finished archive, padded so that another may follow.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        self.pad(512);
        Ok(self.bytes)
    }

    fn parent(&mut self, path: &str) -> Result<()> {
        match path.trim_matches('/').rsplit_once('/') {
            Some((parent, _)) => self.folder(parent),
            None => Ok(()),
        }
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) -> Result<()> {
        let path = path.trim_start_matches('/');
        let Ok(size) = u32::try_from(content.len()) else {
            bail!("{path} is too large for a cpio archive");
        };
        self.inode += 1;
        let links = if mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
        let name_size = u32::try_from(path.len())?.saturating_add(1);
        let fields = [self.inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad(4);
        self.bytes.extend_from_slice(content);
        self.pad(4);
        Ok(())
    }

    fn pad(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    /// Reads an archive back: (name, mode, content) of each entry before the trailer.
    fn read(bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut at = 0;
        let mut entries = Vec::new();
        loop {
            assert_eq!(&bytes[at..at + 6], b"070701", "magic at {at}");
            let field = |n: usize| {
                let start = at + 6 + n * 8;
                u32::from_str_radix(std::str::from_utf8(&bytes[start..start + 8]).unwrap(), 16).unwrap()
            };
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name = std::str::from_utf8(&bytes[at + 110..at + 110 + name_size - 1]).unwrap().to_owned();
            let content = (at + 110 + name_size).next_multiple_of(4);
            if name == "TRAILER!!!" {
                return entries;
            }
            entries.push((name, mode, bytes[content..content + size].to_vec()));
            at = (content + size).next_multiple_of(4);
        }
    }

    #[test]
    fn archive_adds_each_parent_folder_once_and_before_its_files() {
        let mut archive = Archive::new();
        archive.file("/a/b/one", 0o755, b"1").unwrap();
        archive.file("/a/b/three", 0o644, b"333").unwrap();
        let entries = read(&archive.finish().unwrap());
        let names: Vec<_> = entries.iter().map(|e| e.0.as_str()).collect();
        assert_eq!(names, ["a", "a/b", "a/b/one", "a/b/three"]);
        assert_eq!(entries[2].1, 0o100_755);
        assert_eq!(entries[3].2, b"333");
    }

    #[test]
    fn archive_length_is_a_multiple_of_512_so_that_another_may_follow() {
        let mut archive = Archive::new();
        archive.file("x", 0o644, b"content").unwrap();
        assert_eq!(archive.finish().unwrap().len() % 512, 0);
    }
}

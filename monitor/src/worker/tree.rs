//! The cgroup2 hierarchy as folders.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What discovery asks of the cgroup2 hierarchy. Paths start with `/` and are relative to its root.
pub trait CgroupTree {
    /// Id of the cgroup in the v2 hierarchy.
    fn id(&self, path: &str) -> io::Result<u64>;
    /// Names of the cgroups directly below.
    fn children(&self, path: &str) -> io::Result<Vec<String>>;
    /// Processes directly in it, as seen from the agent's pid namespace.
    fn processes(&self, path: &str) -> io::Result<Vec<u32>>;
}

/// The mounted hierarchy.
#[derive(Clone, Debug)]
pub struct MountedTree {
    root: PathBuf,
}

impl MountedTree {
    /// The hierarchy mounted at `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The folder of a cgroup.
    pub fn folder(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

impl CgroupTree for MountedTree {
    fn id(&self, path: &str) -> io::Result<u64> {
        // kernfs: the inode number of a folder is the cgroup's 64-bit id (kernfs_ino, 5.5 and newer on 64-bit).
        Ok(std::fs::metadata(self.folder(path))?.ino())
    }

    fn children(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.folder(path))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                match entry.file_name().into_string() {
                    Ok(name) => names.push(name),
                    Err(name) => tracing::warn!(
                        parent = path,
                        ?name,
                        "cgroup with a name that is not UTF-8 is not watched"
                    ),
                }
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn processes(&self, path: &str) -> io::Result<Vec<u32>> {
        let text = std::fs::read_to_string(self.folder(path).join("cgroup.procs"))?;
        // A process of a pid namespace that this one cannot see is shown as 0.
        Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect())
    }
}

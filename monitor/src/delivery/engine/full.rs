//! How full the spool is.

use super::Engine;
use crate::delivery::Class;

/// How full the spool is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpoolStats {
    /// By class: bytes on disk, and most of them; none if it has no disk.
    pub classes: Vec<(Class, u64, u64)>,
    /// Bytes of alerts that are in memory only.
    pub memory: u64,
    /// Most of them.
    pub memory_most: u64,
    /// Its file system has too little room left for it to grow.
    pub disk_nearly_full: bool,
}

impl Engine {
    /// How full the spool is.
    pub fn spool(&self) -> SpoolStats {
        let on_disk = self.shared.folder.is_some().then_some(Class::ALL);
        let index = self.shared.lock();
        let size = |class: Class| {
            (class, index.classes[class.order()].disk_bytes(), self.limits.class[class.order()])
        };
        SpoolStats {
            classes: on_disk.into_iter().flatten().map(size).collect(),
            memory: index.memory_bytes() as u64,
            memory_most: self.limits.memory as u64,
            disk_nearly_full: index.nearly_full,
        }
    }
}

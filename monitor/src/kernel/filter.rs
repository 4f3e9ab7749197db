//! The watched-path filter as the probes hold it: what `profile` compiles rules to.

/// One generation of the filter. Every entry carries the [`monitor_common::filter::access`] bits it is of interest for.
///
/// The kernel's answer is a superset: the exact pattern is matched by the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelFilter {
    /// Literal path prefixes, at most [`monitor_common::filter::PREFIX_MAX`] bytes (longer ones are cut by [`super::Sensor::set_filter`],
    /// which widens them).
    pub prefixes: Vec<(Vec<u8>, u32)>,
    /// File names (last path component).
    pub names: Vec<(Vec<u8>, u32)>,
    /// Names of one of the last three parent folders.
    pub parents: Vec<(Vec<u8>, u32)>,
    /// Known files.
    pub inodes: Vec<InodeFilter>,
}

/// A file known by device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InodeFilter {
    /// Device, kernel encoding (major << 20 | minor).
    pub dev: u32,
    /// Inode number.
    pub ino: u64,
    /// Inode generation, 0 if any.
    pub generation: u32,
    /// Access bits of interest.
    pub access: u32,
}

impl KernelFilter {
    /// Number of entries of all kinds.
    pub fn len(&self) -> usize {
        self.prefixes.len() + self.names.len() + self.parents.len() + self.inodes.len()
    }

    /// Whether it lets nothing through.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

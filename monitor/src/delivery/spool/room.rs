//! How much room there is on a disk.

use std::path::Path;

/// Room on the file system of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) free: u64,
    pub(crate) total: u64,
}

/// How the room is asked for.
pub(crate) type AskRoom = Box<dyn Fn(&Path) -> Option<Room> + Send>;

/// Room that an unprivileged writer has.
pub(crate) fn room(path: &Path) -> Option<Room> {
    let stat = nix::sys::statvfs::statvfs(path).ok()?;
    let block = stat.fragment_size();
    // Of what such a writer could ever use: blocks that are reserved for others are neither free nor part of the whole.
    let used = stat.blocks().saturating_sub(stat.blocks_free());
    Some(Room { free: stat.blocks_available() * block, total: (used + stat.blocks_available()) * block })
}

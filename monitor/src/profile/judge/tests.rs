//! Judging with a small set of rules; the shipped rules have tests of their own beside them.

use super::*;
use crate::event::{FileId, MountRelation, Open, Path};

/// An open with only a path.
pub(crate) fn open_of(path: &str) -> Open {
    Open {
        path: Path { view: path.into(), ..Path::default() },
        id: FileId::default(),
        generation: 0,
        magic: 0,
        flags: 0,
        access: access::READ,
        outcome: Outcome::Ok,
        errno: 0,
        mode: 0,
        nlink: 1,
        task_mnt_ns: 0,
        file_mnt_ns: 0,
        mount: MountRelation::Own,
        proc_pid: None,
        matched: 0,
        uring: false,
    }
}

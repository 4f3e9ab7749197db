//! The kernel's word that a cgroup was made which may be a worker.

use monitor_common::hook::Kind;
use monitor_common::record::{self as wire, slice_flags};

use super::decode::{DecodeError, fixed, head, slice};
use crate::event::BootNs;

/// A cgroup that was made in a folder of workers. By the time this is read it may be gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCgroup {
    /// When, boot-time ns.
    pub time: BootNs,
    /// Its id in the v2 hierarchy.
    pub cgroup: u64,
    /// Id of the one it was made in.
    pub parent: u64,
    /// Its path from the root of the hierarchy; `None`: the kernel could not tell it.
    pub path: Option<String>,
}

/// What a record says of a new cgroup; `None`: it is of another kind, for [`super::decode`].
pub fn new_cgroup(bytes: &[u8]) -> Option<Result<NewCgroup, DecodeError>> {
    let header = head(bytes).ok()?;
    (header.kind == Kind::CgroupNew as u16).then(|| {
        let (new, data): (wire::CgroupNew, _) = fixed(bytes)?;
        let told = new.path.flags & (slice_flags::TRUNCATED | slice_flags::UNREADABLE) == 0;
        let path = std::str::from_utf8(slice(data, &new.path)?).ok();
        let path = path.filter(|path| told && path.len() > 1 && path.starts_with('/'));
        Ok(NewCgroup {
            time: header.time,
            cgroup: header.cgroup,
            parent: new.parent,
            path: path.map(str::to_owned),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn announcement_tells_id_parent_and_path() {
        let new = new_cgroup(&fixture::cgroup_new(70, 7, "/lab/w", 5)).unwrap().unwrap();
        assert_eq!(new, NewCgroup { time: 5, cgroup: 70, parent: 7, path: Some("/lab/w".into()) });
    }

    #[test]
    fn announcement_without_a_path_or_with_half_of_one_has_none() {
        for path in ["", "/", "lab/w"] {
            let new = new_cgroup(&fixture::cgroup_new(70, 7, path, 5)).unwrap().unwrap();
            assert_eq!(new.path, None, "{path}");
        }
    }

    #[test]
    fn announcement_whose_path_lies_outside_is_refused_and_other_records_are_none() {
        let mut record = fixture::cgroup_new(70, 7, "/lab/w", 5);
        let length = record.len() - 1;
        record.truncate(length);
        record[4..8].copy_from_slice(&(length as u32).to_le_bytes());
        assert!(matches!(new_cgroup(&record), Some(Err(DecodeError::Slice { .. }))));
        assert_eq!(new_cgroup(&[]), None);
    }
}

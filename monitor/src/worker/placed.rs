//! Whose a cgroup is, by its id: for records that were written before the agent had looked at it.

use std::collections::HashMap;

use crate::event::BootNs;

/// How long after its end a cgroup is remembered: its last records are read by then. ns.
const KEEP: BootNs = 60_000_000_000;

/// With so many, those that are gone are forgotten at once.
const MAX: usize = 65_536;

/// Whose a cgroup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// The worker of this label.
    Worker(u32),
    /// No worker's.
    Nobody,
}

/// The cgroups that were looked at.
#[derive(Debug, Default)]
pub(super) struct Placements {
    by_cgroup: HashMap<u64, (Placed, Option<BootNs>)>,
}

impl Placements {
    pub(super) fn get(&self, cgroup: u64) -> Option<Placed> {
        self.by_cgroup.get(&cgroup).map(|(placed, _)| *placed)
    }

    pub(super) fn set(&mut self, cgroup: u64, placed: Placed) {
        if self.by_cgroup.len() >= MAX {
            // Somebody makes and removes cgroups in a loop.
            self.by_cgroup.retain(|_, (_, left)| left.is_none());
        }
        self.by_cgroup.insert(cgroup, (placed, None));
    }

    pub(super) fn forget(&mut self, cgroup: u64) {
        self.by_cgroup.remove(&cgroup);
    }

    /// The cgroup ended.
    pub(super) fn left(&mut self, cgroup: u64, now: BootNs) {
        if let Some((_, left)) = self.by_cgroup.get_mut(&cgroup) {
            left.get_or_insert(now);
        }
    }

    pub(super) fn expire(&mut self, now: BootNs) {
        self.by_cgroup.retain(|_, (_, left)| left.is_none_or(|left| now.saturating_sub(left) < KEEP));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placement_outlives_its_cgroup_for_as_long_as_records_may_come() {
        let mut placements = Placements::default();
        placements.set(7, Placed::Worker(1));
        placements.set(8, Placed::Nobody);
        placements.left(7, 10);
        placements.left(9, 10);
        placements.expire(9 + KEEP);
        assert_eq!(placements.get(7), Some(Placed::Worker(1)));
        placements.left(7, 1000);
        placements.expire(10 + KEEP);
        assert_eq!((placements.get(7), placements.get(8)), (None, Some(Placed::Nobody)));
        placements.forget(8);
        assert_eq!(placements.get(8), None);
    }
}

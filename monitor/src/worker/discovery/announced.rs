//! Cgroups that the kernel announced. A look at them finds what any look finds; one that is gone by then is known by what was
//! announced alone.

use super::{Change, Discovery, LabelMap, Scan};
use crate::event::{BootNs, NewCgroup};
use crate::worker::placed::Placed;
use crate::worker::{CgroupTree, Workers};

/// Id of the root of a cgroup hierarchy (kernel/cgroup/cgroup.c, cgroup_setup_root: the first inode of its kernfs).
const ROOT: u64 = 1;

impl Discovery {
    /// Says whose an announced cgroup is, and labels it. `visit` is as in [`Discovery::scan`].
    pub fn announced(
        &mut self,
        new: &NewCgroup,
        tree: &dyn CgroupTree,
        map: &mut dyn LabelMap,
        workers: &mut Workers,
        now: BootNs,
        visit: &mut dyn FnMut(&str),
    ) -> Vec<Change> {
        // A look was quicker.
        if workers.placed(new.cgroup).is_some() {
            return Vec::new();
        }
        let mut scan = Scan { discovery: self, tree, map, workers, now, visit, changes: Vec::new() };
        match scan.path_of(new) {
            Some(path) if tree.id(&path).is_ok_and(|id| id == new.cgroup) => {
                scan.forget_gone(&path);
                let inherited = scan.label_above(new, &path);
                scan.walk(&path, inherited);
                // Removed before the walk came there.
                if scan.workers.placed(new.cgroup).is_none() && tree.id(&path).is_err() {
                    scan.is_over(new, &path);
                }
            }
            Some(path) => scan.is_over(new, &path),
            // What a look at everything does not find either is told as a gap by who holds its records.
            None => {}
        }
        scan.changes
    }
}

impl Scan<'_> {
    /// The path of an announced cgroup below the root that the agent sees.
    fn path_of(&self, new: &NewCgroup) -> Option<String> {
        let told = new.path.as_deref()?;
        let (_, name) = told.rsplit_once('/')?;
        match self.discovery.paths.get(&new.parent) {
            Some(parent) if parent == "/" => Some(format!("/{name}")),
            Some(parent) => Some(format!("{parent}/{name}")),
            // Paths are told from the root of the hierarchy; where a part of it is mounted, only what is below a known folder can be
            // found.
            None if self.tree.id("/").is_ok_and(|id| id == ROOT) => Some(told.to_owned()),
            None => None,
        }
    }

    fn label_above(&self, new: &NewCgroup, path: &str) -> Option<u32> {
        match self.workers.placed(new.parent) {
            Some(Placed::Worker(label)) => Some(label),
            _ => self.nearest_label(path.rsplit_once('/').map_or("", |(parent, _)| parent)),
        }
    }

    /// A cgroup that is gone, or whose path is another's by now.
    fn is_over(&mut self, new: &NewCgroup, path: &str) {
        let matched = self.discovery.patterns.assignment(path).is_some();
        let above = self.label_above(new, path);
        let own = matched && above.is_none_or(|label| self.is_hollow(label));
        let label = if own { self.new_worker(path, new.cgroup) } else { above };
        let placed = label.map_or(Placed::Nobody, Placed::Worker);
        self.workers.place(new.cgroup, placed);
        self.workers.left(new.cgroup, self.now);
        if own && let Some(label) = label {
            self.changes.push(Change::Found { label, from_birth: true });
            self.workers.gone(label, new.cgroup, self.now);
            self.changes.push(Change::Gone { label });
        }
    }
}

//! Finds worker cgroups and gives them labels, at start and whenever the hierarchy changes.
//!
//! A cgroup that matches a pattern is a worker, with everything below it. A matching *slice* (it has child cgroups and has
//! never held a process of its own) is none: there the children are looked at. Children made below a labelled cgroup inherit
//! the label in the kernel before their first exec; a new cgroup that matches by itself is labelled when the folder's
//! creation is noticed, so what runs in it before that (well under a millisecond after its creation, when nothing is in
//! it yet) is found by the scan of its processes instead of being seen.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use monitor_common::map::{Label, label_state};

use super::labels::LabelPool;
use super::pattern::{CgroupPatterns, unit_of};
use super::table::{Worker, Workers};
use super::tree::CgroupTree;
use crate::event::BootNs;

/// The door to the kernel's label map.
pub trait LabelMap {
    /// Labels a cgroup.
    fn label(&mut self, cgroup: u64, label: Label) -> Result<(), String>;
    /// Removes a cgroup's label.
    fn unlabel(&mut self, cgroup: u64) -> Result<(), String>;
}

/// What a look at the hierarchy changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new worker; its processes have to be scanned.
    Found {
        /// Its label.
        label: u32,
    },
    /// A worker's cgroup is gone.
    Gone {
        /// Its label.
        label: u32,
    },
    /// A cgroup that should be watched is not, and why.
    Unwatched {
        /// Its path.
        path: String,
        /// Why.
        reason: String,
    },
}

struct Known {
    cgroup: u64,
    label: u32,
}

/// The labelled cgroups.
pub struct Discovery {
    patterns: CgroupPatterns,
    pool: LabelPool,
    /// Labelled cgroups by path.
    known: BTreeMap<String, Known>,
    by_id: HashMap<u64, u32>,
}

impl Discovery {
    /// Discovery by these patterns, with label ids up to `max_labels`.
    pub fn new(patterns: CgroupPatterns, max_labels: u32) -> Self {
        Self { patterns, pool: LabelPool::new(max_labels), known: BTreeMap::new(), by_id: HashMap::new() }
    }

    /// Whether new cgroups directly below `path` have to be noticed.
    pub fn watches(&self, path: &str) -> bool {
        self.patterns.may_match_below(path)
    }

    /// The label of a cgroup, if it is a worker's.
    pub fn label_of(&self, cgroup: u64) -> Option<u32> {
        self.by_id.get(&cgroup).copied()
    }

    /// Looks at the cgroup at `path` and everything below it (`/`: all), labels what is new and forgets what is gone.
    /// `visit` is called with every folder in which new cgroups have to be noticed, before its children are listed.
    pub fn scan(
        &mut self,
        path: &str,
        tree: &dyn CgroupTree,
        map: &mut dyn LabelMap,
        workers: &mut Workers,
        now: BootNs,
        visit: &mut dyn FnMut(&str),
    ) -> Vec<Change> {
        let mut scan = Scan { discovery: self, tree, map, workers, now, visit, changes: Vec::new() };
        scan.forget_gone(path);
        let above = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let inherited = scan.nearest_label(above);
        scan.walk(path, inherited);
        scan.changes
    }

    /// Takes other patterns: workers that no pattern names any more are let go, the assignments of the others are those of the new
    /// ones. A scan finds what is new.
    pub fn set_patterns(
        &mut self,
        patterns: CgroupPatterns,
        map: &mut dyn LabelMap,
        workers: &mut Workers,
        now: BootNs,
    ) -> Vec<Change> {
        self.patterns = patterns;
        let mut changes = Vec::new();
        for worker in workers.iter_mut().filter(|worker| worker.gone.is_none()) {
            match self.patterns.assignment(&worker.path) {
                Some(assignment) if *assignment == worker.assignment => {}
                Some(assignment) => worker.reassign(assignment.clone()),
                None => changes.push(Change::Gone { label: worker.label }),
            }
        }
        let labels: Vec<u32> = changes
            .iter()
            .map(|change| if let Change::Gone { label } = change { *label } else { 0 })
            .collect();
        let left: Vec<(String, u64, u32)> = self
            .known
            .iter()
            .filter(|(_, known)| labels.contains(&known.label))
            .map(|(path, known)| (path.clone(), known.cgroup, known.label))
            .collect();
        for (path, cgroup, label) in left {
            self.known.remove(&path);
            self.by_id.remove(&cgroup);
            if let Err(reason) = map.unlabel(cgroup) {
                changes.push(Change::Unwatched {
                    path,
                    reason: format!("its label cannot be removed: {reason}"),
                });
            }
            workers.gone(label, cgroup, now);
        }
        changes
    }

    /// Gives a label id back once nothing speaks of its worker any more.
    pub fn release(&mut self, label: u32, now: BootNs) {
        self.pool.give_back(label, now);
    }
}

struct Scan<'a> {
    discovery: &'a mut Discovery,
    tree: &'a dyn CgroupTree,
    map: &'a mut dyn LabelMap,
    workers: &'a mut Workers,
    now: BootNs,
    visit: &'a mut dyn FnMut(&str),
    changes: Vec<Change>,
}

impl Scan<'_> {
    fn walk(&mut self, path: &str, inherited: Option<u32>) {
        let Some(id) = self.checked(path, "its id cannot be read", self.tree.id(path)) else { return };
        let label = match self.discovery.known.get(path) {
            Some(known) if known.cgroup == id => Some(known.label),
            _ => self.classify(path, id, inherited),
        };
        if self.discovery.watches(path) {
            (self.visit)(path);
        } else if label.is_none() {
            return;
        }
        let Some(children) = self.checked(path, "its children cannot be listed", self.tree.children(path))
        else {
            return;
        };
        for child in children {
            let child = if path == "/" { format!("/{child}") } else { format!("{path}/{child}") };
            self.walk(&child, label);
        }
    }

    /// The label a cgroup that is not known yet gets, if any; labels it.
    fn classify(&mut self, path: &str, id: u64, inherited: Option<u32>) -> Option<u32> {
        let matched = path != "/" && self.discovery.patterns.assignment(path).is_some();
        let label = match inherited {
            Some(label) if matched && self.is_hollow(label) => self.new_worker(path, id)?,
            Some(label) => label,
            None if matched && !self.is_slice(path) => self.new_worker(path, id)?,
            None => return None,
        };
        if let Err(reason) = self.map.label(id, Label { id: label, state: label_state::WORKER }) {
            self.changes.push(Change::Unwatched { path: path.to_owned(), reason });
            if self.workers.get(label).is_some_and(|worker| worker.cgroup == id) {
                self.workers.remove(label);
                self.discovery.release(label, self.now);
            }
            return None;
        }
        self.discovery.known.insert(path.to_owned(), Known { cgroup: id, label });
        self.discovery.by_id.insert(id, label);
        if self.workers.get(label).is_some_and(|worker| worker.cgroup == id) {
            self.changes.push(Change::Found { label });
        }
        Some(label)
    }

    fn new_worker(&mut self, path: &str, id: u64) -> Option<u32> {
        let Some(label) = self.discovery.pool.take(self.now) else {
            self.changes.push(Change::Unwatched {
                path: path.to_owned(),
                reason: "all label ids are in use; raise `kernel.max_cgroups`".into(),
            });
            return None;
        };
        let assignment = self.discovery.patterns.assignment(path).cloned().unwrap_or_default();
        let unit = unit_of(path).map(Arc::from);
        self.workers.insert(Worker::new(label, id, path, unit, assignment, self.now));
        Some(label)
    }

    /// A folder of cgroups rather than a worker: it has children, and no process of its own.
    fn is_slice(&self, path: &str) -> bool {
        let children = self.tree.children(path).is_ok_and(|children| !children.is_empty());
        children && self.tree.processes(path).is_ok_and(|processes| processes.is_empty())
    }

    /// A worker that turned out to be a slice: it has never held a process of its own.
    fn is_hollow(&self, label: u32) -> bool {
        self.workers.get(label).is_some_and(|worker| {
            worker.entry.is_none()
                && self.tree.processes(&worker.path).is_ok_and(|processes| processes.is_empty())
        })
    }

    fn nearest_label(&self, path: &str) -> Option<u32> {
        let mut path = path;
        while !path.is_empty() {
            if let Some(known) = self.discovery.known.get(path) {
                return Some(known.label);
            }
            path = path.rsplit_once('/')?.0;
        }
        None
    }

    /// Forgets known cgroups at or below `path` that are gone, or were made anew under the same name.
    fn forget_gone(&mut self, path: &str) {
        let below = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let candidates: Vec<(String, u64, u32)> = self
            .discovery
            .known
            .range(path.to_owned()..)
            .take_while(|(known, _)| known.starts_with(path))
            .filter(|(known, _)| *known == path || known.starts_with(&below))
            .map(|(known, entry)| (known.clone(), entry.cgroup, entry.label))
            .collect();
        for (known, cgroup, label) in candidates {
            if self.tree.id(&known).is_ok_and(|id| id == cgroup) {
                continue;
            }
            self.discovery.known.remove(&known);
            self.discovery.by_id.remove(&cgroup);
            // The kernel removed the label with the cgroup; this is for kernels where that program did not load.
            if let Err(reason) = self.map.unlabel(cgroup) {
                tracing::warn!(cgroup = known, reason, "label of a removed cgroup stays in the kernel map");
            }
            if self.workers.gone(label, cgroup, self.now) {
                self.changes.push(Change::Gone { label });
            }
        }
    }

    fn checked<T>(&mut self, path: &str, what: &str, result: io::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            // Removed while we looked: the next look forgets it.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => None,
            Err(error) => {
                self.changes
                    .push(Change::Unwatched { path: path.to_owned(), reason: format!("{what}: {error}") });
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;

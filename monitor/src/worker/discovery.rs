//! Finds worker cgroups and gives them labels, at start and whenever the hierarchy changes.
//!
//! A cgroup that matches a pattern is a worker, with everything below it. A matching *slice* (it has child cgroups and has
//! never held a process of its own) is none: there the children are looked at. Children made below a labelled cgroup inherit
//! the label in the kernel before their first exec. A cgroup that is made where workers are made (a folder that *hands down*)
//! is labelled as pending by the kernel at that very moment, and announced: what runs in it is sent from its first exec on,
//! and belongs to whom the look at the announced path says (`announced`), even if the cgroup is gone by then.
//!
//! The cgroup that the agent itself runs in is none of its workers, whatever the patterns say: in a pod it would report the
//! probes that ask it how it is, and its canary, which cannot have a cgroup of its own there, would be one of its processes.

mod announced;
mod repattern;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use monitor_common::map::{Label, label_state};

use super::labels::LabelPool;
use super::pattern::{CgroupPatterns, unit_of};
use super::placed::Placed;
use super::table::{Worker, Workers};
use super::tree::CgroupTree;
use crate::event::BootNs;

/// The door to the kernel's label map.
pub trait LabelMap {
    /// Labels a cgroup.
    fn label(&mut self, cgroup: u64, label: Label) -> Result<(), String>;
    /// Removes a cgroup's label.
    fn unlabel(&mut self, cgroup: u64) -> Result<(), String>;
    /// From now on cgroups made in this one are pending from their first moment on, and announced.
    fn hand_down(&mut self, cgroup: u64) -> Result<(), String>;
    /// And now they are not any more.
    fn hand_down_no_more(&mut self, cgroup: u64) -> Result<(), String>;
    /// Whether it is pending.
    fn is_pending(&self, cgroup: u64) -> bool;
    /// A pending cgroup is no worker's.
    fn settle(&mut self, cgroup: u64) -> Result<(), String>;
}

/// What a look at the hierarchy changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new worker.
    Found {
        /// Its label.
        label: u32,
        /// The kernel has watched it from its first moment on: whatever one of its processes does, a record tells. Otherwise they
        /// have to be scanned.
        from_birth: bool,
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
    /// `None`: no pattern names it.
    label: Option<u32>,
    hands_down: bool,
}

/// The cgroups that were looked at.
pub struct Discovery {
    patterns: CgroupPatterns,
    pool: LabelPool,
    /// By path.
    known: BTreeMap<String, Known>,
    /// Their paths by id.
    paths: HashMap<u64, String>,
    /// Those that are looked at anew each time, as they may become workers: slices, and what the kernel gave no label. Ids by path.
    passed: BTreeMap<String, u64>,
    /// The agent's own process, and the cgroup it was met in.
    own: Option<u32>,
    own_path: Option<String>,
}

impl Discovery {
    /// Discovery by these patterns, with label ids up to `max_labels`.
    pub fn new(patterns: CgroupPatterns, max_labels: u32) -> Self {
        Self {
            patterns,
            pool: LabelPool::new(max_labels),
            known: BTreeMap::new(),
            paths: HashMap::new(),
            passed: BTreeMap::new(),
            own: None,
            own_path: None,
        }
    }

    /// The cgroup of this process is not watched.
    #[must_use]
    pub fn without(mut self, pid: u32) -> Self {
        self.own = Some(pid);
        self
    }

    /// Whether new cgroups directly below `path` have to be noticed.
    pub fn watches(&self, path: &str) -> bool {
        self.patterns.may_match_below(path)
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

    /// The kernel did not take a cgroup's label: the next scan tries again.
    pub fn could_not_label(&mut self, cgroup: u64, workers: &mut Workers, now: BootNs) {
        let Some(known) = self.paths.remove(&cgroup).and_then(|path| self.known.remove(&path)) else {
            return;
        };
        workers.unplace(cgroup);
        if let Some(label) = known.label {
            workers.gone(label, cgroup, now);
        }
    }

    /// How many label ids workers have, those that ended lately included, and how many there are.
    pub fn labels(&self, now: BootNs) -> (u32, u32) {
        self.pool.used(now)
    }

    /// How many cgroups it has given a label in the kernel, or told to hand one down.
    pub fn labelled(&self) -> usize {
        self.known.values().filter(|known| known.label.is_some() || known.hands_down).count()
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
        let known = self.discovery.known.get(path).filter(|known| known.cgroup == id);
        let label = match known.map(|known| known.label) {
            Some(label) => label,
            None if self.is_own(path, inherited) => return,
            None => self.classify(path, id, inherited),
        };
        if self.discovery.watches(path) {
            (self.visit)(path);
            if label.is_none() {
                self.hand_down(path, id);
            }
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

    /// A folder in which workers may be made says so to the kernel, before its children are listed.
    fn hand_down(&mut self, path: &str, id: u64) {
        if self.discovery.known.get(path).is_some_and(|known| known.hands_down) {
            return;
        }
        match self.map.hand_down(id) {
            Ok(()) => {
                if let Some(known) = self.discovery.known.get_mut(path) {
                    known.hands_down = true;
                }
            }
            Err(reason) => self.changes.push(Change::Unwatched { path: path.to_owned(), reason }),
        }
    }

    /// The label a cgroup that is not known yet gets, if any; labels it.
    fn classify(&mut self, path: &str, id: u64, inherited: Option<u32>) -> Option<u32> {
        let matched = path != "/" && self.discovery.patterns.assignment(path).is_some();
        let own = match inherited {
            Some(label) if matched && self.is_hollow(label) => true,
            Some(_) => false,
            None => matched && !self.is_slice(path),
        };
        let label = if own { self.new_worker(path, id) } else { inherited };
        let label = label.and_then(|label| self.give(path, id, label));
        match label {
            Some(label) => self.know(path, id, Some(label)),
            None => {
                self.is_nobodys(path, id);
                // A slice may become a worker, and what could not be labelled is tried again.
                if !matched && inherited.is_none() {
                    self.know(path, id, None);
                } else {
                    self.discovery.passed.insert(path.to_owned(), id);
                }
            }
        }
        label
    }

    fn know(&mut self, path: &str, id: u64, label: Option<u32>) {
        let hands_down = label.is_some() && self.discovery.watches(path);
        self.discovery.known.insert(path.to_owned(), Known { cgroup: id, label, hands_down });
        self.discovery.paths.insert(id, path.to_owned());
        self.discovery.passed.remove(path);
    }

    fn is_nobodys(&mut self, path: &str, id: u64) {
        if self.workers.placed(id) == Some(Placed::Nobody) {
            return;
        }
        // A folder is told so by itself, without a moment in between in which what is made in it has no label.
        if !self.discovery.watches(path)
            && let Err(reason) = self.map.settle(id)
        {
            tracing::warn!(cgroup = path, reason, "events of a cgroup that is no worker go on being sent");
        }
        self.workers.place(id, Placed::Nobody);
    }

    /// Labels a cgroup in the kernel.
    fn give(&mut self, path: &str, id: u64, label: u32) -> Option<u32> {
        let hands_down = if self.discovery.watches(path) { label_state::HANDS_DOWN } else { 0 };
        let state = label_state::WORKER | hands_down;
        let is_own = self.workers.get(label).is_some_and(|worker| worker.cgroup == id);
        let from_birth = is_own && self.map.is_pending(id);
        if let Err(reason) = self.map.label(id, Label { id: label, state }) {
            self.changes.push(Change::Unwatched { path: path.to_owned(), reason });
            if is_own {
                self.workers.remove(label);
                self.discovery.release(label, self.now);
            }
            return None;
        }
        self.workers.place(id, Placed::Worker(label));
        if is_own {
            self.changes.push(Change::Found { label, from_birth });
        }
        Some(label)
    }

    fn new_worker(&mut self, path: &str, id: u64) -> Option<u32> {
        let Some(label) = self.discovery.pool.take(self.now) else {
            self.changes.push(Change::Unwatched {
                path: path.to_owned(),
                reason: "all label ids are in use: there are more workers, or more that ended lately, than the probes have counters for"
                    .into(),
            });
            return None;
        };
        let assignment = self.discovery.patterns.assignment(path).cloned().unwrap_or_default();
        let unit = unit_of(path).map(Arc::from);
        self.workers.insert(Worker::new(label, id, path, unit, assignment, self.now));
        Some(label)
    }

    /// Whether it would be watched, and the agent itself is in it.
    fn is_own(&mut self, path: &str, inherited: Option<u32>) -> bool {
        let Some(own) = self.discovery.own else { return false };
        let matched = path != "/" && self.discovery.patterns.assignment(path).is_some();
        let is_own = (matched || inherited.is_some())
            && self.tree.processes(path).is_ok_and(|processes| processes.contains(&own));
        if is_own && self.discovery.own_path.as_deref() != Some(path) {
            tracing::info!(cgroup = path, "not watched: the agent itself runs in it");
            self.discovery.own_path = Some(path.to_owned());
        }
        is_own
    }

    /// A folder of cgroups rather than a worker: it has children, which may be workers, and no process of its own.
    fn is_slice(&self, path: &str) -> bool {
        if !self.discovery.watches(path) {
            return false;
        }
        let children = self.tree.children(path).is_ok_and(|children| !children.is_empty());
        children && self.tree.processes(path).is_ok_and(|processes| processes.is_empty())
    }

    /// A worker that turned out to be a slice: it has never held a process of its own.
    fn is_hollow(&self, label: u32) -> bool {
        self.workers.get(label).is_some_and(|worker| {
            // One that is gone already: of whatever it ran a record was read before.
            worker.entry.is_none()
                && self
                    .tree
                    .processes(&worker.path)
                    .map_or_else(|error| is_gone(&error), |processes| processes.is_empty())
        })
    }

    fn nearest_label(&self, path: &str) -> Option<u32> {
        let mut path = path;
        while !path.is_empty() {
            if let Some(label) = self.discovery.known.get(path).and_then(|known| known.label) {
                return Some(label);
            }
            path = path.rsplit_once('/')?.0;
        }
        None
    }

    /// Forgets known cgroups at or below `path` that are gone, or were made anew under the same name.
    fn forget_gone(&mut self, path: &str) {
        let is_gone = |path: &str, cgroup: u64| self.tree.id(path).map_or(true, |id| id != cgroup);
        let passed: Vec<(String, u64)> = at_or_below(&self.discovery.passed, path)
            .filter(|(path, cgroup)| is_gone(path, **cgroup))
            .map(|(path, cgroup)| (path.clone(), *cgroup))
            .collect();
        let known: Vec<(String, u64, Option<u32>)> = at_or_below(&self.discovery.known, path)
            .filter(|(path, known)| is_gone(path, known.cgroup))
            .map(|(path, known)| (path.clone(), known.cgroup, known.label))
            .collect();
        for (path, cgroup) in passed {
            self.discovery.passed.remove(&path);
            self.workers.left(cgroup, self.now);
        }
        for (known, cgroup, label) in known {
            self.discovery.known.remove(&known);
            self.discovery.paths.remove(&cgroup);
            self.workers.left(cgroup, self.now);
            // The kernel removed the label with the cgroup; this is for kernels where that program did not load.
            if let Err(reason) = self.map.unlabel(cgroup) {
                tracing::warn!(cgroup = known, reason, "label of a removed cgroup stays in the kernel map");
            }
            if let Some(label) = label
                && self.workers.gone(label, cgroup, self.now)
            {
                self.changes.push(Change::Gone { label });
            }
        }
    }

    fn checked<T>(&mut self, path: &str, what: &str, result: io::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            // Removed while we looked: the next look forgets it.
            Err(error) if is_gone(&error) => None,
            Err(error) => {
                self.changes
                    .push(Change::Unwatched { path: path.to_owned(), reason: format!("{what}: {error}") });
                None
            }
        }
    }
}

/// The entries of a cgroup and those below it.
fn at_or_below<'a, T>(
    by_path: &'a BTreeMap<String, T>,
    path: &'a str,
) -> impl Iterator<Item = (&'a String, &'a T)> {
    let below = if path == "/" { "/".to_owned() } else { format!("{path}/") };
    by_path
        .range(path.to_owned()..)
        .take_while(move |(found, _)| found.starts_with(path))
        .filter(move |(found, _)| *found == path || found.starts_with(&below))
}

/// Whether that is what the file system says of a cgroup that was removed.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

#[cfg(test)]
mod tests;

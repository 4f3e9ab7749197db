use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::event::NewCgroup;
use crate::worker::Assignment;

/// A hierarchy in memory: path → (id, processes).
#[derive(Default)]
struct FakeTree {
    cgroups: RefCell<BTreeMap<String, (u64, Vec<u32>)>>,
}

impl FakeTree {
    fn with(paths: &[(&str, &[u32])]) -> Self {
        let tree = Self::default();
        tree.make("/", &[]);
        for (path, processes) in paths {
            tree.make(path, processes);
        }
        tree
    }

    fn make(&self, path: &str, processes: &[u32]) {
        let id = self.cgroups.borrow().values().map(|(id, _)| *id).max().unwrap_or(0) + 1;
        self.cgroups.borrow_mut().insert(path.to_owned(), (id, processes.to_vec()));
    }

    fn remove(&self, path: &str) {
        self.cgroups.borrow_mut().remove(path);
    }
}

impl CgroupTree for FakeTree {
    fn id(&self, path: &str) -> io::Result<u64> {
        self.cgroups
            .borrow()
            .get(path)
            .map(|(id, _)| *id)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }

    fn children(&self, path: &str) -> io::Result<Vec<String>> {
        let below = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        Ok(self
            .cgroups
            .borrow()
            .keys()
            .filter_map(|known| known.strip_prefix(&below))
            .filter(|rest| !rest.is_empty() && !rest.contains('/'))
            .map(str::to_owned)
            .collect())
    }

    fn processes(&self, path: &str) -> io::Result<Vec<u32>> {
        Ok(self.cgroups.borrow().get(path).map(|(_, processes)| processes.clone()).unwrap_or_default())
    }
}

#[derive(Default)]
struct FakeMap {
    labels: BTreeMap<u64, u32>,
    flags: BTreeMap<u64, u32>,
    folders: BTreeSet<u64>,
    settled: Vec<u64>,
    pending: BTreeSet<u64>,
    refuse: bool,
}

impl LabelMap for FakeMap {
    fn label(&mut self, cgroup: u64, label: Label) -> Result<(), String> {
        if self.refuse {
            return Err("map full".into());
        }
        self.labels.insert(cgroup, label.id);
        self.flags.insert(cgroup, label.state & !label_state::KIND);
        Ok(())
    }

    fn unlabel(&mut self, cgroup: u64) -> Result<(), String> {
        self.labels.remove(&cgroup);
        Ok(())
    }

    fn hand_down(&mut self, cgroup: u64) -> Result<(), String> {
        self.folders.insert(cgroup);
        Ok(())
    }

    fn hand_down_no_more(&mut self, cgroup: u64) -> Result<(), String> {
        self.folders.remove(&cgroup);
        Ok(())
    }

    fn is_pending(&self, cgroup: u64) -> bool {
        self.pending.contains(&cgroup)
    }

    fn settle(&mut self, cgroup: u64) -> Result<(), String> {
        self.settled.push(cgroup);
        Ok(())
    }
}

struct Rig {
    tree: FakeTree,
    map: FakeMap,
    workers: Workers,
    discovery: Discovery,
    visited: BTreeSet<String>,
}

impl Rig {
    fn new(patterns: &[&str], paths: &[(&str, &[u32])]) -> Self {
        Self {
            tree: FakeTree::with(paths),
            map: FakeMap::default(),
            workers: Workers::default(),
            discovery: Discovery::new(CgroupPatterns::new(patterns.iter().copied(), []).unwrap(), 8),
            visited: BTreeSet::new(),
        }
    }

    fn scan(&mut self, path: &str) -> Vec<Change> {
        let visited = &mut self.visited;
        self.discovery.scan(path, &self.tree, &mut self.map, &mut self.workers, 1, &mut |path| {
            visited.insert(path.to_owned());
        })
    }

    fn label(&self, path: &str) -> Option<u32> {
        self.map.labels.get(&self.tree.id(path).unwrap()).copied()
    }
}

#[test]
fn worker_and_everything_below_it_get_one_label() {
    let mut rig =
        Rig::new(&["/lab/*"], &[("/lab", &[]), ("/lab/w", &[7]), ("/lab/w/sub", &[8]), ("/x", &[9])]);
    assert_eq!(rig.scan("/"), [Change::Found { label: 1, from_birth: false }]);
    assert_eq!((rig.label("/lab/w"), rig.label("/lab/w/sub")), (Some(1), Some(1)));
    assert_eq!((rig.label("/lab"), rig.label("/x")), (None, None));
    assert_eq!(rig.visited, BTreeSet::from(["/".to_owned(), "/lab".to_owned()]));
}

/// As in a pod of its own: beside it is the pod's sandbox, which is a worker like any.
#[test]
fn cgroup_of_the_agent_itself_is_not_watched() {
    let mut rig = Rig::new(
        &["/pods/**"],
        &[("/pods", &[]), ("/pods/p", &[]), ("/pods/p/agent", &[7, 8]), ("/pods/p/pause", &[9])],
    );
    rig.discovery = rig.discovery.without(8);
    assert_eq!(rig.scan("/"), [Change::Found { label: 1, from_birth: false }]);
    assert_eq!((rig.label("/pods/p/agent"), rig.label("/pods/p/pause")), (None, Some(1)));
    // Nor when it is met again, or has a labelled cgroup above it.
    rig.tree.make("/pods/p/agent/below", &[]);
    assert_eq!(rig.scan("/"), []);
    let mut rig = Rig::new(&["/lab/*"], &[("/lab", &[]), ("/lab/w", &[7]), ("/lab/w/agent", &[8])]);
    rig.discovery = rig.discovery.without(8);
    rig.scan("/");
    assert_eq!((rig.label("/lab/w"), rig.label("/lab/w/agent")), (Some(1), None));
}

#[test]
fn new_cgroup_is_found_by_a_look_at_its_parent() {
    let mut rig = Rig::new(&["/lab/*"], &[("/lab", &[])]);
    assert!(rig.scan("/").is_empty());
    rig.tree.make("/lab/new", &[]);
    assert_eq!(rig.scan("/lab"), [Change::Found { label: 1, from_birth: false }]);
    assert_eq!(rig.scan("/lab"), [], "known now");
}

#[test]
fn slice_with_children_is_no_worker_but_they_are() {
    let mut rig = Rig::new(
        &["/pods/**"],
        &[("/pods", &[]), ("/pods/p1", &[]), ("/pods/p1/c1", &[5]), ("/pods/p1/c2", &[6])],
    );
    assert_eq!(rig.scan("/").len(), 2);
    assert_eq!(rig.label("/pods/p1"), None);
    assert_ne!(rig.label("/pods/p1/c1"), rig.label("/pods/p1/c2"));
}

#[test]
fn slice_that_is_gone_is_placed_no_longer_than_its_records_may_come() {
    let mut rig = Rig::new(&["/pods/**"], &[("/pods", &[]), ("/pods/p1", &[]), ("/pods/p1/c1", &[5])]);
    rig.scan("/");
    let slice = rig.tree.id("/pods/p1").unwrap();
    let day = 86_400_000_000_000;
    rig.workers.expire(day);
    assert_eq!(rig.workers.placed(slice), Some(Placed::Nobody), "it is there");
    rig.tree.remove("/pods/p1/c1");
    rig.tree.remove("/pods/p1");
    rig.scan("/");
    rig.workers.expire(2);
    assert_eq!(rig.workers.placed(slice), Some(Placed::Nobody), "its last records may still come");
    rig.workers.expire(day);
    assert_eq!(rig.workers.placed(slice), None);
}

#[test]
fn worker_that_becomes_a_slice_hands_over_to_its_children() {
    let mut rig = Rig::new(&["/pods/**"], &[("/pods", &[]), ("/pods/p1", &[])]);
    assert_eq!(rig.scan("/"), [Change::Found { label: 1, from_birth: false }]);
    rig.tree.make("/pods/p1/c1", &[]);
    assert_eq!(rig.scan("/pods/p1"), [Change::Found { label: 2, from_birth: false }]);
    assert_eq!(rig.label("/pods/p1/c1"), Some(2));
}

#[test]
fn nested_cgroup_of_a_worker_with_processes_stays_the_workers() {
    let mut rig = Rig::new(&["/pods/**"], &[("/pods", &[]), ("/pods/c", &[5])]);
    rig.scan("/");
    rig.tree.make("/pods/c/dind", &[]);
    assert_eq!(rig.scan("/pods/c"), []);
    assert_eq!(rig.label("/pods/c/dind"), Some(1));
}

#[test]
fn removed_worker_is_gone_and_its_label_removed() {
    let mut rig = Rig::new(&["/lab/*"], &[("/lab", &[]), ("/lab/w", &[7]), ("/lab/w/sub", &[])]);
    rig.scan("/");
    rig.tree.remove("/lab/w/sub");
    rig.tree.remove("/lab/w");
    assert_eq!(rig.scan("/lab"), [Change::Gone { label: 1 }]);
    assert!(rig.map.labels.is_empty());
    assert_eq!(rig.workers.present(), 0);
    assert_eq!(rig.workers.expire(1 + Workers::KEEP), [1]);
}

#[test]
fn cgroup_made_anew_under_the_same_name_is_another_worker() {
    let mut rig = Rig::new(&["/lab/*"], &[("/lab", &[]), ("/lab/w", &[7])]);
    rig.scan("/");
    rig.tree.make("/lab/w", &[8]);
    assert_eq!(
        rig.scan("/lab/w"),
        [Change::Gone { label: 1 }, Change::Found { label: 2, from_birth: false }]
    );
}

#[test]
fn removal_of_a_name_leaves_names_it_is_a_prefix_of() {
    let mut rig = Rig::new(&["/lab/*"], &[("/lab", &[]), ("/lab/w", &[7]), ("/lab/w2", &[8])]);
    rig.scan("/");
    rig.tree.remove("/lab/w");
    assert_eq!(rig.scan("/lab/w"), [Change::Gone { label: 1 }]);
    assert_eq!(rig.label("/lab/w2"), Some(2));
}

#[test]
fn refused_label_is_said_and_no_worker_claimed() {
    let mut rig = Rig::new(&["/lab/*"], &[("/lab", &[]), ("/lab/w", &[7])]);
    rig.map.refuse = true;
    assert_eq!(rig.scan("/"), [Change::Unwatched { path: "/lab/w".into(), reason: "map full".into() }]);
    assert_eq!(rig.workers.present(), 0);
}

#[test]
fn more_workers_than_labels_are_said() {
    let mut rig = Rig::new(&["/lab/*"], &[("/lab", &[])]);
    for number in 0..9 {
        rig.tree.make(&format!("/lab/w{number}"), &[number + 1]);
    }
    let changes = rig.scan("/");
    assert_eq!(changes.iter().filter(|change| matches!(change, Change::Found { .. })).count(), 8);
    assert!(matches!(changes.last(), Some(Change::Unwatched { path, .. }) if path == "/lab/w8"));
}

#[test]
fn other_patterns_let_go_of_what_they_do_not_name_and_keep_the_labels_of_the_rest() {
    let paths: &[(&str, &[u32])] =
        &[("/lab", &[]), ("/lab/a", &[1]), ("/lab/a/below", &[2]), ("/lab/b", &[3])];
    let mut rig = Rig::new(&["/lab/*"], paths);
    rig.scan("/");
    let (a, b) = (rig.label("/lab/a").unwrap(), rig.label("/lab/b").unwrap());
    let renamed = Assignment { name: Some("renamed".into()), ..Assignment::default() };
    let patterns = CgroupPatterns::new(["/other"], [("/lab/b", renamed)]).unwrap();
    let changes = rig.discovery.set_patterns(patterns, &mut rig.map, &mut rig.workers, 2);
    assert_eq!(changes, [Change::Gone { label: a }]);
    assert_eq!((rig.label("/lab/a"), rig.label("/lab/a/below"), rig.label("/lab/b")), (None, None, Some(b)));
    assert_eq!(&*rig.workers.get(b).unwrap().name, "renamed");
    assert!(rig.workers.get(a).unwrap().gone.is_some());
    assert_eq!(rig.scan("/"), [], "what is left is known already");
}

impl Rig {
    fn announced(&mut self, cgroup: u64, parent: &str, path: &str) -> Vec<Change> {
        let parent = self.tree.id(parent).unwrap();
        let new = NewCgroup { time: 1, cgroup, parent, path: Some(path.into()) };
        let visited = &mut self.visited;
        self.discovery.announced(&new, &self.tree, &mut self.map, &mut self.workers, 1, &mut |path| {
            visited.insert(path.to_owned());
        })
    }
}

const FOUND: Change = Change::Found { label: 1, from_birth: true };

#[test]
fn folders_in_which_workers_are_made_hand_down_and_others_do_not() {
    let mut rig =
        Rig::new(&["/lab/*", "/pods/**"], &[("/lab", &[]), ("/x", &[]), ("/pods", &[]), ("/pods/c", &[1])]);
    rig.scan("/");
    let folders: Vec<u64> = ["/", "/lab", "/pods"].map(|path| rig.tree.id(path).unwrap()).into();
    assert_eq!(rig.map.folders, BTreeSet::from_iter(folders));
    assert_eq!(rig.map.flags.get(&rig.tree.id("/pods/c").unwrap()), Some(&label_state::HANDS_DOWN));
    rig.map.folders.clear();
    rig.scan("/");
    assert_eq!(rig.map.folders, BTreeSet::new(), "said once");
}

#[test]
fn announced_cgroup_that_lives_is_found_and_announced_again_is_nothing_new() {
    let mut rig = Rig::new(&["/lab/*"], &[("/lab", &[])]);
    rig.scan("/");
    rig.tree.make("/lab/w", &[]);
    let id = rig.tree.id("/lab/w").unwrap();
    rig.map.pending.insert(id);
    assert_eq!(rig.announced(id, "/lab", "/lab/w"), [FOUND]);
    assert_eq!((rig.label("/lab/w"), rig.workers.placed(id)), (Some(1), Some(Placed::Worker(1))));
    assert_eq!(rig.announced(id, "/lab", "/lab/w"), []);
}

#[test]
fn announced_cgroup_that_is_gone_is_a_worker_that_is_gone() {
    let mut rig = Rig::new(&["/lab/*"], &[("/lab", &[])]);
    rig.scan("/");
    assert_eq!(rig.announced(77, "/lab", "/lab/w"), [FOUND, Change::Gone { label: 1 }]);
    let worker = rig.workers.get(1).unwrap();
    assert_eq!((&*worker.path, worker.cgroup, worker.gone), ("/lab/w", 77, Some(1)));
    assert_eq!(rig.workers.placed(77), Some(Placed::Worker(1)));
    assert!(rig.map.labels.is_empty(), "the kernel has forgotten it");
}

#[test]
fn announced_cgroup_whose_name_is_anothers_by_now_is_not_that_other() {
    let mut rig = Rig::new(&["/lab/*"], &[("/lab", &[]), ("/lab/w", &[7])]);
    rig.scan("/");
    let changes = rig.announced(77, "/lab", "/lab/w");
    assert_eq!(changes, [Change::Found { label: 2, from_birth: true }, Change::Gone { label: 2 }]);
    assert_eq!(rig.label("/lab/w"), Some(1));
    assert_eq!(rig.scan("/"), [], "the one that lives is known as before");
}

#[test]
fn announced_cgroup_that_no_pattern_names_is_nobodys_and_settled_once() {
    let mut rig = Rig::new(&["/lab/w-*"], &[("/lab", &[])]);
    rig.scan("/");
    rig.map.settled.clear();
    rig.tree.make("/lab/other", &[]);
    let id = rig.tree.id("/lab/other").unwrap();
    assert_eq!(rig.announced(id, "/lab", "/lab/other"), []);
    assert_eq!((rig.workers.placed(id), &*rig.map.settled), (Some(Placed::Nobody), &[id][..]));
    rig.scan("/");
    assert_eq!(rig.map.settled, [id]);
    assert_eq!(rig.announced(78, "/lab", "/lab/gone"), []);
    assert_eq!(rig.workers.placed(78), Some(Placed::Nobody));
}

#[test]
fn announced_container_in_an_announced_pod_that_are_both_gone_is_the_worker() {
    let mut rig = Rig::new(&["/pods/**"], &[("/pods", &[])]);
    rig.scan("/");
    assert_eq!(rig.announced(77, "/pods", "/pods/p"), [FOUND, Change::Gone { label: 1 }]);
    let new = NewCgroup { time: 2, cgroup: 78, parent: 77, path: Some("/pods/p/c".into()) };
    let (map, workers) = (&mut rig.map, &mut rig.workers);
    rig.discovery.announced(&new, &rig.tree, map, workers, 2, &mut |_| {});
    assert_eq!(rig.workers.placed(78), Some(Placed::Worker(2)));
    assert_eq!(&*rig.workers.get(2).unwrap().path, "/pods/p/c");
}

#[test]
fn announced_cgroup_below_a_worker_that_runs_is_the_workers() {
    let mut rig = Rig::new(&["/pods/**"], &[("/pods", &[]), ("/pods/c", &[5])]);
    rig.scan("/");
    assert_eq!(rig.announced(77, "/pods/c", "/pods/c/dind"), []);
    assert_eq!(rig.workers.placed(77), Some(Placed::Worker(1)));
}

#[test]
fn announced_path_is_taken_from_the_folder_where_only_a_part_of_the_hierarchy_is_mounted() {
    let mut rig = Rig::new(&["/lab/*"], &[("/lab", &[])]);
    rig.scan("/");
    rig.announced(77, "/lab", "/host/part/lab/w");
    assert_eq!(&*rig.workers.get(1).unwrap().path, "/lab/w");
}

#[test]
fn other_patterns_hand_down_elsewhere_and_look_again_at_who_was_nobody() {
    let mut rig = Rig::new(&["/lab/*"], &[("/lab", &[]), ("/other", &[]), ("/other/w", &[3])]);
    rig.scan("/");
    let patterns = CgroupPatterns::new(["/other/*"], []).unwrap();
    assert_eq!(rig.discovery.set_patterns(patterns, &mut rig.map, &mut rig.workers, 2), []);
    assert_eq!(rig.scan("/"), [Change::Found { label: 1, from_birth: false }]);
    let folders: Vec<u64> = ["/", "/other"].map(|path| rig.tree.id(path).unwrap()).into();
    assert_eq!(rig.map.folders, BTreeSet::from_iter(folders));
}

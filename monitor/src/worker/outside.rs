//! Processes of a worker that run in a cgroup outside it, and began before the agent watched: those of a container runtime in it.
//!
//! What is forked while the agent watches keeps its worker wherever it is moved. What was there before is told by its parents, as
//! /proc shows them: a process whose own is over goes to the first of its pid namespace, and that of a worker is the worker's. Who
//! is in a worker's pid namespace and no child of its own came in from outside, and is its too, unless the host has that
//! namespace.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;

/// Most parents that are looked at; pids that are used again meanwhile may make a circle.
const PARENTS_MAX: usize = 256;

/// What is asked of the processes of the host.
pub trait Host {
    /// Every process.
    fn pids(&self) -> Vec<u32>;
    /// Its parent; `None` if it is gone, 0 if it has none.
    fn parent(&self, pid: u32) -> Option<u32>;
    /// Its pid namespace, as an inode number; `None` if it cannot be told.
    fn pid_namespace(&self, pid: u32) -> Option<u64>;
}

/// The real /proc.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemHost;

impl Host for SystemHost {
    fn pids(&self) -> Vec<u32> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    fn parent(&self, pid: u32) -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold anything: what comes behind the last parenthesis is state and parent.
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    }

    fn pid_namespace(&self, pid: u32) -> Option<u64> {
        Some(std::fs::metadata(format!("/proc/{pid}/ns/pid")).ok()?.ino())
    }
}

/// The processes outside of all workers that belong to one, by its label. `inside` are those in the workers' own cgroups with
/// their labels; `own` is the agent, which with its children is nobody's; `again` lists the workers' cgroups once more: what was forked in
/// one between the first list and the look at /proc is inside.
pub fn outside(
    host: &dyn Host,
    inside: &HashMap<u32, u32>,
    own: u32,
    again: &dyn Fn() -> HashSet<u32>,
) -> BTreeMap<u32, Vec<u32>> {
    let mut found: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    if inside.is_empty() {
        return found;
    }
    let mut parents: HashMap<u32, u32> = HashMap::new();
    for pid in host.pids().into_iter().filter(|pid| !inside.contains_key(pid)) {
        parents.extend(host.parent(pid).map(|parent| (pid, parent)));
    }
    let namespaces = namespaces(host, inside);
    for pid in parents.keys() {
        let label = match above(*pid, &parents, inside, own) {
            Above::Worker(label) => Some(label),
            Above::Nobody => namespaces
                .as_ref()
                .and_then(|of| host.pid_namespace(*pid).and_then(|namespace| of.get(&namespace)))
                .copied(),
            Above::Agent => None,
        };
        if let Some(label) = label {
            found.entry(label).or_default().push(*pid);
        }
    }
    if !found.is_empty() {
        let inside_by_now = again();
        found.values_mut().for_each(|pids| pids.retain(|pid| !inside_by_now.contains(pid)));
        found.retain(|_, pids| !pids.is_empty());
    }
    found.values_mut().for_each(|pids| pids.sort_unstable());
    found
}

/// Where the parents of a process lead to.
enum Above {
    Worker(u32),
    Agent,
    Nobody,
}

fn above(pid: u32, parents: &HashMap<u32, u32>, inside: &HashMap<u32, u32>, own: u32) -> Above {
    let mut at = pid;
    for _ in 0..PARENTS_MAX {
        if at == own {
            return Above::Agent;
        }
        let Some(parent) = parents.get(&at).copied() else { return Above::Nobody };
        // Whatever has no parent any more is the init process's.
        if parent <= 1 {
            return Above::Nobody;
        }
        if let Some(label) = inside.get(&parent) {
            return Above::Worker(*label);
        }
        at = parent;
    }
    Above::Nobody
}

/// The workers by the pid namespace of their first process; `None`: that of the host cannot be told.
fn namespaces(host: &dyn Host, inside: &HashMap<u32, u32>) -> Option<HashMap<u64, u32>> {
    let hosts = host.pid_namespace(1)?;
    let mut first: BTreeMap<u32, u32> = BTreeMap::new();
    for (pid, label) in inside {
        first.entry(*label).and_modify(|first| *first = (*first).min(*pid)).or_insert(*pid);
    }
    let mut of: HashMap<u64, u32> = HashMap::new();
    for (label, pid) in first {
        // Several containers of a pod may share one.
        if let Some(namespace) = host.pid_namespace(pid).filter(|namespace| *namespace != hosts) {
            of.entry(namespace).or_insert(label);
        }
    }
    Some(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By pid: parent and pid namespace.
    struct Told(BTreeMap<u32, (u32, u64)>);

    impl Host for Told {
        fn pids(&self) -> Vec<u32> {
            self.0.keys().copied().collect()
        }
        fn parent(&self, pid: u32) -> Option<u32> {
            self.0.get(&pid).map(|(parent, _)| *parent)
        }
        fn pid_namespace(&self, pid: u32) -> Option<u64> {
            self.0.get(&pid).map(|(_, namespace)| *namespace)
        }
    }

    const HOST: u64 = 1;
    const OWN: u32 = 900;

    fn of(processes: &[(u32, u32, u64)], inside: &[(u32, u32)]) -> BTreeMap<u32, Vec<u32>> {
        let mut all = BTreeMap::from([(1, (0, HOST)), (2, (0, HOST)), (OWN, (1, HOST))]);
        all.extend(processes.iter().map(|(pid, parent, namespace)| (*pid, (*parent, *namespace))));
        outside(&Told(all), &inside.iter().copied().collect(), OWN, &HashSet::new)
    }

    #[test]
    fn process_whose_parents_lead_into_a_worker_is_the_workers() {
        // An engine in a worker, its shim outside, and two processes of its container.
        let all = [(10, 1, 7), (20, 10, 7), (30, 20, 8), (31, 30, 8), (50, 1, HOST), (60, 2, HOST)];
        assert_eq!(of(&all, &[(10, 3)]), BTreeMap::from([(3, vec![20, 30, 31])]));
    }

    #[test]
    fn process_that_came_into_a_workers_pid_namespace_is_the_workers() {
        let all = [(10, 1, 7), (20, 1, 7), (21, 20, 8), (30, 1, 9)];
        assert_eq!(of(&all, &[(10, 3)]), BTreeMap::from([(3, vec![20])]));
    }

    #[test]
    fn worker_in_the_hosts_pid_namespace_has_its_children_and_nobody_elses() {
        let all = [(10, 1, HOST), (20, 10, HOST), (30, 1, HOST), (31, 30, HOST)];
        assert_eq!(of(&all, &[(10, 3)]), BTreeMap::from([(3, vec![20])]));
        assert_eq!(of(&all, &[]), BTreeMap::new());
    }

    #[test]
    fn agent_and_what_it_started_are_nobodys_wherever_they_were_started() {
        let all = [(10, 1, 7), (OWN, 10, 7), (901, OWN, 7)];
        assert_eq!(of(&all, &[(10, 3)]), BTreeMap::new());
    }

    #[test]
    fn process_that_was_forked_in_the_workers_cgroup_while_others_were_looked_for_is_inside() {
        let all =
            BTreeMap::from([(1, (0, HOST)), (OWN, (1, HOST)), (10, (1, 7)), (11, (10, 7)), (20, (10, 7))]);
        let again = |pids: &'static [u32]| move || pids.iter().copied().collect::<HashSet<u32>>();
        let inside = HashMap::from([(10, 3)]);
        let host = Told(all);
        assert_eq!(outside(&host, &inside, OWN, &again(&[10, 11])), BTreeMap::from([(3, vec![20])]));
        assert_eq!(outside(&host, &inside, OWN, &again(&[10, 11, 20])), BTreeMap::new());
    }

    #[test]
    fn parents_in_a_circle_lead_nowhere() {
        let all = [(10, 1, 7), (20, 21, HOST), (21, 20, HOST)];
        assert_eq!(of(&all, &[(10, 3)]), BTreeMap::new());
    }

    #[test]
    fn own_process_is_told_by_proc() {
        let own = std::process::id();
        assert!(SystemHost.pids().contains(&own));
        assert_eq!(SystemHost.parent(own), Some(std::os::unix::process::parent_id()));
        assert!(SystemHost.pid_namespace(own).is_some());
        assert_eq!(SystemHost.parent(u32::MAX), None);
    }
}

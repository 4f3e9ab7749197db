use std::sync::Arc;

use proptest::prelude::*;

use super::super::model::{History, Program, Standing};
use super::*;
use crate::event::FileId;
use crate::profile::RoleId;

fn process(pid: u32, start: u64, creator: Option<ProcessRef>) -> Process {
    Process {
        key: ProcessKey { pid, start },
        coarse: false,
        ns_pid: None,
        creator,
        creator_pid: None,
        label: 1,
        uid: 0,
        history: History::Seen,
        exited: None,
        images: vec![image(start)],
        mounts: 0,
        children: 0,
    }
}

fn image(exec_id: u64) -> Image {
    Image {
        exec_id,
        since: exec_id,
        program: Arc::new(Program::unknown(FileId::default())),
        standing: Standing { role: RoleId::ENTRY, since: 0, below_author: false, entering: false },
        author_root: 0,
        forked: true,
        acted: None,
    }
}

fn key(pid: u32, start: u64) -> ProcessKey {
    ProcessKey { pid, start }
}

#[test]
fn reused_pid_is_another_process_and_ends_the_first() {
    let mut table = ProcessTable::new(10);
    let first = table.insert(process(5, 100, None));
    let second = table.insert(process(5, 200, None));
    assert_eq!((table.find(key(5, 100)), table.find(key(5, 200))), (Some(first), Some(second)));
    assert_eq!(table.find_pid(5), Some(second));
    assert_eq!(table.get(first).unwrap().exited, Some(200));
    assert_eq!(table.counts().reused, 1);
}

#[test]
fn exited_process_is_kept_for_late_events_then_dropped() {
    let mut table = ProcessTable::new(10);
    let at = table.insert(process(5, 100, None));
    table.exit(at, 1_000);
    table.expire(1_000 + EXITED_KEEP - 1);
    assert!(table.get(at).is_some());
    table.expire(1_000 + EXITED_KEEP);
    assert!(table.get(at).is_none() && table.find(key(5, 100)).is_none() && table.find_exec(100).is_none());
}

#[test]
fn exited_creator_stays_while_its_children_are_there() {
    let mut table = ProcessTable::new(10);
    let parent = table.insert(process(5, 100, None));
    let child = table.insert(process(6, 110, Some(parent)));
    table.exit(parent, 1_000);
    table.expire(1_000 + EXITED_KEEP);
    assert_eq!(table.lineage(child).map(|(at, _)| at).collect::<Vec<_>>(), [child, parent]);
    table.exit(child, 1_000 + EXITED_KEEP);
    table.expire(1_000 + 3 * EXITED_KEEP);
    table.expire(1_000 + 5 * EXITED_KEEP);
    assert!(table.is_empty());
}

#[test]
fn full_table_drops_exited_processes_first_and_counts() {
    let mut table = ProcessTable::new(2);
    let old = table.insert(process(1, 1, None));
    let kept = table.insert(process(2, 2, None));
    table.exit(old, 10);
    table.insert(process(3, 3, None));
    assert!(table.get(old).is_none() && table.get(kept).is_some());
    assert_eq!((table.counts().early, table.counts().evicted), (1, 0));
    table.insert(process(4, 4, None));
    assert!(table.get(kept).is_none(), "the oldest live one goes");
    assert_eq!(table.counts().evicted, 1);
}

#[test]
fn scanned_process_is_found_by_its_exact_start_and_refined() {
    let mut table = ProcessTable::new(10);
    let at = table.insert(Process { coarse: true, ..process(5, 3 * TICK, None) });
    let exact = key(5, 3 * TICK + 123);
    assert_eq!(table.find(exact), Some(at));
    assert_eq!(table.find(key(5, 4 * TICK)), None);
    table.refine(at, exact);
    assert_eq!(table.find(exact), Some(at));
    assert_eq!(table.find(key(5, 3 * TICK + 124)), None, "exact from now on");
}

#[test]
fn long_exec_chain_forgets_the_oldest_image() {
    let mut table = ProcessTable::new(10);
    let at = table.insert(process(5, 100, None));
    for exec_id in 200..220 {
        table.push_image(at, image(exec_id));
    }
    assert_eq!(table.get(at).unwrap().images.len(), 8);
    assert_eq!((table.find_exec(100), table.find_exec(219)), (None, Some(at)));
}

proptest! {
    /// Whatever happens, the table stays within its bound, its indexes point at what they say, and child counts are right.
    #[test]
    fn indexes_and_counts_stay_right(steps in proptest::collection::vec((0..6u8, 0..8u32, 0..8u32), 1..120)) {
        let mut table = ProcessTable::new(6);
        let mut now = 1;
        for (what, pid, other) in steps {
            now += 1;
            match what {
                0..=2 => { let creator = table.find_pid(other); table.insert(process(pid, now, creator)); }
                3 => { if let Some(at) = table.find_pid(pid) { table.exit(at, now); } }
                4 => { if let Some(at) = table.find_pid(pid) { table.push_image(at, image(now)); } }
                _ => { now += EXITED_KEEP / 2; table.expire(now); }
            }
            prop_assert!(table.len() <= 6);
            for (key, at) in &table.by_key { prop_assert_eq!(table.get(*at).unwrap().key, *key); }
            for (pid, at) in &table.by_pid { prop_assert_eq!(table.get(*at).unwrap().key.pid, *pid); }
            for (exec_id, at) in &table.by_exec { prop_assert!(table.get(*at).unwrap().image_of(*exec_id).is_some()); }
            prop_assert_eq!(table.live(1) as usize, table.iter().filter(|(_, process)| process.exited.is_none()).count());
            for (at, process) in table.iter() {
                let children = table.iter().filter(|(_, child)| child.creator == Some(at)).count();
                prop_assert_eq!(process.children as usize, children);
            }
        }
    }
}

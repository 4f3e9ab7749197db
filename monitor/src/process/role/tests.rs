use super::*;
use crate::event::{Body, decode, fixture};
use crate::process::ProcessTable;
use crate::profile::ProcTarget;
use monitor_common::hook::Kind;
use monitor_common::record::Header;

/// No /proc at all.
struct NoProc;

impl ProcReader for NoProc {
    fn read(&self, _: u32) -> Option<Scanned> {
        None
    }

    fn environment(&self, _: u32, _: &dyn Fn(&str) -> bool) -> Vec<(Arc<str>, Arc<str>)> {
        Vec::new()
    }
}

fn placing(rules: &RuleSet, profile: ProfileId, outsider: RoleId) -> Placing<'_> {
    Placing { rules, profile, outsider, facts: Facts::NONE, probes: &[], proc: &NoProc }
}

fn with_placing<T>(outsider: RoleId, run: impl FnOnce(&Placing<'_>) -> T) -> T {
    let rules = RuleSet::from_sources(&[]).unwrap();
    run(&placing(&rules, ProfileId::GENERIC, outsider))
}

fn fork(
    table: &mut ProcessTable,
    placing: &Placing<'_>,
    child: (u32, u64),
    parent: (u32, u64),
) -> ProcessRef {
    let event = decode(&fixture::fork(child.0, child.1, parent, 110, 1)).unwrap();
    match &event.body {
        Body::Fork(fork) => table.forked(&event, fork, placing),
        _ => panic!("not a fork"),
    }
}

fn exec(
    table: &mut ProcessTable,
    placing: &Placing<'_>,
    who: (u32, u64),
    old: u64,
    new: u64,
    parent: (u32, u64),
) -> Executed {
    let head = Header { exec_id: new, time: new, ..fixture::header(Kind::Exec, who.0, who.1, 1) };
    let event = decode(&fixture::exec(head, old, parent, "/bin/x", &["x"])).unwrap();
    match &event.body {
        Body::Exec(exec) => table.executed(&event, exec, placing),
        _ => panic!("not an exec"),
    }
}

fn connect(who: (u32, u64), exec_id: u64, author_root: u64) -> Event {
    let head = Header { exec_id, author_root, time: 900, ..fixture::header(Kind::Connect, who.0, who.1, 1) };
    decode(&fixture::connect(head, [127, 0, 0, 1], 80)).unwrap()
}

#[test]
fn first_process_of_a_worker_joins_as_entry_and_its_children_inherit() {
    with_placing(RoleId::ENTRY, |placing| {
        let mut table = ProcessTable::new(16);
        let entry = exec(&mut table, placing, (10, 100), 100, 110, (1, 1));
        assert!(entry.joined);
        assert_eq!(entry.before.role, RoleId::ENTRY);
        let child = fork(&mut table, placing, (11, 120), (10, 100));
        let process = table.get(child).unwrap();
        assert_eq!(process.creator, Some(entry.at));
        assert_eq!(process.image().unwrap().standing.role, RoleId::ENTRY);
        assert_eq!(&*process.image().unwrap().program.exe.view, "/bin/x");
    });
}

#[test]
fn process_that_joins_a_sealed_worker_is_an_operator() {
    with_placing(RoleId::OPERATOR, |placing| {
        let mut table = ProcessTable::new(16);
        let joined = exec(&mut table, placing, (10, 100), 100, 110, (1, 1));
        assert!(joined.joined);
        assert_eq!(joined.before.role, RoleId::OPERATOR);
    });
}

#[test]
fn exec_whose_fork_was_lost_is_placed_below_its_parent() {
    with_placing(RoleId::OPERATOR, |placing| {
        let mut table = ProcessTable::new(16);
        let parent = exec(&mut table, placing, (10, 100), 100, 110, (1, 1)).at;
        let child = exec(&mut table, placing, (11, 120), 120, 130, (10, 100));
        assert!(!child.joined);
        assert_eq!(table.get(child.at).unwrap().creator, Some(parent));
        assert_eq!(table.get(child.at).unwrap().history, History::Inferred);
    });
}

#[test]
fn fork_read_after_an_event_of_the_child_completes_it() {
    with_placing(RoleId::ENTRY, |placing| {
        let mut table = ProcessTable::new(16);
        let parent = exec(&mut table, placing, (10, 100), 100, 110, (1, 1)).at;
        let child = table.acted(&connect((11, 120), 120, 0), placing).at;
        assert_eq!(table.get(child).unwrap().creator, None);
        assert_eq!(fork(&mut table, placing, (11, 120), (10, 100)), child);
        assert_eq!(table.get(child).unwrap().creator, Some(parent));
    });
}

#[test]
fn event_of_an_unknown_process_below_a_known_author_root_is_a_descendants() {
    with_placing(RoleId::ENTRY, |placing| {
        let mut table = ProcessTable::new(16);
        let at = table.acted(&connect((11, 120), 120, 77), placing).at;
        let image = table.get(at).unwrap().image().unwrap();
        assert_eq!((image.standing.role, image.author_root), (RoleId::DESCENDANT, 77));
        assert!(image.standing.below_author);
    });
}

#[test]
fn event_of_a_lost_exec_gets_an_image_of_its_own() {
    with_placing(RoleId::ENTRY, |placing| {
        let mut table = ProcessTable::new(16);
        let at = exec(&mut table, placing, (10, 100), 100, 110, (1, 1)).at;
        table.acted(&connect((10, 100), 150, 0), placing);
        let process = table.get(at).unwrap();
        assert_eq!(process.images.iter().map(|image| image.exec_id).collect::<Vec<_>>(), [100, 110, 150]);
        assert!(!process.image().unwrap().program.exe.is_known());
    });
}

#[test]
fn late_event_finds_the_image_that_acted_not_the_newest() {
    with_placing(RoleId::ENTRY, |placing| {
        let mut table = ProcessTable::new(16);
        exec(&mut table, placing, (10, 100), 100, 110, (1, 1));
        exec(&mut table, placing, (10, 100), 110, 120, (1, 1));
        let event = connect((10, 100), 110, 0);
        assert!(table.knows(&event.subject));
        assert_eq!(table.subject(&event.subject).unwrap().2.exec_id, 110);
    });
}

#[test]
fn scanned_parent_and_child_are_linked_and_later_records_find_them() {
    with_placing(RoleId::ENTRY, |placing| {
        let mut table = ProcessTable::new(16);
        let found = |pid, start, ppid| Scanned {
            key: ProcessKey { pid, start },
            ppid,
            ns_pid: None,
            uid: 0,
            gid: 0,
            program: Program::unknown(Default::default()),
        };
        let parent = table.scanned(found(10, 10_000_000, 1), 1, 50_000_000, placing, false);
        let child = table.scanned(found(11, 20_000_000, 10), 1, 50_000_000, placing, false);
        assert_eq!(table.get(child).unwrap().creator, Some(parent));
        let exact = (11, 20_000_123);
        let scanned_id = scanned_exec_id(ProcessKey { pid: 11, start: 20_000_000 });
        assert_eq!(exec(&mut table, placing, exact, scanned_id, 60_000_000, (10, 10_000_055)).at, child);
        assert_eq!(table.len(), 2);
    });
}

#[test]
fn scan_does_not_replace_what_records_said() {
    with_placing(RoleId::ENTRY, |placing| {
        let mut table = ProcessTable::new(16);
        let seen = exec(&mut table, placing, (10, 10_000_123), 10_000_123, 20_000_000, (1, 1)).at;
        let scanned = Scanned {
            key: ProcessKey { pid: 10, start: 10_000_000 },
            ppid: 1,
            ns_pid: None,
            uid: 0,
            gid: 0,
            program: Program::unknown(Default::default()),
        };
        assert_eq!(table.scanned(scanned, 1, 30_000_000, placing, false), seen);
        assert_eq!(&*table.get(seen).unwrap().image().unwrap().program.exe.view, "/bin/x");
    });
}

#[test]
fn target_of_procfs_is_told_by_lineage() {
    with_placing(RoleId::ENTRY, |placing| {
        let mut table = ProcessTable::new(16);
        let entry = exec(&mut table, placing, (10, 100), 100, 110, (1, 1)).at;
        let child = fork(&mut table, placing, (11, 120), (10, 100));
        assert_eq!(table.proc_target(entry, 10), ProcTarget::Own);
        assert_eq!(table.proc_target(entry, 11), ProcTarget::Descendant);
        assert_eq!(table.proc_target(child, 10), ProcTarget::EngineSide);
        assert_eq!(table.proc_target(child, 1), ProcTarget::Outside);
    });
}

#[test]
fn scanned_copy_of_a_runtime_is_on_its_way_in_until_it_executes_inside() {
    with_placing(RoleId::ENTRY, |placing| {
        let entering = |view: &str, set_up| {
            let mut table = ProcessTable::new(16);
            let mut program = Program::unknown(Default::default());
            program.exe.view = view.into();
            let key = ProcessKey { pid: 10, start: 10_000_000 };
            let scanned = Scanned { key, ppid: 1, ns_pid: None, uid: 0, gid: 0, program };
            let at = table.scanned(scanned, 1, 50_000_000, placing, set_up);
            let before = table.get(at).unwrap().image().unwrap().standing.entering;
            let (exact, scanned_id) = ((10, 10_000_123), scanned_exec_id(key));
            assert_eq!(exec(&mut table, placing, exact, scanned_id, 60_000_000, (1, 1)).at, at);
            assert!(!table.get(at).unwrap().image().unwrap().standing.entering, "it is inside: {view}");
            before
        };
        for copy in ["/", "/memfd:runc_cloned:/proc/self/exe"] {
            assert!(entering(copy, true), "{copy}");
            assert!(!entering(copy, false), "somebody was there already: {copy}");
        }
        assert!(!entering("/usr/bin/node", true), "it has begun");
    });
}

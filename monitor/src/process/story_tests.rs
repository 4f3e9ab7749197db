//! Stories of processes under a profile with the whole language of roles.

use std::sync::Arc;

use monitor_common::hook::Kind;
use monitor_common::record::Header;

use super::*;
use crate::event::{Body, Event, Exec, ProcessKey, decode, fixture};
use crate::profile::{Facts, Pin, RoleId, RuleSet, Source};

const PROFILE: &str = r#"
schema: sandwatch/profile/v1
name: p
title: t
probes: [["*", "-c", "healthy"]]
entered: job
roles:
  - { name: engine, parent: entry, program: engine, forked: pool }
  - { name: pool, parent: engine, only_by: forked, forked: task }
  - { name: task, parent: pool, only_by: forked, author: true }
  - { name: helper, parent: outside, program: helper }
  - { name: job, parent: outside, only_by: entered, author: true }
  - { name: worker, parent: entry, program: worker, trust: pinned }
"#;

struct NoProc;

impl ProcReader for NoProc {
    fn read(&self, _: u32) -> Option<Scanned> {
        None
    }

    fn environment(&self, _: u32, _: &dyn Fn(&str) -> bool) -> Vec<(Arc<str>, Arc<str>)> {
        Vec::new()
    }
}

struct Story {
    rules: Arc<RuleSet>,
    table: ProcessTable,
    sealed: bool,
}

type Who = (u32, u64);
/// Outside the worker; not the init process.
const OUTSIDE: Who = (900, 5);

impl Story {
    fn begin() -> Self {
        let source = Source { file: "p.yaml".into(), text: PROFILE.into(), layer: 0 };
        let rules = RuleSet::from_sources(&[source]).unwrap_or_else(|e| panic!("{e}"));
        Self { rules, table: ProcessTable::new(64), sealed: false }
    }

    fn placing<'a>(rules: &'a RuleSet, sealed: bool) -> Placing<'a> {
        Placing {
            rules,
            profile: rules.profile("p").unwrap(),
            outsider: if sealed { RoleId::OPERATOR } else { RoleId::ENTRY },
            facts: Facts::NONE,
            probes: &[],
            proc: &NoProc,
        }
    }

    fn fork(&mut self, child: Who, parent: Who, parent_exec_id: u64) -> ProcessRef {
        let event = decode(&fixture::fork(child.0, child.1, parent, parent_exec_id, 1)).unwrap();
        let Body::Fork(fork) = &event.body else { panic!("not a fork") };
        self.table.forked(&event, fork, &Self::placing(&self.rules, self.sealed))
    }

    fn exec(&mut self, who: Who, old: u64, new: u64, argv: &[&str], change: impl Fn(&mut Exec)) -> Executed {
        let head = Header { exec_id: new, time: new, ..fixture::header(Kind::Exec, who.0, who.1, 1) };
        let exe = format!("/opt/{}", argv[0]);
        let mut event = decode(&fixture::exec(head, old, OUTSIDE, &exe, argv)).unwrap();
        let Body::Exec(exec) = &mut event.body else { panic!("not an exec") };
        exec.exe_size = 1;
        change(exec);
        let exec = exec.clone();
        self.table.executed(&event, &exec, &Self::placing(&self.rules, self.sealed))
    }

    fn act(&mut self, who: Who, exec_id: u64) -> Acted {
        let head = Header { exec_id, time: 9_000, ..fixture::header(Kind::Connect, who.0, who.1, 1) };
        let event: Event = decode(&fixture::connect(head, [127, 0, 0, 1], 80)).unwrap();
        self.table.acted(&event, &Self::placing(&self.rules, self.sealed))
    }

    fn role(&self, at: ProcessRef) -> String {
        let standing = self.table.get(at).unwrap().image().unwrap().standing;
        self.rules.role(self.rules.profile("p").unwrap(), standing.role).name.to_string()
    }
}

const fn same(_: &mut Exec) {}

#[test]
fn forks_that_execute_nothing_take_one_role_each_down_a_chain() {
    let mut story = Story::begin();
    let (engine, pool, task) = ((10, 100), (11, 200), (12, 300));
    story.fork(engine, OUTSIDE, 0);
    let at = story.exec(engine, 100, 110, &["engine"], same).at;
    assert_eq!(story.role(at), "engine");
    let pool_at = story.fork(pool, engine, 110);
    assert_eq!(story.role(pool_at), "engine", "it may still execute something");
    assert!(!story.act(pool, 200).author_root);
    story.act(pool, 200);
    assert_eq!(story.role(pool_at), "pool", "and stays that, however much it does");
    let task_at = story.fork(task, pool, 200);
    let acted = story.act(task, 300);
    assert!(acted.author_root && !story.act(task, 300).author_root);
    assert_eq!(story.role(task_at), "task");
    let image = story.table.get(task_at).unwrap().image().unwrap();
    assert_eq!(image.author_root, 300);
    assert!(image.standing.below_author);
    let child = story.fork((13, 400), task, 300);
    story.exec((13, 400), 400, 410, &["engine"], same);
    assert_eq!(story.role(child), "descendant", "no role is gained below author code");
}

#[test]
fn a_fork_that_forks_has_done_something() {
    let mut story = Story::begin();
    story.fork((10, 100), OUTSIDE, 0);
    story.exec((10, 100), 100, 110, &["engine"], same);
    let pool = story.fork((11, 200), (10, 100), 110);
    let task = story.fork((12, 300), (11, 200), 200);
    assert_eq!((story.role(pool), story.role(task)), ("pool".into(), "pool".into()));
}

#[test]
fn the_runtime_on_its_way_in_seals_nothing_and_what_it_starts_is_the_entry() {
    let mut story = Story::begin();
    let init = (10, 100);
    story.fork(init, OUTSIDE, 0);
    let set_up = story.exec(init, 100, 110, &["runc", "init"], |exec| exec.home.memfd = true);
    assert!(set_up.set_up && !set_up.entered);
    let entry = story.exec(init, 110, 120, &["engine"], same);
    assert!(!entry.set_up);
    assert_eq!((entry.before.role, story.role(entry.at)), (RoleId::ENTRY, "engine".into()));
    let memfd = story.exec(init, 120, 130, &["dropper"], |exec| exec.home.memfd = true);
    assert!(!memfd.set_up, "once inside, a program from memory is nobody's set-up");
    // A runtime that does not copy itself mounts its program, opens it and takes the mount away.
    let other = (20, 200);
    story.fork(other, OUTSIDE, 130);
    let set_up = story.exec(other, 200, 210, &["runc", "init"], |exec| exec.exe.view = "/".into());
    assert!(set_up.set_up && !set_up.entered);
}

/// As a runtime does that moves its init into the cgroup: no fork tells of it.
#[test]
fn the_runtime_that_was_moved_in_sets_up_as_long_as_nobody_is_inside() {
    let mut story = Story::begin();
    let memory = |exec: &mut Exec| exec.home.memfd = true;
    let set_up = story.exec((10, 100), 0, 110, &["runc", "init"], memory);
    assert!(set_up.set_up && !set_up.entered);
    let entry = story.exec((10, 100), 110, 120, &["engine"], same);
    assert_eq!((entry.before.role, story.role(entry.at)), (RoleId::ENTRY, "engine".into()));
    story.sealed = true;
    let later = story.exec((20, 200), 0, 210, &["dropper"], memory);
    assert!(!later.set_up, "now it could be somebody's of inside whose fork was lost");
}

/// The agent looks at a new cgroup while the runtime is about to execute its copy.
#[test]
fn the_runtime_that_was_found_before_its_copy_sets_up_while_it_has_the_hosts_mounts() {
    for (mounts, sealed, sets_up) in [(0, false, true), (7, false, false), (0, true, false)] {
        let mut story = Story::begin();
        let key = ProcessKey { pid: 10, start: 10_000_000 };
        let mut program = Program::unknown(Default::default());
        program.exe.view = "/usr/sbin/runc".into();
        let found = Scanned { key, ppid: OUTSIDE.0, ns_pid: None, uid: 0, gid: 0, program };
        story.table.scanned(found, 1, 20_000_000, &Story::placing(&story.rules, false), !sealed);
        story.sealed = sealed;
        let who = (10, 10_000_055);
        let copy = story.exec(who, scanned_exec_id(key), 30_000_000, &["runc", "init"], |exec| {
            exec.exe.none = true;
            exec.ns.mnt = mounts;
        });
        assert_eq!(copy.set_up, sets_up, "mounts {mounts}, sealed: {sealed}");
        let entering = story.table.get(copy.at).unwrap().image().unwrap().standing.entering;
        assert_eq!(entering, sets_up);
    }
}

#[test]
fn a_child_from_memory_whose_fork_was_lost_is_no_set_up() {
    let mut story = Story::begin();
    story.fork(OUTSIDE, (2, 2), 0);
    let child = story.exec((10, 100), 0, 110, &["dropper"], |exec| exec.home.memfd = true);
    assert!(!child.set_up, "its parent is of this worker");
}

#[test]
fn who_enters_a_sealed_container_is_a_probe_a_role_of_its_own_or_what_the_profile_says() {
    let mut story = Story::begin();
    story.sealed = true;
    let mut enter = |pid: u32, argv: &[&str]| {
        let who = (pid, u64::from(pid) * 10);
        story.fork(who, OUTSIDE, 0);
        let exec = story.exec(who, who.1, who.1 + 1, &["runc", "init"], |exec| exec.home.memfd = true);
        assert!(exec.set_up, "the runtime enters first");
        let exec = story.exec(who, who.1 + 1, who.1 + 2, argv, same);
        assert!(exec.entered);
        let after = story.table.get(exec.at).unwrap().image().unwrap().standing;
        assert_eq!(exec.before, after, "it is judged as what it is from now on");
        (story.role(exec.at), exec.author_root)
    };
    assert_eq!(enter(20, &["sh", "-c", "healthy"]), ("probe".into(), false));
    assert_eq!(enter(21, &["sh", "-c", "healthy; id"]), ("job".into(), true));
    assert_eq!(enter(22, &["helper"]), ("helper".into(), false));
    assert_eq!(enter(23, &["bash"]), ("job".into(), true));
}

#[test]
fn what_the_init_process_starts_in_a_unit_is_its_entry_however_late() {
    let mut story = Story::begin();
    story.sealed = true;
    let at = story.fork((30, 300), (1, 1), 0);
    let reload = story.exec((30, 300), 300, 310, &["kill"], same);
    assert!(!reload.entered);
    assert_eq!(story.role(at), "entry");
}

#[test]
fn a_pinned_program_of_the_workers_own_gives_its_role_until_the_file_changes() {
    let mut story = Story::begin();
    let mut start = |pid: u32, size: u64| {
        let who = (pid, u64::from(pid) * 10);
        story.fork(who, OUTSIDE, 0);
        let exec = story.exec(who, who.1, who.1 + 1, &["worker"], |exec| {
            exec.home.overlay = true;
            exec.home.overlay_upper = Some(true);
            exec.exe_size = size;
        });
        (exec.pin, story.role(exec.at))
    };
    assert_eq!(start(40, 7), (Pin::Holds, "worker".into()));
    assert_eq!(start(41, 7), (Pin::Holds, "worker".into()));
    assert_eq!(start(42, 8), (Pin::Changed, "entry".into()));
    story.table.begin_anew(1);
    story.fork((43, 430), OUTSIDE, 0);
    let anew = story.exec((43, 430), 430, 431, &["worker"], |exec| exec.exe_size = 8);
    assert_eq!(anew.pin, Pin::Holds);
}

#[test]
fn a_mount_namespace_made_below_a_process_is_nested_for_it_and_foreign_for_others() {
    let mut story = Story::begin();
    let (engine, builder, boxed, other) = ((10, 100), (11, 200), (12, 300), (13, 400));
    story.fork(engine, OUTSIDE, 0);
    let engine_at = story.exec(engine, 100, 110, &["engine"], |exec| exec.ns.mnt = 1).at;
    let builder_at = story.fork(builder, engine, 110);
    story.exec(builder, 200, 210, &["buildkitd"], |exec| exec.ns.mnt = 1);
    story.fork(boxed, builder, 210);
    let boxed_at = story.exec(boxed, 300, 310, &["step"], |exec| exec.ns.mnt = 2).at;
    let other_at = story.fork(other, engine, 110);
    assert!(story.table.is_nested(builder_at, 2) && story.table.is_nested(engine_at, 2));
    assert!(!story.table.is_nested(boxed_at, 1), "the way out of the box is no nested one");
    assert!(!story.table.is_nested(other_at, 2), "another's box is not one's own");
    assert!(!story.table.is_nested(builder_at, 77), "a namespace nobody here began in is foreign");
}

#[test]
fn a_runs_folder_is_where_its_author_root_began_whatever_it_changes_to() {
    let mut story = Story::begin();
    story.sealed = true;
    let job = (50, 500);
    story.fork(job, OUTSIDE, 0);
    let at = story.exec(job, 500, 510, &["sh"], |exec| exec.cwd.view = "/builds/team/app".into()).at;
    assert_eq!(story.table.run_dir(at), Some("/builds/team/app"));
    let child = story.fork((51, 600), job, 510);
    story.exec((51, 600), 600, 610, &["cat"], |exec| exec.cwd.view = "/builds/other/app".into());
    assert_eq!(story.table.run_dir(child), Some("/builds/team/app"));
}

#[test]
fn a_loader_variable_is_known_from_the_image_before() {
    let mut story = Story::begin();
    story.fork((10, 100), OUTSIDE, 0);
    let first = story.exec((10, 100), 100, 110, &["engine"], |exec| exec.env_from_kernel = true);
    assert_eq!(first.loader_before, None, "what ran outside is not known");
    let second = story.exec((10, 100), 110, 120, &["x"], |exec| exec.loader_env = true);
    assert_eq!(second.loader_before, Some(false));
    let third = story.exec((10, 100), 120, 130, &["y"], |exec| exec.loader_env = true);
    assert_eq!(third.loader_before, Some(true));
}

//! Which processes there are, and what they are to the worker.

use super::*;

#[test]
fn process_that_enters_a_sealed_worker_is_an_operator_and_pages_nobody() {
    let mut pipeline = started();
    let shell = (160, 6_000);
    exec(&mut pipeline, shell, shell.1, 6_100, (1, 1), "/bin/dash", &["sh"]);
    connect(&mut pipeline, shell, 6_100, 6_200, 443);
    for alert in alerts(&mut pipeline) {
        assert!(alert.severity <= Severity::Low, "{}", alert.title);
        assert_eq!(alert.process.unwrap().role.as_deref(), Some("operator"));
    }
}

#[test]
fn processes_found_at_start_get_their_roles_from_proc() {
    let scanned = |pid, start, ppid, exe: &str| Scanned {
        key: ProcessKey { pid, start },
        ppid,
        ns_pid: None,
        uid: 0,
        gid: 0,
        program: crate::process::Program {
            exe: crate::event::Path { view: exe.into(), ..Default::default() },
            argv: vec![exe.into()],
            argv_truncated: false,
            argv_known: true,
            ..crate::process::Program::unknown(FileId::default())
        },
    };
    let proc = FakeProc(
        BTreeMap::from([
            (100, scanned(100, 10_000_000, 1, "/opt/toy-engine")),
            (101, scanned(101, 20_000_000, 100, "/opt/toy-runner")),
        ]),
        Vec::new(),
    );
    let mut pipeline = pipeline_with(proc);
    let states = pipeline.worker_found(LABEL, &[101, 100, 999], false, SECOND);
    let pids: Vec<u32> = states.iter().map(|(pid, _)| *pid).collect();
    assert_eq!(pids, [100, 101], "parents first, what is gone left out");
    let runner = (101, 20_000_777);
    let exec_id = crate::process::scanned_exec_id(ProcessKey { pid: 101, start: 20_000_000 });
    open(&mut pipeline, runner, exec_id, SECOND, "/var/run/secrets/cloud/token", 0);
    let alert = alerts(&mut pipeline).remove(0);
    assert_eq!(alert.process.unwrap().role.as_deref(), Some("runner"));
    assert_eq!(
        (states[1].1.exec_id, states[1].1.author_root),
        (exec_id, exec_id),
        "the kernel marks what it forks"
    );
}

#[test]
fn scanned_process_that_a_probe_met_first_keeps_its_role() {
    let scanned = Scanned {
        key: ProcessKey { pid: 100, start: 10_000_000 },
        ppid: 1,
        ns_pid: None,
        uid: 0,
        gid: 0,
        program: crate::process::Program {
            exe: crate::event::Path { view: "/opt/toy-engine".into(), ..Default::default() },
            ..crate::process::Program::unknown(FileId::default())
        },
    };
    let mut pipeline = pipeline_with(FakeProc(BTreeMap::from([(100, scanned)]), Vec::new()));
    pipeline.worker_found(LABEL, &[100], false, SECOND);
    // The probe's own entry: its number is the start time.
    let mut late = head(Kind::Connect, (100, 10_000_555), 10_000_555, SECOND);
    late.proc_flags = proc_flags::LATE;
    pipeline.handle(&fixture::connect(late, [10, 0, 0, 9], 5432), SECOND);
    assert_eq!(alerts(&mut pipeline), []);
    let child = (101, 20_000_000);
    fork(&mut pipeline, child, (100, 10_000_555), 10_000_555);
    connect(&mut pipeline, child, child.1, 2 * SECOND, 5432);
    assert_eq!(alerts(&mut pipeline), []);
}

#[test]
fn worker_whose_processes_all_ended_starts_anew() {
    let mut pipeline = started();
    for who in [(RUNNER, 2_100), (ENGINE, 1_100)] {
        let record = fixture::Build::default().finish(&monitor_common::record::Exit {
            header: head(Kind::Exit, who.0, who.1, 7_000),
            ..monitor_common::record::Exit::ZERO
        });
        pipeline.handle(&record, 7_000);
    }
    assert!(!pipeline.workers.get(LABEL).unwrap().sealed);
    exec(&mut pipeline, (200, 8_000), 8_000, 8_100, (1, 1), "/opt/toy-engine", &["toy-engine"]);
    connect(&mut pipeline, (200, 8_000), 8_100, 8_200, 5432);
    assert_eq!(alerts(&mut pipeline), []);
}

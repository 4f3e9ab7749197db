//! What was in the memory or environment of a process that somebody read.

use super::*;

/// The toy engine holds its key in memory, or in a variable.
fn holding() -> Pipeline {
    let rules: Vec<(&str, String)> = RULES
        .iter()
        .map(|(file, text)| {
            let text = text
                .replace("program: toy-engine }", "program: toy-engine, holds: [engine-key, toy-session] }")
                .replace("paths: [\"/etc/toy/key\"]", "paths: [\"/etc/toy/key\"]\n    variables: TOY_KEY");
            (*file, text)
        })
        .collect();
    let more = [
        (
            "identities-memory.yaml",
            "schema: sandwatch/identities/v1\nidentities:\n  - { id: toy-session, class: engine, gives: sessions, respond: { revoke: Sign everybody out. } }\n",
        ),
        (
            "detections/memory.yaml",
            "schema: sandwatch/detections/v1\ndetections:\n  - id: memory-read\n    title: Memory was read\n    on: open\n    \
             match: { proc: [mem, environ, maps], of: [engine_side, outside] }\n    tier: identity\n",
        ),
    ];
    let all: Vec<(&str, &str)> = rules.iter().map(|(file, text)| (*file, &**text)).chain(more).collect();
    let variables = vec!["HOME", "OTHER_TOKEN", "TOY_KEY"];
    let mut pipeline = started_with(FakeProc(BTreeMap::new(), variables));
    pipeline.reload(super::rules(&all), 2_900);
    pipeline
}

fn open_proc(pipeline: &mut Pipeline, pid: u32, file: &str, error: i32) -> Option<Alert> {
    let time = 3_000 + u64::from(pipeline.counts().findings as u32);
    let path = format!("/proc/{pid}/{file}");
    let mut record = fixture::open(head(Kind::Open, RUNNER, 2_100, time), &path, access::READ, error);
    let at = std::mem::offset_of!(monitor_common::record::Open, proc_pid);
    record[at..at + 4].copy_from_slice(&pid.to_ne_bytes());
    pipeline.handle(&record, time);
    alerts(pipeline).pop()
}

fn taken(alert: &Alert) -> Vec<&str> {
    alert.blast_radius.iter().flat_map(|radius| &radius.taken).map(|taken| &*taken.identity).collect()
}

#[test]
fn memory_that_was_read_gives_what_its_role_holds_and_what_its_variables_carry() {
    let mut pipeline = holding();
    let alert = open_proc(&mut pipeline, ENGINE.0, "mem", 0).unwrap();
    assert_eq!(taken(&alert), ["engine-key", "toy-session", "$OTHER_TOKEN"]);
    let radius = alert.blast_radius.unwrap();
    assert_eq!(radius.taken[0].from.as_deref(), Some("memory of process 100 (engine)"));
    assert_eq!(radius.taken[2].from.as_deref(), Some("OTHER_TOKEN of process 100 (engine)"));
    let rotation: Vec<(&str, &str)> =
        radius.rotation.iter().map(|entry| (&*entry.what, &*entry.because)).collect();
    assert_eq!(rotation, [("engine-key", "taken"), ("toy-session", "taken"), ("$OTHER_TOKEN", "taken")]);
    let has = |step: &str| alert.respond.iter().any(|known| known.contains(step));
    assert!(
        has("Rotate: Change the engine's key.") && has("Revoke: Sign everybody out."),
        "{:#?}",
        alert.respond
    );
}

#[test]
fn environment_that_was_read_gives_what_its_variables_carry_and_no_more() {
    let mut pipeline = holding();
    let alert = open_proc(&mut pipeline, ENGINE.0, "environ", 0).unwrap();
    assert_eq!(taken(&alert), ["engine-key", "$OTHER_TOKEN"]);
    let from = alert.blast_radius.unwrap().taken[0].from.clone();
    assert_eq!(from.as_deref(), Some("TOY_KEY of process 100 (engine)"));
}

#[test]
fn environment_that_nobody_can_read_any_more_counts_for_what_it_may_hold() {
    let mut pipeline = holding();
    let other = (110, 2_200);
    fork(&mut pipeline, other, ENGINE, 1_100);
    let alert = open_proc(&mut pipeline, other.0, "environ", 0).unwrap();
    assert_eq!(taken(&alert), ["engine-key"], "the fork is the engine, too; of it no variable is known");
    let from = alert.blast_radius.unwrap().taken[0].from.clone().unwrap();
    assert!(from.contains("not known"), "{from}");
}

#[test]
fn attempt_layout_and_strangers_take_nothing() {
    let mut pipeline = holding();
    let denied = open_proc(&mut pipeline, ENGINE.0, "mem", -libc::EACCES).unwrap();
    assert_eq!((denied.tier, taken(&denied)), (Some(Tier::Boundary), vec![]));
    let layout = open_proc(&mut pipeline, ENGINE.0, "maps", 0).unwrap();
    assert_eq!(taken(&layout), [] as [&str; 0]);
    let stranger = open_proc(&mut pipeline, 9_999, "mem", 0).unwrap();
    assert_eq!(taken(&stranger), [] as [&str; 0], "in no worker, and nothing is known of it");
    let later = open_proc(&mut pipeline, ENGINE.0, "mem", 0).unwrap();
    assert_eq!(taken(&later)[0], "engine-key", "the attempt before does not hide the success");
}

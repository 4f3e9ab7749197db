//! Scenarios: what they make, and what is wrong with one.

use std::sync::Arc;

use super::*;
use crate::event::Body;

fn scenario(events: &str) -> Result<Scenario, RuleError> {
    let text = format!("schema: sandwatch/scenario/v1\nabout: A\nbuilt: b\nevents:\n{events}");
    Scenario::parse(&Arc::from("s.yaml"), &text)
}

fn bodies(scenario: &Scenario) -> Vec<Body> {
    let bodies = scenario.lines.iter().filter_map(|line| match line {
        Line::Event(event) => Some(event.body.clone()),
        _ => None,
    });
    bodies.collect()
}

#[test]
fn process_from_another_is_forked_before_it_executes() {
    let made = scenario("  - exec: { exe: /a }\n  - { as: b, from: main, exec: { exe: /b, cwd: /x } }\n  - { as: c, fork_of: b }\n  - { as: c, exec: { exe: /c } }\n").unwrap();
    let bodies = bodies(&made);
    let kinds: Vec<&str> = bodies
        .iter()
        .map(|body| match body {
            Body::Fork(_) => "fork",
            Body::Exec(_) => "exec",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["exec", "fork", "exec", "fork", "exec"]);
    let Body::Exec(last) = &bodies[4] else { panic!() };
    assert_eq!((&*last.cwd.view, last.parent.pid), ("/x", 1001), "the folder and the creator are inherited");
    assert!(made.header.about.contains("Built: b"));
}

#[test]
fn proc_entry_of_a_named_process_has_its_pid_as_target() {
    let made = scenario("  - exec: { exe: /a }\n  - { as: b, from: main, exec: { exe: /b } }\n  - { as: b, open: { path: \"/proc/<main>/mem\" } }\n  - { as: b, open: { path: /proc/self/environ } }\n").unwrap();
    let targets: Vec<_> = bodies(&made)
        .into_iter()
        .filter_map(|body| match body {
            Body::Open(open) => Some((open.path.view.to_string(), open.proc_pid)),
            _ => None,
        })
        .collect();
    let expected = [("/proc/1000/mem".to_owned(), Some(1000)), ("/proc/1001/environ".to_owned(), Some(1001))];
    assert_eq!(targets, expected);
}

#[test]
fn other_name_of_a_file_has_its_inode() {
    let made = scenario("  - exec: { exe: /a }\n  - open: { path: /key }\n  - open: { path: /x, inode_of: /key }\n  - open: { path: /x }\n").unwrap();
    let inodes: Vec<u64> = bodies(&made)
        .into_iter()
        .filter_map(|body| if let Body::Open(open) = body { Some(open.id.ino) } else { None })
        .collect();
    assert_eq!(inodes[0], inodes[1]);
    assert_ne!(inodes[1], inodes[2]);
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    for (events, line, part) in [
        ("  - exec: { exe: /a }\n  - { as: b, exec: { exe: /b } }\n", 6, "no process `b`"),
        ("  - { exec: { exe: /a }, open: { path: /x } }\n", 5, "exactly one event"),
        ("  - open: { path: /x }\n", 5, "without an exec"),
        ("  - exec: { exe: /a }\n  - exit: {}\n  - open: { path: /x }\n", 7, "has ended"),
        ("  - exec: { exe: /a }\n  - open: { path: /proc/1/mem, of: outside }\n", 6, "single events"),
        ("  - exec: { exe: /a }\n  - { open: { path: /x }, repeat: 0 }\n", 6, "out of range"),
        ("  - exec: { exe: /a }\n  - { as: main, from: main, exec: { exe: /b } }\n", 6, "already"),
        ("  - exec: { exe: /a, agrv: [] }\n", 5, "did you mean `argv`"),
    ] {
        let error = scenario(events).unwrap_err();
        assert!(error.line == line && error.to_string().contains(part), "{error} for\n{events}");
    }
}

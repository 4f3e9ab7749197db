//! Whose run it is, whatever author code says.

use std::sync::Arc;

use crate::alert::{Alert, Attributed};
use crate::profile::{RuleSet, Source};
use crate::recording::{Line, ProcessFact, ProgramFact, Replay, Scenario, WorkerFact};

const PROFILE: &str = r#"
schema: sandwatch/profile/v1
name: toy
title: A toy engine
select: [{ unit: "toy.service" }]
roles:
  - { name: engine, parent: entry, program: toy-engine }
  - { name: runner, parent: engine, program: toy-runner, author: true }
expect:
  entry: { exec: { allow: [{ becomes: engine }] } }
  engine: { exec: { allow: [{ becomes: runner }] }, identities: { allow: [{ id: key }] } }
  runner: { exec: { allow: [{ any: true }] } }
  descendant: { exec: { allow: [{ any: true }] } }
attribution:
  - { field: run, from: env, name: RUN_ID, trust: engine }
  - { field: workflow, from: argv, flag: --flow, at: author, trust: engine }
  - { field: step, from: cwd, pattern: "/work/{step}/**", trust: engine }
  - { field: tenant, from: open, pattern: "/var/log/toy/{tenant}/run.log", at: engine, trust: engine }
  - { field: actor, from: label, name: toy/actor, trust: controller }
  - { field: actor, from: env, name: ACTOR, at: descendant, trust: author }
"#;

const IDENTITIES: &str = r#"
schema: sandwatch/identities/v1
identities:
  - { id: key, class: engine, gives: all, paths: ["/etc/toy/key"], respond: { rotate: Change it. } }
"#;

fn rules(profile: &str) -> Arc<RuleSet> {
    let source = |file: &str, text: &str| Source { file: file.into(), text: text.to_owned(), layer: 0 };
    let sources = [source("profiles/toy.yaml", profile), source("identities.yaml", IDENTITIES)];
    RuleSet::from_sources(&sources).unwrap_or_else(|error| panic!("{error}"))
}

/// The engine has opened the log of tenant `acme` and starts run 42 of `nightly` in step `load`.
const START: &str = "
  - exec: { exe: /opt/toy-engine }
  - open: { path: /var/log/toy/acme/run.log, access: write }
  - { as: root, from: main, exec: { exe: /opt/toy-runner, argv: [toy-runner, --flow, nightly], cwd: /work/load/x, env: { RUN_ID: \"42\" } } }
";
/// The theft that is attributed.
const THEFT: &str = "\n  - { as: thief, open: { path: /etc/toy/key } }\n";

fn play(lines: impl IntoIterator<Item = Line>, header: &crate::recording::Header) -> Vec<Alert> {
    let mut replay = Replay::new(header, rules(PROFILE)).unwrap();
    lines.into_iter().for_each(|line| replay.take(line));
    replay.finish();
    std::iter::from_fn(|| replay.next_alert()).collect()
}

fn scenario(worker: &str, events: &str) -> Scenario {
    let text = format!(
        "schema: sandwatch/scenario/v1\nabout: A\nbuilt: b\nworker: {{ unit: toy.service{worker} }}\nevents:{events}"
    );
    Scenario::parse(&"s.yaml".into(), &text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn alerts(worker: &str, events: &str) -> Vec<Alert> {
    let scenario = scenario(worker, events);
    play(scenario.lines, &scenario.header)
}

/// Fields of the theft's alert as `value/trust`, in the order workflow, run, step, actor, tenant.
fn of_theft(alerts: &[Alert]) -> [String; 5] {
    let theft = alerts
        .iter()
        .find(|alert| alert.finding.as_ref().is_some_and(|finding| finding.id == "unexpected-identity"))
        .unwrap_or_else(|| panic!("no theft in {alerts:#?}"));
    let attribution = theft.attribution.clone().unwrap_or_default();
    let show = |field: Option<Attributed>| {
        field.map_or_else(|| "-".to_owned(), |field| format!("{}/{}", field.value, field.trust))
    };
    [attribution.workflow, attribution.run, attribution.step, attribution.actor, attribution.tenant].map(show)
}

fn findings(alerts: &[Alert]) -> Vec<String> {
    let mut ids: Vec<String> = alerts
        .iter()
        .flat_map(|alert| {
            let chain = alert.incident.iter().flat_map(|incident| &incident.chain);
            chain
                .map(|link| link.finding.clone())
                .chain(alert.finding.iter().map(|finding| finding.id.clone()))
        })
        .collect();
    ids.sort();
    ids.dedup();
    ids
}

const ALL: [&str; 5] = ["nightly/engine", "42/engine", "load/engine", "-", "acme/engine"];

#[test]
fn every_place_is_looked_at_and_inherited() {
    let events = format!("{START}  - {{ as: thief, from: root, exec: {{ exe: /bin/sh }} }}{THEFT}");
    assert_eq!(of_theft(&alerts("", &events)), ALL);
    let label = of_theft(&alerts(", pod_labels: { toy/actor: kim }", &events));
    assert_eq!(label[3], "kim/controller");
}

/// Everything a step can write: the environment, the arguments, the directory and the files it opens.
#[test]
fn forged_ids_change_no_attribution() {
    let forged = "{ exe: /opt/toy-runner, argv: [toy-runner, --flow, evil], cwd: /work/evil/x, env: { RUN_ID: \"666\" } }";
    for events in [
        // A child with other ids, and its child.
        format!(
            "{START}  - {{ as: a, from: root, exec: {forged} }}\n  - {{ as: thief, from: a, exec: {{ exe: /bin/sh }} }}{THEFT}"
        ),
        // The root itself executes again.
        format!(
            "{START}  - {{ as: root, exec: {forged} }}\n  - {{ as: root, open: {{ path: /etc/toy/key }} }}\n"
        ),
        // It opens the engine's log of another tenant.
        format!(
            "{START}  - {{ as: root, open: {{ path: /var/log/toy/evil/run.log }} }}\n  - {{ as: thief, from: root, exec: {{ exe: /bin/sh }} }}\n  - {{ as: thief, open: {{ path: /var/log/toy/evil/run.log }} }}{THEFT}"
        ),
        // The engine goes on to another tenant while the step runs.
        format!(
            "{START}  - open: {{ path: /var/log/toy/other/run.log }}\n  - {{ as: thief, from: root, exec: {{ exe: /bin/sh }} }}{THEFT}"
        ),
    ] {
        assert_eq!(of_theft(&alerts("", &events)), ALL, "{events}");
    }
}

/// The two lanes are read one after the other: the open that names the tenant may be read after the root's exec.
#[test]
fn open_that_is_read_late_still_counts_for_what_began_after_it() {
    let events = format!(
        "{START}  - open: {{ path: /var/log/toy/later/run.log }}\n  - {{ as: thief, from: root, exec: {{ exe: /bin/sh }} }}{THEFT}"
    );
    let mut built = scenario("", &events);
    let open = built.lines.remove(1);
    built.lines.insert(3, open);
    assert_eq!(of_theft(&play(built.lines, &built.header)), ALL);
}

#[test]
fn daemon_keeps_the_run_it_was_started_in() {
    let events = format!(
        "{START}  - {{ as: a, from: root, exec: {{ exe: /bin/sh }} }}\n  - {{ as: thief, fork_of: a }}\n  \
         - {{ as: a, exit: {{}} }}\n  - {{ as: root, exit: {{}}, after: 60s }}\n  \
         - {{ as: thief, cgroup_move: {{ to_worker: false }}, after: 60s }}\n  \
         - {{ as: thief, exec: {{ exe: /bin/sh, env: {{ RUN_ID: \"43\" }} }}, after: 60s }}{THEFT}"
    );
    let alerts = alerts("", &events);
    assert_eq!(of_theft(&alerts), ALL);
    let found = findings(&alerts);
    assert!(
        found.contains(&"run-residue".to_owned()) && found.contains(&"identity-substitution".to_owned()),
        "{found:?}"
    );
}

#[test]
fn other_id_in_a_descendant_is_a_deviation_and_the_same_id_is_none() {
    let child = |run: &str| {
        format!(
            "{START}  - {{ as: a, from: root, exec: {{ exe: /bin/sh, env: {{ RUN_ID: \"{run}\" }} }} }}\n"
        )
    };
    let substituted = alerts("", &child("43"));
    assert_eq!(findings(&substituted), ["identity-substitution"]);
    assert!(substituted.iter().all(|alert| alert.tier == Some(crate::profile::Tier::Deviation)));
    assert_eq!(findings(&alerts("", &child("42"))), [""; 0]);
}

#[test]
fn survivor_of_its_run_is_a_residue_unless_the_run_goes_on() {
    let left = "  - { as: a, from: root, exec: { exe: /bin/sh } }\n  - { as: root, exit: {} }\n";
    let again = "  - { as: b, from: main, exec: { exe: /opt/toy-runner, env: { RUN_ID: \"RUN\" } } }\n";
    let late = "  - { as: a, connect: { to: \"tcp:10.0.0.1:80\" }, after: 30s }\n";
    let soon = "  - { as: a, connect: { to: \"tcp:10.0.0.1:80\" } }\n";
    let is_residue = |events: String| findings(&alerts("", &events)).contains(&"run-residue".to_owned());
    assert!(is_residue(format!("{START}{left}{late}")));
    assert!(!is_residue(format!("{START}{left}{soon}")), "what ends a moment later is none");
    assert!(
        !is_residue(format!("{START}{left}{}{late}", again.replace("RUN\"", "42\""))),
        "a later step of the run"
    );
    assert!(is_residue(format!("{START}{left}{}{late}", again.replace("RUN\"", "43\""))), "another run");
}

#[test]
fn doubt_lowers_the_trust() {
    let with = |more: &str| {
        let start = START.replace("env: {", &format!("{more}, env: {{"));
        of_theft(&alerts(
            "",
            &format!("{start}  - {{ as: thief, from: root, exec: {{ exe: /bin/sh }} }}{THEFT}"),
        ))
    };
    assert_eq!(with("env_incomplete: true")[1], "42/candidate");
    assert_eq!(with("env_from: proc")[1], "42/scan");
    assert_eq!(with("argv_truncated: true")[0], "nightly/candidate");
}

#[test]
fn authors_word_fills_what_nobody_else_says_and_the_first_stays() {
    let events = format!(
        "{START}  - {{ as: a, from: root, exec: {{ exe: /bin/sh, env: {{ ACTOR: kim }} }} }}\n  \
         - {{ as: thief, from: root, exec: {{ exe: /bin/sh, env: {{ ACTOR: eve }} }} }}{THEFT}"
    );
    assert_eq!(of_theft(&alerts("", &events))[3], "kim/author");
    let labelled = of_theft(&alerts(", pod_labels: { toy/actor: lee }", &events));
    assert_eq!(labelled[3], "lee/controller");
}

#[test]
fn what_ran_before_the_agent_is_attributed_as_scan() {
    let built = scenario("", START);
    let key = |pid| crate::event::ProcessKey { pid, start: 10_000_000 * u64::from(pid) };
    let program = |ppid, exe: &str, argv: &[&str]| ProgramFact {
        ppid,
        exe: crate::event::Path { view: exe.into(), ..Default::default() },
        argv: Some(argv.iter().map(|arg| Arc::from(*arg)).collect()),
        cwd: crate::event::Path { view: "/work/load/x".into(), ..Default::default() },
        ..ProgramFact::default()
    };
    let run = Some(vec![("RUN_ID".into(), "42".into())]);
    let processes = vec![
        ProcessFact {
            program: Some(program(1, "/opt/toy-engine", &["toy-engine"])),
            ..ProcessFact::new(key(7))
        },
        ProcessFact {
            program: Some(program(7, "/opt/toy-runner", &["toy-runner", "--flow=nightly"])),
            env: run,
            ..ProcessFact::new(key(8))
        },
    ];
    let worker = WorkerFact { processes, fresh: false, ..built.header.workers[0].clone() };
    let header = crate::recording::Header { workers: vec![worker], ..built.header.clone() };
    let Some(Line::Event(open)) = built.lines.get(1).cloned() else { panic!() };
    let mut theft = *open;
    theft.time += 1_000_000_000;
    theft.subject.key = crate::event::ProcessKey { start: key(8).start + 5, ..key(8) };
    theft.subject.exec_id = crate::process::scanned_exec_id(key(8));
    let crate::event::Body::Open(open) = &mut theft.body else { panic!() };
    open.path.view = "/etc/toy/key".into();
    open.access = monitor_common::filter::access::READ;
    let alerts = play([Line::Event(Box::new(theft))], &header);
    assert_eq!(of_theft(&alerts), ["nightly/scan", "42/scan", "load/scan", "-", "-"]);
}

/// An engine that shows no ids: its log says what was running at the time.
#[test]
fn event_log_gives_the_only_run_or_candidates() {
    let of = |running: &str| {
        let events = format!(
            "\n  - exec: {{ exe: /opt/toy-engine }}\n  - {{ as: thief, from: main, exec: {{ exe: /bin/sh }}, running: {running} }}{THEFT}"
        );
        let built = scenario("", &events);
        let attribution = PROFILE.find("attribution:").unwrap();
        let item = "attribution:\n  - { field: run, from: event_log, pattern: [/home/node/.n8n/n8nEventLog.log], trust: candidate }\n";
        let profile = format!("{}{item}", &PROFILE[..attribution]);
        let mut replay = Replay::new(&built.header, rules(&profile)).unwrap();
        built.lines.into_iter().for_each(|line| replay.take(line));
        let alerts: Vec<Alert> = std::iter::from_fn(|| replay.next_alert()).collect();
        let candidates =
            alerts.last().and_then(|alert| alert.attribution.as_ref()).map(|a| a.candidates.len());
        (of_theft(&alerts), candidates)
    };
    let (fields, candidates) = of("[{ workflow: w, run: \"7\" }]");
    assert_eq!((fields[0].as_str(), fields[1].as_str(), candidates), ("w/candidate", "7/candidate", Some(0)));
    let (fields, candidates) = of("[{ run: \"7\" }, { run: \"8\" }]");
    assert_eq!((fields[1].as_str(), candidates), ("-", Some(2)));
}

#[test]
fn items_that_make_no_sense_are_refused_with_their_line() {
    for (item, part) in [
        ("{ field: run, from: env, trust: engine }", "takes name"),
        ("{ field: run, from: env, name: A, pattern: /x, trust: engine }", "takes name"),
        ("{ field: run, from: evn, name: A, trust: engine }", "did you mean `env`"),
        ("{ field: rnu, from: env, name: A, trust: engine }", "did you mean `run`"),
        (
            "{ field: run, from: cwd, pattern: \"/x/{step}/**\", trust: engine }",
            "does not say where `run` stands",
        ),
        (
            "{ field: run, from: open, pattern: \"/x/{run}\", at: descendant, trust: engine }",
            "below author code",
        ),
        (
            "{ field: run, from: open, pattern: \"/**/{run}\", at: engine, trust: engine }",
            "kernel cannot filter",
        ),
        ("{ field: run, from: env, name: A, at: descendant, trust: engine }", "could forge"),
        ("{ field: run, from: event_log, pattern: /x, trust: engine }", "trust: candidate"),
        ("{ field: run, from: event_log, pattern: \"/x*\", trust: candidate }", "without wildcards"),
        ("{ field: run, from: env, name: A, at: enigne, trust: engine }", "did you mean `engine`"),
    ] {
        let profile =
            format!("{}\nattribution:\n  - {item}\n", PROFILE.split("\nattribution:").next().unwrap());
        let source = Source { file: "profiles/toy.yaml".into(), text: profile, layer: 0 };
        let identities = Source { file: "identities.yaml".into(), text: IDENTITIES.to_owned(), layer: 0 };
        let error = RuleSet::from_sources(&[source, identities]).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("toy.yaml:15:"), "{item}: {error}");
    }
}

//! Whole recordings: there and back, twice the same, and what is wrong with a file.

use std::sync::{Arc, LazyLock};

use super::*;
use crate::profile::RuleSet;

/// The committed schemas are what this program reads. `UPDATE_SCHEMAS=1` writes them.
#[test]
fn committed_schemas_are_current() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/schema");
    for name in SCHEMAS {
        let path = folder.join(format!("{name}.json"));
        let text = schema_text(name).unwrap();
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == text, "{} is not current: run the tests with UPDATE_SCHEMAS=1", path.display());
    }
}

fn demo_rules() -> Arc<RuleSet> {
    static RULES: LazyLock<Arc<RuleSet>> =
        LazyLock::new(|| crate::cli::load_rules(&crate::cli::RulesFrom::Shipped).unwrap());
    RULES.clone()
}

/// A theft by the demo's engine, with what `expect` says must come of it.
fn failures(expect: &str) -> Vec<String> {
    let text = format!(
        "schema: sandwatch/scenario/v1\nabout: A\nbuilt: b\nworker: {{ cgroup: /sandwatch-demo-1 }}\nevents:\n  \
         - exec: {{ exe: /var/lib/sandwatch/demo-1/toy-engine }}\n  \
         - {{ as: sh, from: main, exec: {{ exe: /bin/dash, given: /bin/sh, argv: [sh] }} }}\n  \
         - {{ as: sh, open: {{ path: /var/lib/sandwatch/demo-1/secrets/serviceaccount/token }} }}\n\
         expect: {expect}\n"
    );
    let scenario = Scenario::parse(&"s.yaml".into(), &text).unwrap_or_else(|e| panic!("{e}"));
    let mut replay = Replay::new(&scenario.header, demo_rules()).unwrap();
    scenario.lines.into_iter().for_each(|line| replay.take(line));
    let replayed = replay.finish();
    let alerts: Vec<_> = std::iter::from_fn(|| replay.next_alert()).collect();
    expect::check(&scenario.expect.unwrap(), &alerts, &replayed)
}

#[test]
fn expectation_that_is_met_has_nothing_to_say() {
    let none: [String; 0] = [];
    let right = "{ profile: demo, deviations: 0, incidents: [{ tier: identity, findings: shell-from-engine, \
                 not: demo-exfiltration, taken: demo-service-account-token, role: stray, attribution: { run: none } }] }";
    assert_eq!(failures(right), none);
}

#[test]
fn each_part_of_an_expectation_can_fail() {
    for (expect, part) in [
        ("{ normal: true }", "must give 0 incident(s), gave 1"),
        ("{ normal: true }", "must be normal, gave identity"),
        ("{ incidents: [{ tier: boundary }] }", "must be of tier boundary"),
        ("{ incidents: [{ tier: identity }, { tier: identity }] }", "must give 2 incident(s)"),
        ("{ incidents: [{ tier: identity, findings: [x] }] }", "`x` must be in its chain"),
        ("{ incidents: [{ tier: identity, not: shell-from-engine }] }", "must not be in its chain"),
        ("{ incidents: [{ tier: identity, taken: [] }] }", "must take [], took [demo-service-account-token]"),
        ("{ incidents: [{ tier: identity, used: [x] }] }", "must use [x], used []"),
        ("{ incidents: [{ tier: identity, role: engine }] }", "of role `engine`"),
        ("{ incidents: [{ tier: identity, attribution: { run: \"1\" } }] }", "run must be `1`, is absent"),
        (
            "{ incidents: [{ tier: identity, candidates: [\"1\"] }] }",
            "must name the candidates [1], named []",
        ),
        ("{ deviating: run-residue, incidents: [{ tier: identity }] }", "must be among the lone deviations"),
        ("{ profile: n8n, incidents: [{ tier: identity }] }", "must have `n8n`"),
    ] {
        let got = failures(expect);
        assert!(got.iter().any(|failure| failure.contains(part)), "{expect}: {got:#?}");
    }
}

mod bypass;
mod file;
mod live;

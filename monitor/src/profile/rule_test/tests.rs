//! The rule tests' own tests, and the language's: each case is a small set of rules with a rule test against it.

use super::*;
use crate::profile::ruleset::Source;

/// Rules that show every part of the language.
const RULES: [(&str, &str); 6] = [
    ("profiles/toy.yaml", include_str!("fixtures/profile.yaml")),
    ("detections/toy.yaml", include_str!("fixtures/detections.yaml")),
    ("identities.yaml", include_str!("fixtures/identities.yaml")),
    ("endpoints.yaml", include_str!("fixtures/endpoints.yaml")),
    ("profiles/site.yaml", include_str!("fixtures/site.yaml")),
    ("exceptions.yaml", include_str!("fixtures/exceptions.yaml")),
];

pub(crate) fn toy_rules() -> Arc<RuleSet> {
    let sources: Vec<Source> = RULES
        .iter()
        .map(|(file, text)| Source { file: (*file).into(), text: (*text).to_owned(), layer: 0 })
        .collect();
    RuleSet::from_sources(&sources).unwrap_or_else(|e| panic!("{e}"))
}

fn failures(text: &str) -> Vec<String> {
    let file: Arc<str> = "test.yaml".into();
    let results = run_text(&toy_rules(), &file, text).unwrap_or_else(|e| panic!("{}", RuleErrors(e)));
    results
        .into_iter()
        .flat_map(|r| r.failures.into_iter().map(move |f| format!("{}: {f}", r.name)))
        .collect()
}

#[test]
fn the_language_judges_as_its_tests_say() {
    let all = failures(include_str!("fixtures/tests.yaml"));
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn what_a_site_states_and_who_enters_is_judged_as_its_tests_say() {
    let all = failures(include_str!("fixtures/site-tests.yaml"));
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn a_step_without_finds_fails_on_any_finding() {
    let all = failures(
        "schema: sandwatch/rule-test/v1\nprofile: toy\ntests:\n  - name: t\n    steps:\n      - { role: engine, exec: { exe: /bin/dash } }\n",
    );
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].contains("must give no finding"), "{all:?}");
}

#[test]
fn a_step_that_finds_something_else_fails() {
    let all = failures(
        "schema: sandwatch/rule-test/v1\nprofile: toy\ntests:\n  - name: t\n    steps:\n      - { role: engine, exec: { exe: /bin/dash }, finds: other, tier: identity, becomes: engine }\n",
    );
    assert_eq!(all.len(), 3, "{all:?}");
}

#[test]
fn a_test_with_an_unknown_key_is_refused_with_the_nearest() {
    let file: Arc<str> = "test.yaml".into();
    let text = "schema: sandwatch/rule-test/v1\ntests:\n  - name: t\n    steps:\n      - { exec: { exe: /bin/sh, gven: /x } }\n";
    let errors = run_text(&toy_rules(), &file, text).unwrap_err();
    assert!(errors[0].to_string().contains("unknown key `gven`; did you mean `given`?"), "{}", errors[0]);
    assert_eq!(errors[0].line, 5);
}

#[test]
fn noise_check_names_the_key_that_passes_too_much() {
    let file: Arc<str> = "opens.txt".into();
    let quiet = "r /usr/lib/x\n".repeat(200);
    assert!(noise::check(&toy_rules(), &file, &quiet).failures.is_empty());
    let loud = format!("{quiet}{}", "r /run/secrets/a\n".repeat(10));
    assert_eq!(noise::check(&toy_rules(), &file, &loud).failures.len(), 1);
}

/// What the text offers is taken at its word: with it in the profile the same event is expected.
#[test]
fn what_allow_with_offers_makes_the_event_expected() {
    use crate::profile::actor::{Actor, RoleId, WorkerNames};
    let profile =
        "schema: sandwatch/profile/v1\nname: p\ntitle: t\nexpect: { entry: { unix: { else: deviation } } }\n";
    let rules = |exception: Option<&str>| {
        let source = |file: &str, text: &str| Source { file: file.into(), text: text.into(), layer: 0 };
        let sources = [Some(source("p.yaml", profile)), exception.map(|text| source("e.yaml", text))];
        RuleSet::from_sources(&sources.into_iter().flatten().collect::<Vec<_>>())
    };
    for step in [
        "{ exec: { exe: /opt/a*b, argv: [x, \"--q=[1]\", \"it's\", \"/a/b\"] } }",
        "{ connect: { to: \"tcp:93.184.216.34:8443\" } }",
        "{ connect: { to: \"udp:[2606:4700::1]:443\" } }",
        "{ unix: { path: \"/run/x{1}.sock\" } }",
    ] {
        let step: Step = parse_yaml(&"step".into(), step).unwrap();
        let event = event::event_of(&step, 1, 7, 1000).ok().flatten().unwrap();
        let judge = |rules: &RuleSet| {
            let actor = Actor {
                role: Some(RoleId::ENTRY),
                worker: Some(WorkerNames { name: "w{1}", cgroup: "/w" }),
                wall: Some(1_700_000_000),
                ..Actor::unknown(rules.profile("p").unwrap())
            };
            rules.judge(&actor, &event)
        };
        let finding = judge(&rules(None).unwrap()).unwrap();
        assert_eq!(finding.tier.name(), "deviation");
        let offered = finding.allow_with.unwrap();
        let unfilled = rules(Some(&offered)).unwrap_err().to_string();
        for key in ["owner", "reason", "expires"] {
            assert!(unfilled.contains(&format!("`{key}` is not filled in")), "{unfilled}");
        }
        let filled = offered
            .replace("owner: FILL IN", "owner: a team")
            .replace("reason: FILL IN", "reason: it is so")
            .replace("expires: FILL IN", "expires: 2027-03-31");
        assert_eq!(judge(&rules(Some(&filled)).unwrap()), None, "{filled}");
    }
}

/// A page is never answered with a recipe to silence it.
#[test]
fn allow_with_is_not_offered_above_a_deviation_or_beside_a_detection() {
    let all = failures(
        "schema: sandwatch/rule-test/v1\nprofile: toy\ntests:\n  - name: t\n    steps:\n      - { role: engine, exec: { exe: /bin/dash }, finds: shell-from-engine, tier: boundary }\n",
    );
    assert!(all.is_empty(), "{all:?}");
    let rules = toy_rules();
    let step: Step = parse_yaml(&"step".into(), "{ exec: { exe: /bin/dash } }").unwrap();
    let event = event::event_of(&step, 1, 7, 1000).ok().flatten().unwrap();
    let profile = rules.profile("toy").unwrap();
    let actor = crate::profile::actor::Actor {
        role: rules.role_by_name(profile, "engine"),
        ..crate::profile::actor::Actor::unknown(profile)
    };
    assert_eq!(rules.judge(&actor, &event).unwrap().allow_with, None);
}

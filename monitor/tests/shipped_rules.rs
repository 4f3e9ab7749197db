//! The rule files that are shipped: they compile without a warning, their tests name every detection and identity, and what they
//! make the kernel report of a build is little.
#![expect(clippy::panic, clippy::expect_used, reason = "the helpers of a test may fail loudly")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use monitor::profile::{EntryProcess, RuleSet, SelectRank, WatchedKey, WorkerFacts};
use monitor_common::filter::access;

/// The largest part of a build's opens that all patterns together may let through; the rule tests hold each single one
/// to 1 %.
const ALL_MAX: f64 = 0.02;

fn rules_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../rules")
}

fn shipped() -> Arc<RuleSet> {
    RuleSet::load(&[rules_folder()]).unwrap_or_else(|errors| panic!("the shipped rules are wrong:\n{errors}"))
}

/// What the kernel does with one key: prefix, file name, or name of one of the last three folders above it.
fn passes(key: &WatchedKey, path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let name = parts.next().unwrap_or_default();
    match key.by {
        "prefix" => path.starts_with(&key.key),
        "name" => name == key.key,
        "parent" => parts.take(3).any(|p| p == key.key),
        other => panic!("unknown kind of key `{other}`"),
    }
}

/// The words of every rule test, to see which ids they name.
fn words_of_tests(folder: &Path, out: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("a folder entry").path();
        if path.is_dir() {
            words_of_tests(&path, out);
        } else if path.extension().is_some_and(|e| e == "yaml") {
            let text = fs::read_to_string(&path).expect("a test file");
            out.extend(text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).map(ToOwned::to_owned));
        }
    }
}

#[test]
fn every_shipped_rule_file_compiles_without_a_warning() {
    let rules = shipped();
    assert_eq!(rules.warnings(), &[] as &[String]);
    for name in ["generic", "n8n", "demo"] {
        assert!(rules.profile(name).is_some(), "profile {name} is missing");
    }
}

/// The profile of a worker and by what it was chosen.
fn chosen(rules: &RuleSet, facts: &WorkerFacts) -> (String, SelectRank) {
    let selection = rules.select(facts);
    (rules.profile_name(selection.profile).to_owned(), selection.rank)
}

#[test]
fn n8n_is_selected_by_unit_and_first_process_and_not_by_image_alone() {
    let rules = shipped();
    let n8n = |rank| ("n8n".to_owned(), rank);
    let cgroup = || WorkerFacts { cgroup: "/lab/w".into(), ..WorkerFacts::default() };
    let entry = |exe: &str, given: &str, argv: &[&str]| {
        let entry = EntryProcess {
            exe: Some(exe.into()),
            given: Some(given.into()),
            argv: argv.iter().map(|a| Arc::from(*a)).collect(),
            cwd: Some("/".into()),
        };
        WorkerFacts { entry: Some(entry), ..cgroup() }
    };
    let unit = WorkerFacts { unit: Some("n8n-worker@2.service".into()), ..cgroup() };
    assert_eq!(chosen(&rules, &unit), n8n(SelectRank::Cgroup));
    // An image is what the author of a job may choose, and the profile lets its engine use identities.
    let image = rules.select(&WorkerFacts { image: Some("docker.io/n8nio/n8n:2.41.3".into()), ..cgroup() });
    assert_eq!(rules.profile_name(image.profile), "generic");
    assert!(image.notice.is_some_and(|n| n.contains("`n8n`") && n.contains("assign")));
    for entry in [
        entry("/usr/bin/node", "/usr/bin/node", &["node", "/usr/local/bin/n8n", "worker"]),
        entry("/usr/bin/env", "/usr/local/bin/n8n", &["/usr/bin/env", "node", "/usr/local/bin/n8n", "start"]),
        entry(
            "/usr/local/bin/task-runner-launcher",
            "/usr/local/bin/task-runner-launcher",
            &["task-runner-launcher"],
        ),
    ] {
        assert_eq!(chosen(&rules, &entry), n8n(SelectRank::Process), "{entry:?}");
    }
    for entry in [
        entry("/usr/bin/node", "/usr/bin/node", &["node", "/tmp/bin/n8n"]),
        entry("/usr/bin/node", "/usr/bin/node", &["n8n", "/srv/app.js"]),
        entry("/bin/cat", "/bin/cat", &["node", "/usr/local/bin/n8n"]),
    ] {
        assert_eq!(chosen(&rules, &entry), ("generic".to_owned(), SelectRank::None), "{entry:?}");
    }
}

#[test]
fn every_shipped_detection_is_named_by_a_rule_test() {
    let rules = shipped();
    let mut words = BTreeSet::new();
    words_of_tests(&rules_folder().join("tests"), &mut words);
    let untested: Vec<&str> = rules.detections().map(|d| d.id).filter(|id| !words.contains(*id)).collect();
    assert!(untested.is_empty(), "no rule test names {untested:?}");
}

#[test]
fn every_shipped_identity_is_named_by_a_rule_test() {
    let mut words = BTreeSet::new();
    words_of_tests(&rules_folder().join("tests"), &mut words);
    let text = fs::read_to_string(rules_folder().join("identities.yaml")).expect("the catalogue");
    let ids: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("  - id: ")).collect();
    assert!(ids.len() > 40, "only {} identities were found", ids.len());
    let untested: Vec<&&str> = ids.iter().filter(|id| !words.contains(**id)).collect();
    assert!(untested.is_empty(), "no rule test names {untested:?}");
}

#[test]
fn all_shipped_patterns_together_let_little_of_a_build_through() {
    let rules = shipped();
    let file = rules_folder().join("tests/opens/build.txt");
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let opens: Vec<(u32, &str)> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(mode, path)| {
            (if mode.contains('w') { access::READ | access::WRITE } else { access::READ }, path)
        })
        .collect();
    assert!(opens.len() > 2000, "the recording is of some size");
    let keys = &rules.kernel_filter().keys;
    let passed: Vec<&str> = opens
        .iter()
        .filter(|(bits, path)| keys.iter().any(|key| key.access & bits != 0 && passes(key, path)))
        .map(|(_, path)| *path)
        .collect();
    let part = passed.len() as f64 / opens.len() as f64;
    assert!(part <= ALL_MAX, "{:.1} % of a build passes: {passed:#?}", part * 100.0);
}

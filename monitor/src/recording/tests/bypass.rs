//! `docs/bypass-classes.md` against the recordings: what it names is there and shows one incident, what is there is named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::profile::Tier;
use crate::recording::suite::expectation_of;

/// The profiles that are complete.
const PROFILES: [&str; 14] = [
    "n8n",
    "airflow",
    "argo",
    "github-actions",
    "github-arc",
    "github-job",
    "jenkins-controller",
    "jenkins-agent",
    "jenkins-job",
    "gitlab-runner",
    "gitlab-job",
    "temporal",
    "node-red",
    "prefect",
];
/// The classes, in the order in which each table lists them.
const CLASSES: [&str; 9] = [
    "sandbox",
    "file-read",
    "runner",
    "deserialisation",
    "traversal",
    "supply-chain",
    "agent-tool",
    "memory",
    "container",
];
/// Least letters of a reason that says something.
const REASON_MIN: usize = 20;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// By profile, the rows of its table: class, and what shows it or why nothing does.
fn tables() -> BTreeMap<String, Vec<(String, String)>> {
    let text = std::fs::read_to_string(root().join("docs/bypass-classes.md")).unwrap();
    let mut tables: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut profile = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            profile = Some(name.to_owned());
            assert!(tables.insert(name.to_owned(), Vec::new()).is_none(), "{name} has two tables");
        } else if let Some(profile) = &profile
            && let Some((class, cell)) = line
                .strip_prefix("| ")
                .and_then(|line| line.strip_suffix(" |"))
                .and_then(|row| row.split_once(" | "))
            && class != "class"
        {
            tables.entry(profile.clone()).or_default().push((class.to_owned(), cell.to_owned()));
        }
    }
    tables
}

/// The names in back quotes of a cell.
fn named(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// By name, the recordings of a profile.
fn recordings(profile: &str) -> BTreeMap<String, PathBuf> {
    let folder = root().join("rules/tests/recordings").join(profile);
    let paths = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    paths
        .filter(|path| !path.to_string_lossy().ends_with(".expect.yaml"))
        .map(|path| (name(&path), path))
        .collect()
}

#[test]
fn every_complete_profile_has_a_table_of_all_classes() {
    let tables = tables();
    let profiles: BTreeSet<&str> = tables.keys().map(String::as_str).collect();
    assert_eq!(profiles, BTreeSet::from(PROFILES));
    for (profile, rows) in &tables {
        let classes: Vec<&str> = rows.iter().map(|(class, _)| class.as_str()).collect();
        let mut wanted = vec!["normal"];
        wanted.extend(CLASSES);
        if classes.last() == Some(&"other") {
            wanted.push("other");
        }
        assert_eq!(classes, wanted, "rows of {profile}");
        for (class, cell) in rows.iter().filter(|(_, cell)| named(cell).is_empty()) {
            let reason = cell.strip_prefix("none: ").unwrap_or_else(|| {
                panic!("{profile}, {class}: neither a recording nor `none: ` and a reason: {cell}")
            });
            assert!(reason.len() >= REASON_MIN, "{profile}, {class}: why is there none? {reason}");
            assert!(class != "normal" && class != "other", "{profile}: {class} has no recording");
        }
    }
}

#[test]
fn what_the_tables_name_is_there_and_what_is_there_is_named() {
    for (profile, rows) in &tables() {
        let there: BTreeSet<String> = recordings(profile).into_keys().collect();
        let named: BTreeSet<String> =
            rows.iter().flat_map(|(_, cell)| named(cell)).map(str::to_owned).collect();
        assert_eq!(named, there, "docs/bypass-classes.md and rules/tests/recordings/{profile} differ");
    }
}

/// One incident of tier boundary or above, with what it took and whose it was.
#[test]
fn every_recording_of_a_class_says_what_one_incident_must_be() {
    for (profile, rows) in &tables() {
        let recordings = recordings(profile);
        for (class, cell) in rows {
            for name in named(cell) {
                let Some(path) = recordings.get(name) else { continue };
                let expect = expectation_of(path).unwrap_or_else(|e| panic!("{e}")).unwrap_or_default();
                let place = format!("{profile}/{name} ({class})");
                if class == "normal" || name.starts_with("deviation-") {
                    assert!(expect.normal, "{place} must be normal");
                    continue;
                }
                let [incident] = &expect.incidents[..] else {
                    panic!("{place} must give exactly one incident");
                };
                assert!(incident.tier >= Tier::Boundary, "{place} is only a deviation");
                assert!(incident.taken.is_some() || class == "memory", "{place} does not say what was taken");
                assert!(!incident.attribution.is_empty(), "{place} does not say whose run it was");
                assert_eq!(expect.profile.as_deref(), Some(profile.as_str()), "{place}");
            }
        }
    }
}

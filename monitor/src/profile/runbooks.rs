//! `docs/runbooks/findings.md`: what a link in a page leads to, one heading for each finding and condition there is.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use super::doc::{Detections, PostureDoc, Postures};

/// Findings of expectations, with what they mean.
const EXPECTATIONS: [(&str, &str); 7] = [
    ("unexpected-exec", "A program that the profile does not let this role execute"),
    ("unexpected-identity", "A secret that the profile does not let this role open"),
    ("unexpected-connect", "An address that the profile does not let this role contact"),
    ("unexpected-unix", "A unix socket that the profile does not let this role contact"),
    ("unexpected-socket", "A kind of socket that the profile does not let this role make"),
    ("unexpected-file", "A watched file that the profile does not let this role open"),
    ("unresolved-open", "An open whose path could not be found out, of something that is watched"),
];

/// Conditions, with the page that explains them.
const CONDITIONS: [(&str, &[&str]); 2] = [
    (
        "gap",
        &[
            "lost",
            "throttled",
            "unwatched",
            "law-broken",
            "undecodable",
            "unexplained",
            "unplaced",
            "evicted",
            "unreadable",
            "unclean-end",
            "new-stream",
            "not-spooled",
            "dead-letters",
            "restart",
        ],
    ),
    (
        "health",
        &[
            "sink",
            "spool",
            "rules-refused",
            "filter",
            "rules-skipped",
            "config-refused",
            "last-good",
            "last-good-copy",
            "canary",
            "control-socket",
            "metrics",
            "watched-until",
            "profile-not-found",
            "profile-selection",
            "unknown-fact",
            "pods-unknown",
            "local-log",
            "incident-state",
            "posture-state",
        ],
    ),
];

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The detection files, each with its name without ending.
fn files() -> Vec<(String, Detections)> {
    let mut files: Vec<_> = std::fs::read_dir(root().join("rules/detections"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_stem().is_some_and(|stem| stem != "demo"))
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            (stem, serde_saphyr::from_str(&text).unwrap())
        })
        .collect()
}

/// The postures, in the order of their files.
fn postures() -> Vec<PostureDoc> {
    let mut files = vec![root().join("rules/posture.yaml")];
    let more = std::fs::read_dir(root().join("rules/postures")).unwrap();
    files.extend(more.map(|entry| entry.unwrap().path()));
    files.sort();
    let read = |path: &std::path::PathBuf| -> Postures {
        serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    files.iter().flat_map(|path| read(path).postures).map(|posture| posture.value).collect()
}

fn page() -> String {
    let mut text = String::from(
        "# Findings and conditions by name\n\nWhat a page's link leads to; written from the rule files by the tests (`UPDATE_SCHEMAS=1`). \
         The first two minutes are in [README.md](README.md).\n",
    );
    for (family, file) in files() {
        let _ = write!(
            text,
            "\n## Detections in {family}.yaml\n\nThe family's runbook: [{family}.md]({family}.md).\n"
        );
        for detection in file.detections.iter().map(|detection| &detection.value) {
            let _ = write!(
                text,
                "\n### {}\n\n{}. Tier `{}`, signal `{}`.\n",
                detection.id.value,
                detection.title,
                detection.tier.name(),
                detection.on.word()
            );
            if let Some(notes) = &detection.notes {
                let _ = write!(text, "\n{}\n", notes.trim());
            }
            let steps = detection.respond.steps();
            if !steps.is_empty() {
                text.push('\n');
            }
            for step in steps {
                let _ = writeln!(text, "- {step}");
            }
        }
    }
    text.push_str("\n## Findings of profiles\n\nThe runbook: [unexpected.md](unexpected.md).\n");
    for (name, meaning) in EXPECTATIONS {
        let _ = write!(text, "\n### {name}\n\n{meaning}. [What to do](unexpected.md).\n");
    }
    text.push_str("\n## Postures\n\nThe runbook: [posture.md](posture.md).\n");
    for posture in postures() {
        let (id, title, severity) = (&posture.id.value, &posture.title, posture.severity.word());
        let _ = write!(text, "\n### posture-{id}\n\nA worker {title}. Severity `{severity}`");
        text.push_str(if posture.reaches_host { "; it reaches the host.\n" } else { ".\n" });
        if let Some(notes) = &posture.notes {
            let _ = write!(text, "\n{}\n", notes.trim());
        }
        let steps = posture.respond.steps();
        if !steps.is_empty() {
            text.push('\n');
        }
        for step in steps {
            let _ = writeln!(text, "- {step}");
        }
    }
    for (kind, names) in CONDITIONS {
        let _ = write!(text, "\n## Conditions of kind {kind}\n\nThe runbook: [{kind}.md]({kind}.md).\n");
        for name in names {
            let _ = write!(text, "\n### {kind}-{name}\n\n[What it means and what to do]({kind}.md).\n");
        }
    }
    text
}

#[test]
fn every_finding_has_its_place_in_the_runbooks() {
    let path = root().join("docs/runbooks/findings.md");
    let current = page();
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == current,
        "docs/runbooks/findings.md is not current: run the tests with UPDATE_SCHEMAS=1"
    );
}

#[test]
fn every_family_and_condition_has_a_runbook() {
    for (family, _) in files() {
        assert!(root().join(format!("docs/runbooks/{family}.md")).exists(), "{family}");
    }
    for (kind, names) in CONDITIONS {
        let page = std::fs::read_to_string(root().join(format!("docs/runbooks/{kind}.md"))).unwrap();
        for name in names {
            let told = page.contains(&format!("`{name}`")) || page.contains(&format!("`{name}-"));
            assert!(told, "{kind}.md says nothing of {name}");
        }
    }
}

/// What the code calls conditions and gaps is what the runbooks call them.
#[test]
fn conditions_in_the_code_are_those_of_the_runbooks() {
    let known: BTreeSet<&str> = CONDITIONS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let mut seen = 0;
    for (name, line) in literals() {
        seen += 1;
        // A reason in words has no runbook of its own.
        assert!(
            name.contains(' ') || known.contains(name.as_str()),
            "{name} in `{line}` is not in CONDITIONS"
        );
    }
    assert!(seen >= 8, "the code is written differently now: {seen}");
}

/// A reason that was never given is a metric too, with 0.
#[test]
fn every_reason_that_the_agent_gives_for_a_gap_is_known_to_the_metrics() {
    // Reasons of other things than gaps are no static text.
    let given = literals().into_iter().filter(|(name, line)| *line == format!("reason: \"{name}\","));
    let given: BTreeSet<String> = given.map(|(name, _)| name).collect();
    let known: BTreeSet<String> = crate::detect::GAP_REASONS.iter().map(|name| name.to_string()).collect();
    assert_eq!(given, known);
}

/// Literals of `reason: "…"` and `CONDITION: &str = "…"` in the code that is not tests.
fn literals() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".rs")
                && !name.contains("test")
                && !name.contains("fixture")
                && name != "runbooks.rs"
            {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                for line in code.lines() {
                    let rest = line
                        .trim()
                        .strip_prefix("reason: \"")
                        .or_else(|| line.split_once("CONDITION: &str = \"").map(|(_, rest)| rest));
                    if let Some(literal) = rest.and_then(|rest| rest.split('"').next()) {
                        found.push((literal.to_owned(), line.trim().to_owned()));
                    }
                }
            }
        }
    }
    found
}

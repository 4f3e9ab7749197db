//! The rule files that ship with sandwatch, held to their promises.

use std::path::PathBuf;

use super::rule_test::run_folders;
use super::ruleset::RuleSet;
use crate::recording;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../rules")
}

#[test]
fn every_shipped_rule_test_passes() {
    let rules = RuleSet::load(&[folder()]).unwrap_or_else(|e| panic!("{e}"));
    let mut report = run_folders(&rules, &[folder()]).unwrap_or_else(|e| panic!("{e}"));
    report.tests.extend(recording::run_folders(&rules, &[folder()]).unwrap_or_else(|e| panic!("{e}")));
    let failed: Vec<String> = report
        .failed()
        .flat_map(|t| t.failures.iter().map(move |f| format!("{}:{} {}: {f}", t.file, t.line, t.name)))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

//! Rule tests: events written by hand (or from a recording), and the findings they must and must not give.
//!
//! They stand below `tests/` of a rules folder, beside the rule files they are about. A step without `finds` must give
//! no finding at all, so a test of normal behaviour is a list of steps and nothing more. Lists of opened paths in
//! `tests/opens/*.txt` hold the kernel filter to its promise: no key may pass more than 1 % of them.

mod check;
mod doc;
mod event;
mod noise;
mod posture;
mod run;

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What scenarios make their events with, too.
pub(crate) mod build {
    pub(crate) use super::event::{BadStep, connect_of, exec_of, open_of, socket_of, unix_of};
}

pub(crate) use doc::step;
pub use doc::{
    ConnectStep, EnvFrom, ExecStep, ForkStep, MountStep, MoveStep, OpenStep, OutcomeName, PostureTestDoc,
    RuleTestDoc, SetupStep, SocketStep, Step, TestDoc, UnixStep,
};

use super::compile::{parse_yaml, read_file};
use super::doc::schema_name;
use super::error::{RuleError, RuleErrors, suggest};
use super::ruleset::RuleSet;

/// What came of the tests of one or more rules folders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestReport {
    /// Every test that was run.
    pub tests: Vec<TestResult>,
}

/// One test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestResult {
    /// File, relative to the rules folder.
    pub file: Arc<str>,
    /// Line of the test.
    pub line: u32,
    /// Its name.
    pub name: String,
    /// What was not as it must be, each with the line of its step; empty if it passed.
    pub failures: Vec<String>,
}

impl TestReport {
    /// Tests that failed.
    pub fn failed(&self) -> impl Iterator<Item = &TestResult> {
        self.tests.iter().filter(|t| !t.failures.is_empty())
    }
}

/// Runs every test below `tests/` of the folders against a set of rules.
///
/// # Errors
/// Test files that cannot be read or understood; tests that fail are in the report.
pub fn run_folders<P: AsRef<Path>>(rules: &RuleSet, folders: &[P]) -> Result<TestReport, RuleErrors> {
    let mut report = TestReport::default();
    let mut errors = Vec::new();
    for folder in folders {
        let folder = folder.as_ref();
        let mut files = Vec::new();
        walk(&folder.join("tests"), &mut files);
        files.sort();
        for path in files {
            let file: Arc<str> = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into();
            let text = match read_file(&path) {
                Ok(text) => text,
                Err(e) => {
                    errors.push(e);
                    continue;
                }
            };
            if file.ends_with(".txt") {
                report.tests.push(noise::check(rules, &file, &text));
                continue;
            }
            match run_text(rules, &file, &text) {
                Ok(tests) => report.tests.extend(tests),
                Err(mut more) => errors.append(&mut more),
            }
        }
    }
    if errors.is_empty() { Ok(report) } else { Err(RuleErrors(errors)) }
}

/// Runs the tests of one file's text.
fn run_text(rules: &RuleSet, file: &Arc<str>, text: &str) -> Result<Vec<TestResult>, Vec<RuleError>> {
    let doc: RuleTestDoc = parse_yaml(file, text).map_err(|e| vec![e])?;
    if doc.schema != schema_name::RULE_TEST {
        let what = format!("unknown schema `{}`", doc.schema);
        let fix = suggest(&doc.schema, [schema_name::RULE_TEST]);
        return Err(vec![RuleError { file: file.clone(), line: 1, column: 1, what, fix }]);
    }
    let mut out = Vec::new();
    let mut errors = Vec::new();
    for test in &doc.tests {
        match run::run(rules, file, &doc, test) {
            Ok(failures) => out.push(TestResult {
                file: file.clone(),
                line: test.line,
                name: test.value.name.clone(),
                failures,
            }),
            Err(e) => errors.push(e),
        }
    }
    for test in &doc.postures {
        let name = test.value.name.clone();
        match posture::run(rules, file, &doc, test) {
            Ok(failures) => out.push(TestResult { file: file.clone(), line: test.line, name, failures }),
            Err(e) => errors.push(e),
        }
    }
    if errors.is_empty() { Ok(out) } else { Err(errors) }
}

fn walk(folder: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            // Whole recordings are `crate::recording`'s.
            if name != "recordings" {
                walk(&path, out);
            }
        } else if name.ends_with(".yaml")
            || name.ends_with(".yml")
            || (name.ends_with(".txt") && folder.ends_with("opens"))
        {
            out.push(path);
        }
    }
}

#[cfg(test)]
pub(super) mod tests;

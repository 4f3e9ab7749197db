//! Every recording below `tests/recordings` of a rules folder, through the pipeline.
//!
//! `PROFILE/NAME.yaml` is a scenario with its expectation in it; `PROFILE/NAME.ndjson` a recording whose expectation stands
//! beside it in `NAME.expect.yaml`.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::{JsonSchema, schema_for};
use serde::Deserialize;

use super::expect::{ExpectationDoc, check, pages};
use super::read::Reader;
use super::replay::{Replay, Replayed};
use super::scenario::{Scenario, ScenarioDoc, check_schema};
use crate::alert::Alert;
use crate::profile::rule_test::TestResult;
use crate::profile::{RuleError, RuleErrors, RuleSet, parse_yaml, read_file};

/// The `schema` of an expectation beside a recording.
const EXPECTATION_SCHEMA: &str = "sandwatch/expectation/v1";

/// What must come of the recording of the same name.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExpectationFile {
    /// `sandwatch/expectation/v1`.
    schema: String,
    /// What the recording shows, and how it was made.
    about: String,
    /// What must come of it.
    expect: ExpectationDoc,
}

/// Names of the schemas of this room's files.
pub const SCHEMAS: [&str; 2] = ["scenario", "expectation"];

/// The JSON Schema of one of this room's files, as it is committed: indented, one newline at the end.
pub fn schema_text(name: &str) -> Option<String> {
    let schema = match name {
        "scenario" => schema_for!(ScenarioDoc),
        "expectation" => schema_for!(ExpectationFile),
        _ => return None,
    };
    let mut text = serde_json::to_string_pretty(&schema).ok()?;
    text.push('\n');
    Some(text)
}

/// Plays every recording of the folders against a set of rules.
///
/// # Errors
/// Files that cannot be read or understood; recordings that give something else than they must are in the results.
pub fn run_folders<P: AsRef<Path>>(
    rules: &Arc<RuleSet>,
    folders: &[P],
) -> Result<Vec<TestResult>, RuleErrors> {
    let mut results = Vec::new();
    let mut errors = Vec::new();
    for folder in folders {
        let folder = folder.as_ref();
        let mut paths = Vec::new();
        walk(&folder.join("tests").join("recordings"), &mut paths);
        paths.sort();
        for path in paths {
            let file: Arc<str> = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into();
            match run(rules, &path, &file) {
                Ok(result) => results.push(result),
                Err(error) => errors.push(error),
            }
        }
    }
    if errors.is_empty() { Ok(results) } else { Err(RuleErrors(errors)) }
}

/// What must come of one recording: what stands in a scenario, or beside a recording.
///
/// # Errors
/// Files that cannot be read or understood, and a scenario that says nothing of it.
#[cfg(test)]
pub(super) fn expectation_of(path: &Path) -> Result<Option<ExpectationDoc>, RuleError> {
    let file: Arc<str> = path.to_string_lossy().into();
    if path.extension().is_some_and(|extension| extension == "ndjson") {
        let beside = path.with_extension("expect.yaml");
        let doc: ExpectationFile = parse_yaml(&file, &read_file(&beside)?)?;
        return Ok(Some(doc.expect));
    }
    Ok(Scenario::parse(&file, &read_file(path)?)?.expect)
}

fn walk(folder: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            walk(&path, out);
        } else if name.ends_with(".ndjson") || name.ends_with(".yaml") && !name.ends_with(".expect.yaml") {
            out.push(path);
        }
    }
}

fn run(rules: &Arc<RuleSet>, path: &Path, file: &Arc<str>) -> Result<TestResult, RuleError> {
    let wrong = |what: String, fix: &str| RuleError {
        file: file.clone(),
        line: 0,
        column: 0,
        what,
        fix: fix.to_owned(),
    };
    let (name, expect, (alerts, replayed)) = if file.ends_with(".ndjson") {
        let beside = path.with_extension("expect.yaml");
        let text = read_file(&beside).map_err(|error| RuleError {
            file: file.clone(),
            fix: "say beside it what must come of it".to_owned(),
            ..error
        })?;
        let expect_file: Arc<str> = file.replace(".ndjson", ".expect.yaml").into();
        let doc: ExpectationFile = parse_yaml(&expect_file, &text)?;
        check_schema(&expect_file, &doc.schema, EXPECTATION_SCHEMA)?;
        let opened = File::open(path).map_err(|error| wrong(error.to_string(), ""))?;
        let played = play_file(rules, BufReader::new(opened), file)?;
        (doc.about, doc.expect, played)
    } else {
        let scenario = Scenario::parse(file, &read_file(path)?)?;
        let Some(expect) = scenario.expect.clone() else {
            return Err(wrong("it does not say what must come of it".to_owned(), "add `expect`"));
        };
        for worker in &scenario.header.workers {
            worker.check().map_err(|what| {
                wrong(what, "write `true`, `false`, an address, a network or an address and port")
            })?;
        }
        let about = scenario.header.about.clone();
        let mut replay = Replay::new(&scenario.header, rules.clone()).map_err(|what| wrong(what, ""))?;
        scenario.lines.into_iter().for_each(|line| replay.take(line));
        (about, expect, finish(replay))
    };
    if !expect.normal && expect.incidents.is_empty() {
        return Err(wrong("its expectation says nothing".to_owned(), "write `normal: true` or `incidents`"));
    }
    let mut failures = check(&expect, &alerts, &replayed);
    if expect.normal && alerts.iter().any(pages) {
        failures.push("somebody is woken by a normal recording".to_owned());
    }
    Ok(TestResult { file: file.clone(), line: 1, name, failures })
}

fn play_file(
    rules: &Arc<RuleSet>,
    from: impl std::io::BufRead,
    file: &Arc<str>,
) -> Result<(Vec<Alert>, Replayed), RuleError> {
    let at = |line: u64, what: String| RuleError {
        file: file.clone(),
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: 0,
        what,
        fix: String::new(),
    };
    let mut reader = Reader::new(from).map_err(|error| at(error.line, error.what()))?;
    let mut replay = Replay::new(reader.header(), rules.clone()).map_err(|what| at(1, what))?;
    while let Some(line) = reader.next().map_err(|error| at(error.line, error.what()))? {
        replay.take(line);
    }
    Ok(finish(replay))
}

fn finish(mut replay: Replay) -> (Vec<Alert>, Replayed) {
    let replayed = replay.finish();
    (std::iter::from_fn(|| replay.next_alert()).collect(), replayed)
}

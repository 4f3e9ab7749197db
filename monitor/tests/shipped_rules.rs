//! The rule files that are shipped: they compile without a warning, and what they make the kernel report of a build is little.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use monitor::profile::{KernelFilter, RuleSet, WatchedKey};
use monitor_common::filter::access;

/// The largest part of a build's opens that one pattern may let through.
const PATTERN_MAX: f64 = 0.01;
/// The largest part that all patterns together may let through.
const ALL_MAX: f64 = 0.03;

fn rules_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../rules")
}

fn shipped() -> Arc<RuleSet> {
    RuleSet::load(&[rules_folder()]).unwrap_or_else(|errors| panic!("the shipped rules are wrong:\n{errors}"))
}

/// Every fifth open of a recorded build: access and path.
fn build_opens() -> Vec<(u32, String)> {
    let file = rules_folder().join("tests/opens/build.txt");
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    text.lines()
        .map(|line| {
            let (mode, path) = line.split_once(' ').expect("access and path");
            let bits = match mode {
                "r" => access::READ,
                "w" => access::READ | access::WRITE,
                "p" => access::PATH,
                other => panic!("{}: unknown access `{other}`", file.display()),
            };
            (bits, path.to_owned())
        })
        .collect()
}

/// What the kernel does with one key: prefix, file name, or name of one of the last three folders above it.
fn passes(key: &WatchedKey, bits: u32, path: &str) -> bool {
    if key.access & bits == 0 {
        return false;
    }
    let mut parts = path.rsplit('/');
    let name = parts.next().unwrap_or_default();
    match key.by {
        "prefix" => path.starts_with(&key.key),
        "name" => name == key.key,
        "parent" => parts.take(3).any(|p| p == key.key),
        other => panic!("unknown kind of key `{other}`"),
    }
}

#[test]
fn every_shipped_rule_file_compiles_without_a_warning() {
    let rules = shipped();
    assert_eq!(rules.warnings(), &[] as &[String]);
    for name in ["generic", "n8n"] {
        assert!(rules.profile(name).is_some(), "profile {name} is missing");
    }
}

#[test]
fn no_shipped_pattern_lets_more_than_one_percent_of_a_build_through() {
    let rules = shipped();
    let filter: &KernelFilter = rules.kernel_filter();
    let opens = build_opens();
    assert!(opens.len() > 2000, "the recording is there and of some size");
    let mut by_key: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let mut any = 0;
    for (bits, path) in &opens {
        let mut hit = false;
        for key in filter.keys.iter().filter(|key| passes(key, *bits, path)) {
            hit = true;
            let name = format!(
                "{} `{}` of `{}` ({}:{})",
                key.by, key.key, key.pattern, key.rule.file, key.rule.line
            );
            by_key.entry(name).or_insert_with(|| (0, path.clone())).0 += 1;
        }
        any += usize::from(hit);
    }
    let part = |n: usize| n as f64 / opens.len() as f64;
    let over: Vec<String> = by_key
        .iter()
        .filter(|(_, (n, _))| part(*n) > PATTERN_MAX)
        .map(|(name, (n, example))| format!("{name}: {:.1} %, such as {example}", part(*n) * 100.0))
        .collect();
    assert!(over.is_empty(), "too much of a build passes:\n{}", over.join("\n"));
    assert!(
        part(any) <= ALL_MAX,
        "all patterns together pass {:.1} % of a build: {by_key:#?}",
        part(any) * 100.0
    );
}

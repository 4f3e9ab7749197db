//! The kernel filter against opens recorded of ordinary work: a key that passes many of them costs every worker.

use std::sync::Arc;

use super::TestResult;
use crate::profile::ruleset::{RuleSet, WatchedKey};
use monitor_common::filter::{NAME_MAX, PREFIX_MAX, access};

/// How many parent folders of a file the kernel compares.
const PARENTS: usize = 3;

/// Whether the kernel passes a path because of this key.
pub(crate) fn passes(key: &WatchedKey, path: &str) -> bool {
    let cut = |text: &str, max: usize| text.as_bytes()[..text.len().min(max)].to_vec();
    let mut parts = path.rsplit('/');
    let last = parts.next().unwrap_or_default();
    match key.by {
        "prefix" => path.as_bytes().starts_with(&cut(&key.key, PREFIX_MAX)),
        "name" => cut(last, NAME_MAX) == cut(&key.key, NAME_MAX),
        _ => parts.take(PARENTS).any(|p| cut(p, NAME_MAX) == cut(&key.key, NAME_MAX)),
    }
}

/// A list of opened paths, one a line after its access (`r` reading, `w` also writing, `p` a bare handle); `#` begins a comment. No key may pass more than
/// 1 % of the opens.
pub(super) fn check(rules: &RuleSet, file: &Arc<str>, text: &str) -> TestResult {
    let mut failures = Vec::new();
    let mut opens: Vec<(u32, &str)> = Vec::new();
    for (number, line) in
        text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#'))
    {
        let (mode, path) = line.split_once(' ').unwrap_or(("", line));
        let bits = match mode {
            "r" => access::READ,
            "w" => access::READ | access::WRITE,
            "p" => access::PATH,
            _ => {
                failures.push(format!("line {}: begin it with r, w or p and a space", number + 1));
                continue;
            }
        };
        opens.push((bits, path));
    }
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for key in &rules.kernel_filter().keys {
        if seen.contains(&(key.by, &key.key)) {
            continue;
        }
        seen.push((key.by, &key.key));
        let same = rules.kernel_filter().keys.iter().filter(|k| (k.by, &k.key) == (key.by, &key.key));
        let bits = same.fold(0, |bits, k| bits | k.access);
        let passed = opens.iter().filter(|(have, path)| have & bits != 0 && passes(key, path)).count();
        if passed * 100 > opens.len() {
            failures.push(format!(
                "{}:{}: the {} `{}` of pattern `{}` passes {passed} of {} opens, more than 1 %",
                key.rule.file,
                key.rule.line,
                key.by,
                key.key,
                key.pattern,
                opens.len()
            ));
        }
    }
    TestResult {
        file: file.clone(),
        line: 0,
        name: "no kernel key passes more than 1 % of these opens".to_owned(),
        failures,
    }
}

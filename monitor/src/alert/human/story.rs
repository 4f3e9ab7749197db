//! An alert as a story: what came before, what happened in order, why it was raised, what it may have cost, what to do.

use std::collections::BTreeMap;

use super::chain::{chain_in_full, other_rule};
use super::layout::{Page, Style};
use super::radius::{radius, rotation};
use super::{command, foot, head, of_day, respond, role, what, who};
use crate::alert::{Alert, SafeAlert, TreeProcess};

/// Events shown of those before the first finding: the newest.
const EVENTS: usize = 16;
/// Deepest indentation of the process tree.
const DEPTH: usize = 8;

/// The whole of an alert as text, several lines, without the last line feed.
pub fn story(alert: &SafeAlert, style: &Style) -> String {
    let mut page = Page::new(style);
    head(&mut page, alert);
    who(&mut page, alert);
    what(&mut page, alert);
    before(&mut page, alert);
    chain_in_full(&mut page, alert);
    why(&mut page, alert);
    radius(&mut page, alert);
    rotation(&mut page, alert);
    respond(&mut page, alert);
    closure(&mut page, alert);
    tree(&mut page, alert);
    foot(&mut page, alert);
    page.finish()
}

fn before(page: &mut Page<'_>, alert: &Alert) {
    let Some(evidence) = alert.evidence.as_ref().filter(|evidence| !evidence.events.is_empty()) else {
        return;
    };
    page.section("What the worker did before");
    let older = evidence.events.len().saturating_sub(EVENTS);
    if older > 0 {
        page.item("", &format!("… {older} more …"));
    }
    for event in evidence.events.iter().skip(older) {
        let outcome = event.outcome.as_ref().map_or(String::new(), |outcome| format!(": {outcome}"));
        page.item(
            &of_day(&event.time),
            &format!("{:<8} {} (process {}){outcome}", event.signal, event.object, event.pid),
        );
        if let Some(argv) = event.argv.as_ref().filter(|argv| argv.len() > 1) {
            page.item("", &format!("$ {}", command(argv)));
        }
    }
}

/// The rule behind the newest finding; what was expected stands above.
fn why(page: &mut Page<'_>, alert: &Alert) {
    let Some(finding) = &alert.finding else { return };
    page.section("Why it was raised");
    let rule = finding.rule.as_ref().map_or(String::new(), |rule| format!(", {}:{}", rule.file, rule.line));
    page.item("-", &format!("{} {}{rule}", finding.kind, finding.id));
    finding.also.iter().for_each(|also| page.item("-", &format!("also {}", other_rule(also))));
    if finding.certainty != "known" {
        page.item("-", &format!("not known when it was judged: {}", finding.certainty));
    }
}

fn closure(page: &mut Page<'_>, alert: &Alert) {
    if let Some(closure) = alert.incident.as_ref().and_then(|incident| incident.closure.as_ref()) {
        page.section("Closed");
        page.item("-", &format!("by {} at {}: {}", closure.by, super::clock(&closure.time), closure.reason));
    }
}

fn tree(page: &mut Page<'_>, alert: &Alert) {
    let Some(evidence) = alert.evidence.as_ref().filter(|evidence| !evidence.tree.is_empty()) else { return };
    page.section("Its processes when it began");
    let mut depths: BTreeMap<u32, usize> = BTreeMap::new();
    for process in &evidence.tree {
        let above = process.ppid.and_then(|ppid| depths.get(&ppid)).map_or(0, |depth| depth + 1);
        depths.insert(process.pid, above);
        page.item(
            &process.pid.to_string(),
            &format!("{}{}", "  ".repeat(above.min(DEPTH)), of_tree(process)),
        );
    }
    if let Some(more) = evidence.more_processes {
        page.item("", &format!("… {more} more …"));
    }
}

fn of_tree(process: &TreeProcess) -> String {
    let line = match &process.argv {
        Some(argv) if !argv.is_empty() => command(argv),
        _ => process.exe.clone().unwrap_or_else(|| "(program unknown)".to_owned()),
    };
    format!("{line}{}", role(process.role.as_deref()))
}

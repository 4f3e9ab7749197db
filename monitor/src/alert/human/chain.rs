//! The findings of an incident in order.

use super::layout::Page;
use super::{clock, count, of_day};
use crate::alert::{Alert, AlsoInfo, ChainLink};

/// Links shown of a long chain: so many from its beginning, so many from its end.
const ENDS: usize = 6;

/// Only when there is more than the finding above.
pub(super) fn chain(page: &mut Page<'_>, alert: &Alert) {
    let Some(incident) = alert.incident.as_ref().filter(|incident| incident.chain.len() > 1) else { return };
    page.section("How it went");
    // The first and the last of a long chain; the JSON line has them all.
    let links = &incident.chain;
    let skipped = links.len().saturating_sub(2 * ENDS);
    for (index, link) in links.iter().enumerate() {
        if skipped > 0 && (ENDS..ENDS + skipped).contains(&index) {
            if index == ENDS {
                page.item("", &format!("… {skipped} more …"));
            }
            continue;
        }
        page.item(&of_day(&link.time), &line(link));
    }
    unlisted(page, alert);
}

/// Every finding with who did it, what rule says so, and how often.
pub(super) fn chain_in_full(page: &mut Page<'_>, alert: &Alert) {
    let Some(incident) = &alert.incident else { return };
    page.section("How it went");
    for link in &incident.chain {
        page.item(&of_day(&link.time), &line(link));
        if let Some(title) = &link.title {
            page.item("", title);
        }
        let role = link.role.as_ref().map(|role| format!("by role {role}"));
        let rule = link.rule.as_ref().map(|rule| format!("rule {}:{}", rule.file, rule.line));
        let last = link.last.as_ref().map(|last| format!("last at {}", of_day(last)));
        let more: Vec<String> = [role, rule, last].into_iter().flatten().collect();
        if !more.is_empty() {
            page.item("", &more.join(", "));
        }
        link.also.iter().for_each(|also| page.item("", &format!("also {}", other_rule(also))));
    }
    unlisted(page, alert);
}

/// A rule with its kind and place.
pub(super) fn other_rule(also: &AlsoInfo) -> String {
    let rule = also.rule.as_ref().map_or(String::new(), |rule| format!(", {}:{}", rule.file, rule.line));
    format!("{} {} ({}){rule}", also.kind, also.finding, also.tier.name())
}

fn unlisted(page: &mut Page<'_>, alert: &Alert) {
    if let Some(unlisted) = alert.incident.as_ref().and_then(|incident| incident.unlisted.as_ref()) {
        let (first, last) = (clock(&unlisted.first), clock(&unlisted.last));
        page.item(
            "+",
            &format!(
                "{} not listed, up to {}, from {first} to {last}",
                count(unlisted.findings, "finding"),
                unlisted.tier
            ),
        );
    }
}

fn line(link: &ChainLink) -> String {
    let object = link.object.as_ref().map_or(String::new(), |object| format!("  {object}"));
    let outcome = link.outcome.as_ref().map_or(String::new(), |outcome| format!(": {outcome}"));
    let repeats = link.repeats.filter(|n| *n > 0).map_or(String::new(), |n| format!(" (+{n})"));
    format!("{:<9} {}{object}{outcome}{repeats}", link.tier.name(), link.finding)
}

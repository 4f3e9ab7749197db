//! The blast radius.

use super::layout::Page;
use crate::alert::{Alert, BlastRadius};

/// What was taken, what else the code holds, and what was within its reach.
pub(super) fn radius(page: &mut Page<'_>, alert: &Alert) {
    let Some(radius) = &alert.blast_radius else { return };
    if !radius.taken.is_empty() {
        page.section("Taken, treat as known to the attacker");
        for taken in &radius.taken {
            let gives = taken.gives.as_ref().map_or(String::new(), |gives| format!(": {gives}"));
            let from = taken.from.as_ref().map_or(String::new(), |from| format!(" (from {from})"));
            page.item("-", &format!("{}{gives}{from}", taken.identity));
            if !taken.respond.is_empty() {
                page.item("", &taken.respond);
            }
        }
    }
    if !radius.used.is_empty() {
        page.section("Read as allowed, in its hands too");
        page.item("-", &radius.used.join(", "));
    }
    if !radius.contacted.is_empty() {
        page.section("Contacted");
        radius.contacted.iter().for_each(|contacted| page.item("-", contacted));
    }
    let reach = within_reach(radius);
    if !reach.is_empty() {
        page.section("Also within reach");
        reach.iter().for_each(|reach| page.item("-", reach));
    }
}

fn within_reach(radius: &BlastRadius) -> Vec<String> {
    let mut lines = Vec::new();
    let held = |id: &&str| {
        radius.taken.iter().all(|taken| taken.identity != *id) && !radius.used.iter().any(|used| used == id)
    };
    let reachable: Vec<&str> = radius.reachable.iter().map(String::as_str).filter(held).collect();
    if !reachable.is_empty() {
        lines.push(reachable.join(", "));
    }
    if !radius.environment.is_empty() {
        lines.push(format!("in its environment: {}", radius.environment.join(", ")));
    }
    lines
}

/// What to rotate, the most urgent first.
pub(super) fn rotation(page: &mut Page<'_>, alert: &Alert) {
    let Some(radius) = alert.blast_radius.as_ref().filter(|radius| !radius.rotation.is_empty()) else {
        return;
    };
    page.section("To rotate, the most urgent first");
    for (index, entry) in radius.rotation.iter().enumerate() {
        page.item(&format!("{}.", index + 1), &format!("{} ({})", entry.what, entry.because));
    }
}

//! A step's finding against what it must be.

use super::doc::Step;
use crate::profile::Verdict;
use crate::profile::doc::At;
use crate::profile::finding::{Finding, Tier};

/// One step's finding against what it must be.
pub(super) fn check(step: &At<Step>, verdict: &Verdict<'_>, failures: &mut Vec<String>) {
    let want = &step.value;
    let finding: Option<&Finding> = verdict.finding.as_ref();
    let mut fail = |what: String| failures.push(format!("line {}: {what}", step.line));
    let ids: Vec<&str> =
        finding.into_iter().flat_map(|f| [&*f.id].into_iter().chain(f.also.iter().map(|a| &*a.id))).collect();
    let got = || match finding {
        None => "no finding".to_owned(),
        Some(f) => format!("{} ({}, {}: {})", ids.join(", "), f.tier, f.certainty, f.title),
    };
    for id in want.finds.iter().filter(|id| !ids.contains(&id.as_str())) {
        fail(format!("must find `{id}`, got {}", got()));
    }
    for id in want.not.iter().filter(|id| ids.contains(&id.as_str())) {
        fail(format!("must not find `{id}`, got {}", got()));
    }
    let asks =
        !want.finds.is_empty() || want.tier.is_some() || want.identity.is_some() || want.taken == Some(true);
    if !asks && want.below.is_none() && want.not.is_empty() && finding.is_some() {
        fail(format!("must give no finding, got {}", got()));
    }
    let tier: Option<Tier> = finding.map(|f| f.tier);
    if let Some(limit) = want.below
        && tier.is_some_and(|t| t >= limit)
    {
        fail(format!("must be below {limit}, got {}", got()));
    }
    if let Some(wanted) = want.tier
        && tier != Some(wanted)
    {
        fail(format!("must be of tier {wanted}, got {}", got()));
    }
    let identity = finding.and_then(|f| f.identity.as_ref()).map(|i| &*i.id);
    if want.identity.is_some() && want.identity.as_deref() != identity {
        fail(format!(
            "must touch identity `{}`, got {identity:?}",
            want.identity.as_deref().unwrap_or_default()
        ));
    }
    let endpoint = finding.and_then(|f| f.endpoint.as_ref()).map(|e| &*e.id);
    if want.endpoint.is_some() && want.endpoint.as_deref() != endpoint {
        fail(format!(
            "must contact endpoint `{}`, got {endpoint:?}",
            want.endpoint.as_deref().unwrap_or_default()
        ));
    }
    let used = verdict.used.map(|i| &*i.id);
    if want.uses.is_some() && want.uses.as_deref() != used {
        fail(format!("must use identity `{}`, got {used:?}", want.uses.as_deref().unwrap_or_default()));
    }
    if let Some(taken) = want.taken
        && finding.is_some_and(|f| f.taken) != taken
    {
        fail(format!("must {}be taken, got {}", if taken { "" } else { "not " }, got()));
    }
    if let Some(field) = &want.unknown {
        let named = finding.is_some_and(|f| f.certainty.unknown().contains(&field.as_str()));
        if !named {
            fail(format!("the certainty must name `{field}`, got {}", got()));
        }
    }
}

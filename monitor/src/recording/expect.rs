//! What must come of a recording, and whether it did.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::replay::Replayed;
use crate::alert::{Alert, AlertKind, Attributed, Attribution, Severity};
use crate::profile::Tier;
use crate::profile::doc::OneOrMany;

/// What must come of a recording. `normal`, or `incidents`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectationDoc {
    /// Nothing but what is usual: no incident, no finding from tier boundary up, nobody is paged.
    #[serde(default)]
    pub normal: bool,
    /// The profile its (only) worker must have.
    #[serde(default)]
    pub profile: Option<String>,
    /// Most distinct deviations that belong to no incident; any number if not given.
    #[serde(default)]
    pub deviations: Option<usize>,
    /// Findings that must be among the deviations that belong to no incident.
    #[serde(default)]
    pub deviating: OneOrMany<String>,
    /// Gaps are meant to be reported; without, one is a failure.
    #[serde(default)]
    pub gaps: bool,
    /// Exactly these incidents, in the order in which they open.
    #[serde(default)]
    pub incidents: Vec<ExpectedIncident>,
}

/// One incident, as it stands at the end.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectedIncident {
    /// The highest tier it reaches.
    pub tier: Tier,
    /// Findings in its chain; others may be there, too.
    #[serde(default)]
    pub findings: OneOrMany<String>,
    /// Findings that must not be in its chain.
    #[serde(default)]
    pub not: OneOrMany<String>,
    /// The identities taken, exactly; not looked at if not given.
    #[serde(default)]
    pub taken: Option<OneOrMany<String>>,
    /// The identities that author code read as it may, exactly; not looked at if not given.
    #[serde(default)]
    pub used: Option<OneOrMany<String>>,
    /// Role of the process of its newest finding.
    #[serde(default)]
    pub role: Option<String>,
    /// The attribution by field; fields that are not named may be anything.
    #[serde(default)]
    pub attribution: BTreeMap<FieldName, ExpectedField>,
    /// The runs that are named as candidates, exactly; not looked at if not given.
    #[serde(default)]
    pub candidates: Option<OneOrMany<String>>,
}

/// A field of the attribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldName {
    /// Workflow.
    Workflow,
    /// Run.
    Run,
    /// Step.
    Step,
    /// Actor.
    Actor,
    /// Tenant.
    Tenant,
}

/// What a field of the attribution must be.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ExpectedField {
    /// This value, or `none`: absent.
    Value(String),
    /// This value with this trust.
    Trusted(TrustedValue),
}

/// A value and how far it can be relied on.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustedValue {
    /// The value.
    pub value: String,
    /// `engine`, `controller`, `author`, `candidate` or `scan`.
    pub trust: String,
}

/// What a field must be to be absent.
const NONE: &str = "none";

/// What is not as it must be, in words; empty if all is.
pub(super) fn check(want: &ExpectationDoc, alerts: &[Alert], replayed: &Replayed) -> Vec<String> {
    let mut failures = Vec::new();
    let incidents = incidents(alerts);
    let shown = || match incidents.as_slice() {
        [] => "none".to_owned(),
        all => all.iter().map(|alert| in_words(alert)).collect::<Vec<_>>().join("; "),
    };
    if want.normal && !want.incidents.is_empty() {
        failures.push("`normal` and `incidents` exclude each other".to_owned());
    }
    if incidents.len() != want.incidents.len() {
        failures.push(format!(
            "must give {} incident(s), gave {}: {}",
            want.incidents.len(),
            incidents.len(),
            shown()
        ));
    } else {
        for (number, (want, got)) in (1..).zip(want.incidents.iter().zip(&incidents)) {
            failures.extend(compare(want, got).into_iter().map(|what| format!("incident {number}: {what}")));
        }
    }
    if want.normal {
        let loud = |alert: &&Alert| alert.tier.is_some_and(|tier| tier >= Tier::Boundary) || pages(alert);
        failures.extend(
            alerts.iter().filter(loud).map(|alert| format!("must be normal, gave {}", in_words(alert))),
        );
    }
    let digests = last_of_each(alerts, true);
    let lone: Vec<&str> = digests
        .iter()
        .filter_map(|alert| alert.incident.as_ref())
        .flat_map(|digest| &digest.chain)
        .map(|link| &*link.finding)
        .collect();
    if want.deviations.is_some_and(|most| lone.len() > most) {
        let all: Vec<String> = digests.iter().map(|alert| in_words(alert)).collect();
        failures.push(format!(
            "must give at most {} deviation(s), gave {}: {}",
            want.deviations.unwrap_or(0),
            lone.len(),
            all.join("; ")
        ));
    }
    for finding in want.deviating.iter().filter(|finding| !lone.contains(&finding.as_str())) {
        failures
            .push(format!("`{finding}` must be among the lone deviations, which are {}", lone.join(", ")));
    }
    if !want.gaps {
        let gaps = alerts.iter().filter(|alert| alert.kind == AlertKind::Gap);
        failures.extend(gaps.map(|alert| format!("must give no gap, gave: {}", alert.title)));
    }
    if let Some(profile) = &want.profile {
        let wrong = replayed.profiles.iter().filter(|(_, got)| *got != profile);
        failures.extend(
            wrong.map(|(worker, got)| format!("worker {worker} has profile `{got}`, must have `{profile}`")),
        );
    }
    failures
}

/// Whether somebody is woken by this alert.
pub(super) fn pages(alert: &Alert) -> bool {
    alert.kind == AlertKind::Incident && alert.severity >= Severity::Critical
}

/// The last alert of each incident, in order of the first.
fn incidents(alerts: &[Alert]) -> Vec<&Alert> {
    last_of_each(alerts, false)
}

/// The last alert of each incident, or of each digest of deviations that belong to none, in order of the first.
fn last_of_each(alerts: &[Alert], digests: bool) -> Vec<&Alert> {
    let mut order: Vec<&str> = Vec::new();
    let mut last: BTreeMap<&str, &Alert> = BTreeMap::new();
    for alert in alerts {
        if let Some(incident) = &alert.incident
            && incident.is_digest() == digests
            && last.insert(&incident.id, alert).is_none()
        {
            order.push(&incident.id);
        }
    }
    order.into_iter().filter_map(|id| last.get(id).copied()).collect()
}

fn in_words(alert: &Alert) -> String {
    let tier = alert.tier.map_or("no tier", Tier::name);
    let chain = alert.incident.as_ref().map_or_else(
        || alert.finding.as_ref().map(|finding| finding.id.clone()).unwrap_or_default(),
        |incident| {
            let steps = incident.chain.iter().map(|link| match &link.object {
                Some(object) => format!("{} {object}", link.finding),
                None => link.finding.clone(),
            });
            steps.collect::<Vec<_>>().join(", ")
        },
    );
    format!("{tier}: {} [{chain}]", alert.title)
}

fn compare(want: &ExpectedIncident, got: &Alert) -> Vec<String> {
    let mut failures = Vec::new();
    if got.tier != Some(want.tier) {
        failures.push(format!("must be of tier {}, is {}", want.tier, in_words(got)));
    }
    let chain: Vec<&str> =
        got.incident.iter().flat_map(|incident| &incident.chain).map(|link| &*link.finding).collect();
    for finding in want.findings.iter().filter(|finding| !chain.contains(&finding.as_str())) {
        failures.push(format!("`{finding}` must be in its chain, which is {}", chain.join(", ")));
    }
    for finding in want.not.iter().filter(|finding| chain.contains(&finding.as_str())) {
        failures.push(format!("`{finding}` must not be in its chain, which is {}", chain.join(", ")));
    }
    let radius = || got.blast_radius.iter();
    let taken = radius().flat_map(|radius| &radius.taken).map(|taken| &*taken.identity);
    failures.extend(exactly("take", "took", want.taken.as_ref(), taken));
    let used = radius().flat_map(|radius| &radius.used).map(String::as_str);
    failures.extend(exactly("use", "used", want.used.as_ref(), used));
    let role = got.process.as_ref().and_then(|process| process.role.as_deref());
    if want.role.is_some() && want.role.as_deref() != role {
        failures.push(format!(
            "its newest finding must be of role `{}`, is of {role:?}",
            want.role.as_deref().unwrap_or_default()
        ));
    }
    let empty = Attribution::default();
    let attribution = got.attribution.as_ref().unwrap_or(&empty);
    for (name, wanted) in &want.attribution {
        let got = match name {
            FieldName::Workflow => &attribution.workflow,
            FieldName::Run => &attribution.run,
            FieldName::Step => &attribution.step,
            FieldName::Actor => &attribution.actor,
            FieldName::Tenant => &attribution.tenant,
        };
        if let Some(wrong) = field(wanted, got.as_ref()) {
            failures.push(format!("attribution: {name:?} {wrong}").to_lowercase());
        }
    }
    let candidates = attribution.candidates.iter().map(|candidate| &*candidate.value);
    failures.extend(exactly("name the candidates", "named", want.candidates.as_ref(), candidates));
    failures
}

/// What is wrong with a list that must hold exactly these, in any order; nothing if it is not asked for.
fn exactly<'a>(
    must: &str,
    did: &str,
    want: Option<&OneOrMany<String>>,
    got: impl Iterator<Item = &'a str>,
) -> Option<String> {
    let mut want: Vec<&str> = want?.iter().map(String::as_str).collect();
    let mut got: Vec<&str> = got.collect();
    want.sort_unstable();
    got.sort_unstable();
    (want != got).then(|| format!("must {must} [{}], {did} [{}]", want.join(", "), got.join(", ")))
}

fn field(want: &ExpectedField, got: Option<&Attributed>) -> Option<String> {
    let (value, trust) = match want {
        ExpectedField::Value(value) => (value, None),
        ExpectedField::Trusted(want) => (&want.value, Some(&want.trust)),
    };
    let shown = || {
        got.map_or_else(
            || "absent".to_owned(),
            |got| format!("`{}` ({}, from {})", got.value, got.trust, got.source),
        )
    };
    let right = match got {
        None => value == NONE && trust.is_none(),
        Some(got) => got.value == *value && trust.is_none_or(|trust| got.trust == *trust),
    };
    if right {
        return None;
    }
    let wanted = trust.map_or_else(|| format!("`{value}`"), |trust| format!("`{value}` ({trust})"));
    Some(format!("must be {wanted}, is {}", shown()))
}

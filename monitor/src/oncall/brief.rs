//! What a page tells of an alert: bounded, on one line each, without anything that steers a display.
//!
//! The alert itself may have 64 KiB; a desk keeps this of it, so that a thousand rows stay small and can be written down at
//! every change.

use serde::{Deserialize, Serialize};

use super::page::clock;
use crate::alert::{Alert, AlertKind, Attributed, SafeAlert, Severity, State, Taken, Tier, escape};

/// Most links of the chain: the first, and the newest.
const LINKS: usize = 5;
/// Most identities by name.
const TAKEN: usize = 8;
/// Most of those with what to do about each.
const RESPONDED: usize = 3;
/// Most steps of the response.
const STEPS: usize = 4;
/// Most postures of a worker.
const POSTURES: usize = 4;
/// Most candidates of a run.
const CANDIDATES: usize = 4;

/// A command must not be cut.
const STEP: usize = 800;
const LONG: usize = 300;
const MEDIUM: usize = 160;
const SHORT: usize = 80;

/// An alert in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brief {
    /// Id of the incident or condition.
    pub id: String,
    /// What is reported.
    pub kind: AlertKind,
    /// Where it stands.
    pub state: State,
    /// How far out of the sandbox; only for incidents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// How urgent.
    pub severity: Severity,
    /// A test: nothing happened.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test: bool,
    /// What happened, in one sentence.
    pub title: String,
    /// What it is called: the finding that took it to its tier, or the condition.
    pub name: String,
    /// When it began, RFC 3339.
    pub first: String,
    /// When the newest of it happened, RFC 3339.
    pub last: String,
    /// Findings so far.
    #[serde(default)]
    pub findings: u64,
    /// Worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Engine of the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Profile of the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Pod of the worker, `NAMESPACE/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Node: the Kubernetes node, else the host.
    pub node: String,
    /// Cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Which run, as far as that is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run: Vec<RunId>,
    /// How it went.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<Link>,
    /// Links that are not shown.
    #[serde(default)]
    pub more_links: u64,
    /// Identities taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<TakenId>,
    /// How many were taken, those not named too.
    #[serde(default)]
    pub taken_count: u64,
    /// What to do first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// Steps that are not shown.
    #[serde(default)]
    pub more_steps: u64,
    /// More on a condition: what was missed, what is the matter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<String>,
    /// How it was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing: Option<String>,
}

/// A part of the attribution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunId {
    /// `workflow`, `run`, `step`, `actor`, `tenant` or `candidate`.
    pub field: String,
    /// Value.
    pub value: String,
    /// Who says so.
    pub trust: String,
}

/// A link of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// When, RFC 3339.
    pub time: String,
    /// How far out.
    pub tier: Tier,
    /// What, in words: its title, else its finding.
    pub what: String,
    /// Program, path or address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

/// An identity that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenId {
    /// Its id.
    pub identity: String,
    /// What its holder can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gives: Option<String>,
    /// How to make it worthless; only for the first few.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub respond: Option<String>,
}

/// Whether somebody is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    /// To be looked at in working hours.
    Ticket,
    /// Wakes somebody.
    Page,
}

impl Urgency {
    /// Its name in keys.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ticket => "ticket",
            Self::Page => "page",
        }
    }
}

impl Brief {
    /// The brief of an alert. Only a [`SafeAlert`] has one: its secrets are masked.
    pub fn of(alert: &SafeAlert, id: &str) -> Self {
        let alert: &Alert = alert;
        let incident = alert.incident.as_ref();
        let worker = alert.worker.as_ref();
        let taken = alert.blast_radius.as_ref().map_or(&[][..], |radius| &radius.taken);
        let (chain, more_links) = chain(alert);
        let (steps, more_steps) = steps(&alert.respond);
        Self {
            id: id.to_owned(),
            kind: alert.kind,
            state: alert.state,
            tier: alert.tier,
            severity: alert.severity,
            test: alert.test,
            title: line(&alert.title, LONG),
            name: name(alert),
            first: incident.map_or(&alert.time, |incident| &incident.first).clone(),
            last: incident.map_or(&alert.time, |incident| &incident.last).clone(),
            findings: incident.map_or(0, |incident| incident.findings),
            worker: worker.map(|worker| line(&worker.name, SHORT)),
            engine: worker.and_then(|worker| worker.engine.as_deref()).map(|engine| line(engine, SHORT)),
            profile: worker.map(|worker| line(&worker.profile, SHORT)),
            pod: worker
                .and_then(|worker| worker.pod.as_ref())
                .map(|pod| line(&format!("{}/{}", pod.namespace, pod.name), MEDIUM)),
            node: line(worker.and_then(|worker| worker.node.as_deref()).unwrap_or(&alert.host.name), SHORT),
            cluster: alert.host.cluster.as_deref().map(|cluster| line(cluster, SHORT)),
            environment: alert.environment.as_deref().map(|environment| line(environment, SHORT)),
            run: run(alert),
            chain,
            more_links,
            taken: taken.iter().take(TAKEN).enumerate().map(taken_id).collect(),
            taken_count: taken.len() as u64,
            steps,
            more_steps,
            detail: detail(alert),
            closing: closing(alert),
        }
    }

    /// Whether it wakes somebody: an incident in which an identity was taken or more, or whose severity says so. A condition
    /// of the agent or of a worker's set-up never does.
    pub fn urgency(&self) -> Urgency {
        let wakes =
            self.tier.is_some_and(|tier| tier >= Tier::Identity) || self.severity == Severity::Critical;
        if wakes && self.kind == AlertKind::Incident { Urgency::Page } else { Urgency::Ticket }
    }

    /// Lets go of what is only for who reads it now: the chain, the steps, the details.
    pub(super) fn shorten(&mut self) {
        (self.chain, self.steps, self.detail, self.taken) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        (self.more_links, self.more_steps) = (0, 0);
    }

    /// What of it is worth telling the same person again.
    pub(super) fn gist(&self) -> Gist {
        Gist { tier: self.tier, severity: self.severity, taken: self.taken_count }
    }
}

/// What is told again when it changes: on everything else people are left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gist {
    tier: Option<Tier>,
    severity: Severity,
    taken: u64,
}

impl Gist {
    /// Whether the other one is worse in kind, not only more of the same.
    pub(super) fn is_milder_than(self, other: Self) -> bool {
        (self.tier, self.severity) < (other.tier, other.severity)
    }
}

/// The text on one line, shown as it is whatever it holds, of at most `most` characters.
pub(super) fn line(text: &str, most: usize) -> String {
    let text = escape::for_terminal(text);
    match text.char_indices().nth(most) {
        None => text.into_owned(),
        Some(_) => {
            let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
            short.push('…');
            short
        }
    }
}

fn name(alert: &Alert) -> String {
    let condition = |health: &crate::alert::HealthInfo| format!("{}-{}", alert.kind.name(), health.condition);
    let of_tier = alert.incident.as_ref().and_then(|incident| {
        incident.chain.iter().find(|link| Some(link.tier) == alert.tier).map(|link| link.finding.clone())
    });
    let name = of_tier
        .or_else(|| alert.finding.as_ref().map(|finding| finding.id.clone()))
        .or_else(|| alert.gap.as_ref().map(|gap| format!("gap-{}", gap.reason)))
        .or_else(|| alert.posture.as_ref()?.worst().map(|worst| format!("posture-{worst}")))
        .or_else(|| alert.health.as_ref().map(condition))
        .unwrap_or_else(|| alert.kind.name().to_owned());
    line(&name, SHORT)
}

fn run(alert: &Alert) -> Vec<RunId> {
    let Some(who) = &alert.attribution else { return Vec::new() };
    let one = |field: &str, id: &Attributed| RunId {
        field: field.to_owned(),
        value: line(&id.value, MEDIUM),
        trust: line(&id.trust, SHORT),
    };
    [
        ("workflow", &who.workflow),
        ("run", &who.run),
        ("step", &who.step),
        ("actor", &who.actor),
        ("tenant", &who.tenant),
    ]
    .into_iter()
    .filter_map(|(field, id)| Some(one(field, id.as_ref()?)))
    .chain(who.candidates.iter().take(CANDIDATES).map(|id| one("candidate", id)))
    .collect()
}

/// The first link says how it began, the newest what it came to.
fn chain(alert: &Alert) -> (Vec<Link>, u64) {
    let Some(incident) = &alert.incident else { return (Vec::new(), 0) };
    let links = &incident.chain;
    let left_out = links.len().saturating_sub(LINKS);
    let shown = links.iter().take(1).chain(links.iter().skip(1 + left_out));
    let unlisted = incident.unlisted.as_ref().map_or(0, |unlisted| unlisted.findings);
    let shown = shown
        .map(|link| Link {
            time: link.time.clone(),
            tier: link.tier,
            what: line(link.title.as_deref().unwrap_or(&link.finding), MEDIUM),
            object: link.object.as_deref().map(|object| line(object, MEDIUM)),
        })
        .collect();
    (shown, (left_out as u64).saturating_add(unlisted))
}

fn taken_id((number, taken): (usize, &Taken)) -> TakenId {
    let from = taken.from.as_ref().map_or(String::new(), |from| format!(" (from {from})"));
    let respond = (number < RESPONDED && !taken.respond.is_empty()).then(|| line(&taken.respond, LONG));
    TakenId {
        identity: line(&format!("{}{from}", taken.identity), MEDIUM),
        gives: taken.gives.as_deref().map(|gives| line(gives, MEDIUM)),
        respond,
    }
}

/// The first step of each kind (contain, preserve, revoke, …): the rest is for when that is done.
fn steps(all: &[String]) -> (Vec<String>, u64) {
    let mut kinds: Vec<&str> = Vec::new();
    let mut first = Vec::new();
    for step in all {
        let kind = step.split(':').next().unwrap_or_default();
        if first.len() < STEPS && !kinds.contains(&kind) {
            kinds.push(kind);
            first.push(line(step, STEP));
        }
    }
    let more = (all.len() - first.len()) as u64;
    (first, more)
}

fn detail(alert: &Alert) -> Vec<String> {
    let mut detail = Vec::new();
    if let Some(gap) = &alert.gap {
        let lost = gap.lost.map_or("an unknown number of events".to_owned(), |lost| format!("{lost} events"));
        let to = gap.to.as_deref().map_or("now".to_owned(), clock);
        detail.push(line(&format!("{lost} missed, {} to {to} UTC", clock(&gap.from)), MEDIUM));
        detail.extend(gap.detail.as_deref().map(|more| line(more, LONG)));
    }
    if let Some(health) = &alert.health
        && !health.detail.is_empty()
    {
        detail.push(line(&health.detail, 2 * LONG));
    }
    if let Some(posture) = &alert.posture {
        detail.extend(posture.findings.iter().take(POSTURES).map(|item| line(&item.line(), LONG)));
        if !posture.unknown.is_empty() {
            detail.push(line(&format!("not known: {}", posture.unknown.join(", ")), MEDIUM));
        }
    }
    detail
}

fn closing(alert: &Alert) -> Option<String> {
    use crate::alert::ClosedBy;
    if alert.state != State::Closed {
        return None;
    }
    let closure = alert.incident.as_ref().and_then(|incident| incident.closure.as_ref());
    Some(match (closure, alert.closed_by) {
        (Some(closure), _) => line(&format!("by {}: {}", closure.by, closure.reason), LONG),
        (None, Some(ClosedBy::Operator)) => "by a person".to_owned(),
        (None, Some(ClosedBy::Quiet)) => "nothing more happened for long enough".to_owned(),
        (None, Some(ClosedBy::Recovered)) => "it is over".to_owned(),
        (None, None) => "closed".to_owned(),
    })
}

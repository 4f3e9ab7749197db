//! A worker's posture as an alert: one condition per worker, said when it is found, when it changes and when it is over.

use serde::{Deserialize, Serialize};

use super::describe;
use super::envelope::Envelope;
use super::respond;
use crate::alert::{Alert, AlertKind, ClosedBy, PostureInfo, PostureItem, Severity, State, WorkerInfo};
use crate::event::BootNs;
use crate::profile::{PostureFinding, PostureVerdict, RuleSet};
use crate::worker::Worker;

/// What was said of a worker's posture.
#[derive(Clone, Debug, PartialEq)]
pub struct Posture {
    findings: Vec<PostureFinding>,
    unknown: Vec<String>,
}

impl Posture {
    /// What a look at a worker came to, the worst first.
    pub fn new(verdict: PostureVerdict) -> Self {
        let PostureVerdict { mut findings, unknown } = verdict;
        // Stable: else in the order of the rules.
        findings.sort_by_key(|finding| std::cmp::Reverse((finding.reaches_host, finding.severity)));
        Self { findings, unknown: unknown.iter().map(|id| id.to_string()).collect() }
    }

    /// Who leaves the sandbox has the host.
    pub fn reaches_host(&self) -> bool {
        self.findings.iter().any(|finding| finding.reaches_host)
    }

    /// Nothing is the matter, and everything is known.
    pub fn is_fine(&self) -> bool {
        self.findings.is_empty() && self.unknown.is_empty()
    }

    /// Ids of what was found, the worst first.
    pub fn ids(&self) -> Vec<&str> {
        self.findings.iter().map(|finding| &*finding.id).collect()
    }

    /// What was found, in words.
    pub fn lines(&self) -> Vec<String> {
        self.findings.iter().map(|finding| item(finding).line()).collect()
    }

    /// Ids of postures of which it is not known whether the worker has them.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// Whether that is what was said.
    pub fn is_what_was_said(&self, said: &PostureInfo) -> bool {
        said.unknown == self.unknown
            && said.findings.iter().eq(self.findings.iter().map(item).collect::<Vec<_>>().iter())
    }

    /// What an alert says of it, held against what was said `before`.
    fn info(&self, condition: String, before: Option<&PostureInfo>) -> PostureInfo {
        let findings: Vec<PostureItem> = self.findings.iter().map(item).collect();
        let known = before.map_or(&[][..], |before| &before.findings);
        PostureInfo {
            condition,
            reaches_host: self.reaches_host(),
            new: not_in(&findings, known),
            over: not_in(known, &findings),
            findings,
            unknown: self.unknown.clone(),
        }
    }
}

/// Ids of those that are not among the others.
fn not_in(of: &[PostureItem], others: &[PostureItem]) -> Vec<String> {
    let is_new = |item: &&PostureItem| others.iter().all(|other| other.id != item.id);
    of.iter().filter(is_new).map(|item| item.id.clone()).collect()
}

/// What was said of a worker's posture last, for the next run of the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedPosture {
    /// The boot it was said in: cgroup ids are of one boot.
    pub boot: String,
    /// The worker, as it was told.
    pub worker: WorkerInfo,
    /// What was said.
    pub posture: PostureInfo,
}

/// The alert on the end of a worker that ended while no agent ran.
pub fn posture_gone(envelope: &Envelope, saved: &SavedPosture, time: BootNs) -> Alert {
    let title =
        format!("Over: {} (the worker has ended)", lowered(&title_of(&saved.worker.name, &saved.posture)));
    let mut alert = envelope.alert(AlertKind::Posture, Severity::Info, time, title);
    alert.id = envelope.id("posture", &format!("{}:{time}", saved.posture.condition));
    alert.worker = Some(saved.worker.clone());
    close(alert, &saved.posture)
}

fn close(mut alert: Alert, was: &PostureInfo) -> Alert {
    alert.state = State::Closed;
    alert.closed_by = Some(ClosedBy::Recovered);
    let over = was.findings.iter().map(|item| item.id.clone()).collect();
    alert.posture = Some(PostureInfo { over, new: Vec::new(), ..was.clone() });
    alert
}

fn item(finding: &PostureFinding) -> PostureItem {
    PostureItem {
        id: finding.id.to_string(),
        title: finding.title.to_string(),
        severity: finding.severity,
        reaches_host: finding.reaches_host,
        detail: Some(finding.detail.clone()).filter(|detail| !detail.is_empty()),
        rule: Some(describe::rule(&finding.rule)),
    }
}

/// Why a posture is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The worker is set up otherwise now.
    Mended,
    /// There is no such worker any more.
    Gone,
    /// It only keeps its pod's namespaces.
    Sandbox,
}

/// The alert on a worker's posture. `before`: what was said of it last.
pub fn posture_alert(
    envelope: &Envelope,
    (worker, rules): (&Worker, &RuleSet),
    now: &Posture,
    before: Option<&PostureInfo>,
    time: BootNs,
) -> Alert {
    let worst = now.findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Low);
    let info = now.info(condition(envelope, worker), before);
    let title = title_of(&worker.name, &info);
    let state = if before.is_some() { State::Update } else { State::Open };
    let mut alert = base(envelope, (worker, rules), worst, state, title, time);
    alert.posture = Some(info);
    for finding in &now.findings {
        for (catalogue, ids) in &finding.refs {
            let all = alert.refs.entry(catalogue.clone()).or_default();
            all.extend(ids.iter().filter(|id| !all.contains(id)).cloned().collect::<Vec<_>>());
        }
    }
    alert.respond = respond::in_order(now.findings.iter().flat_map(|finding| finding.respond.steps()));
    alert
}

/// The alert on its end: `was` is what was said of it last.
pub fn posture_over(
    envelope: &Envelope,
    (worker, rules): (&Worker, &RuleSet),
    was: &PostureInfo,
    why: Over,
    time: BootNs,
) -> Alert {
    let name = &worker.name;
    let title = match why {
        Over::Mended => format!("Over: worker {name} is set up as it should be"),
        Over::Gone => format!("Over: {} (the worker has ended)", lowered(&title_of(name, was))),
        Over::Sandbox => {
            format!("Over: {} (it only keeps its pod's namespaces)", lowered(&title_of(name, was)))
        }
    };
    close(base(envelope, (worker, rules), Severity::Info, State::Closed, title, time), was)
}

fn base(
    envelope: &Envelope,
    (worker, rules): (&Worker, &RuleSet),
    severity: Severity,
    state: State,
    title: String,
    time: BootNs,
) -> Alert {
    let mut alert = envelope.alert(AlertKind::Posture, severity, time, title);
    alert.id = envelope.id("posture", &format!("{}:{time}", worker.cgroup));
    alert.state = state;
    let (engine, profile) = (rules.engine(worker.profile), rules.profile_name(worker.profile));
    alert.worker = Some(describe::worker(worker, Some(engine), profile));
    alert
}

/// A cgroup's id is given once in a boot.
fn condition(envelope: &Envelope, worker: &Worker) -> String {
    envelope.id("posture-condition", &format!("{}:{}", worker.cgroup, worker.path))
}

fn title_of(name: &str, posture: &PostureInfo) -> String {
    let worst = posture.findings.first().map_or("could not be looked at", |finding| &*finding.title);
    match posture.findings.len() {
        0 | 1 => format!("Worker {name} {worst}"),
        count => format!("Worker {name} {worst}, and {} more", count - 1),
    }
}

fn lowered(title: &str) -> String {
    title.strip_prefix("Worker ").map_or_else(|| title.to_owned(), |rest| format!("worker {rest}"))
}

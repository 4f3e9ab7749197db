//! A worker's posture as an alert: one condition per worker, said when it is found, when it changes and when it is over.

use super::describe;
use super::envelope::Envelope;
use super::respond;
use crate::alert::{Alert, AlertKind, ClosedBy, PostureInfo, PostureItem, Severity, State};
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

    /// What an alert says of it, held against what was said `before`.
    fn info(&self, condition: String, before: Option<&Self>) -> PostureInfo {
        let not_in = |of: &Self, other: Option<&Self>| -> Vec<String> {
            let known = other.map(Self::ids).unwrap_or_default();
            of.ids().into_iter().filter(|id| !known.contains(id)).map(str::to_owned).collect()
        };
        PostureInfo {
            condition,
            reaches_host: self.reaches_host(),
            findings: self.findings.iter().map(item).collect(),
            new: not_in(self, before),
            over: before.map(|before| not_in(before, Some(self))).unwrap_or_default(),
            unknown: self.unknown.clone(),
        }
    }
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
}

/// The alert on a worker's posture. `before`: what was said of it last.
pub fn posture_alert(
    envelope: &Envelope,
    (worker, rules): (&Worker, &RuleSet),
    now: &Posture,
    before: Option<&Posture>,
    time: BootNs,
) -> Alert {
    let worst = now.findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Low);
    let title = title_of(&worker.name, now);
    let state = if before.is_some() { State::Update } else { State::Open };
    let mut alert = base(envelope, (worker, rules), worst, state, title, time);
    alert.posture = Some(now.info(condition(envelope, worker), before));
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
    was: &Posture,
    why: Over,
    time: BootNs,
) -> Alert {
    let name = &worker.name;
    let title = match why {
        Over::Mended => format!("Over: worker {name} is set up as it should be"),
        Over::Gone => format!("Over: {} (the worker has ended)", lowered(&title_of(name, was))),
    };
    let mut alert = base(envelope, (worker, rules), Severity::Info, State::Closed, title, time);
    alert.closed_by = Some(ClosedBy::Recovered);
    let over = was.ids().into_iter().map(str::to_owned).collect();
    let info = was.info(condition(envelope, worker), Some(was));
    alert.posture = Some(PostureInfo { over, ..info });
    alert
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

fn title_of(name: &str, posture: &Posture) -> String {
    let worst = posture.findings.first().map_or("could not be looked at", |finding| &*finding.title);
    match posture.findings.len() {
        0 | 1 => format!("Worker {name} {worst}"),
        count => format!("Worker {name} {worst}, and {} more", count - 1),
    }
}

fn lowered(title: &str) -> String {
    title.strip_prefix("Worker ").map_or_else(|| title.to_owned(), |rest| format!("worker {rest}"))
}

//! One incident: what its findings have in common, what they showed so far, and the alert that says it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::chain::{Added, Chain, Link};
use super::connects::Settled;
use super::envelope::{Envelope, NAMESPACE, WallClock};
use super::radius::Radius;
use super::respond::Steps;
use super::scene::Scene;
use super::scope::{self, Anchor};
use super::{attribution, describe, offers, severity, title};
use crate::alert::{
    self, Alert, AlertKind, Attribution, ClosedBy, Closure, Evidence, Refs, Severity, State, WorkerInfo,
    redact,
};
use crate::event::BootNs;
use crate::profile::{Finding, Tier};
use crate::worker::Reach;

/// An incident in which nothing happened for this long has ended; a later finding opens a new one. ns.
pub const IDLE: BootNs = 15 * 60 * 1_000_000_000;
/// An incident of tier boundary or below is closed after this long without a finding. ns.
pub const QUIET: BootNs = 30 * 60 * 1_000_000_000;
/// An incident is not continued beyond this age. ns.
const EPOCH_MAX: BootNs = 24 * 3_600_000_000_000;
/// What only repeats is first said after this long, then after twice as long each time. ns.
const REPEAT_FIRST: BootNs = 30 * 1_000_000_000;
/// And at the latest after this long. ns.
const REPEAT_LAST: BootNs = 10 * 60 * 1_000_000_000;
/// What became of a connect, and what was within reach, is said after this long, together with what else there is by then. ns.
const RESULT_AFTER: BootNs = 1_000_000_000;
/// Most processes remembered as the incident's own.
const ANCHORS_MAX: usize = 64;
/// Most documents that would allow what it consists of.
const ALLOW_MAX: usize = 8;

/// An incident.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Incident {
    pub(super) id: String,
    pub(super) cgroup: u64,
    pub(super) scope: String,
    pub(super) first: BootNs,
    pub(super) last: BootNs,
    pub(super) revision: u64,
    findings: u64,
    pub(super) tier: Tier,
    severity: Severity,
    chain: Chain,
    new: BTreeSet<String>,
    pub(super) radius: Radius,
    steps: Steps,
    refs: Refs,
    allow: Vec<String>,
    pub(super) anchors: BTreeSet<Anchor>,
    /// The alert as it was last made: what an update without a new finding repeats.
    alert: Alert,
    said: BootNs,
    /// When what was not said yet is to be said.
    due: Option<BootNs>,
    /// It is more than repeats.
    #[serde(default)]
    is_more: bool,
    wait: BootNs,
    /// Key of the link that the alert's finding is.
    #[serde(default)]
    shown: u64,
    /// One reading of the clock for all its times: those of one incident can be compared.
    #[serde(default)]
    clock: Option<WallClock>,
    pub(super) state: State,
    closure: Option<Closure>,
    /// Its times in words, where this boot's clock cannot tell them.
    times: Option<[String; 2]>,
    /// It is of another boot.
    is_past: bool,
}

impl Incident {
    /// An incident that begins with what happens in this scene; without a finding yet.
    pub(super) fn new(
        envelope: &Envelope,
        place: &(u64, String),
        finding: &Finding,
        scene: &Scene<'_>,
    ) -> Self {
        let now = scene.event.time;
        Self {
            id: scope::id(&envelope.host.boot_id, place.0, &place.1, now),
            cgroup: place.0,
            scope: place.1.clone(),
            first: now,
            last: now,
            revision: 0,
            findings: 0,
            tier: Tier::Deviation,
            severity: Severity::Info,
            chain: Chain::default(),
            new: BTreeSet::new(),
            radius: Radius::default(),
            steps: Steps::default(),
            refs: Refs::new(),
            allow: Vec::new(),
            anchors: BTreeSet::new(),
            alert: alert_of(envelope, finding, scene, None),
            said: now,
            due: None,
            is_more: false,
            wait: REPEAT_FIRST,
            shown: 0,
            clock: Some(envelope.clock),
            state: State::Open,
            closure: None,
            times: None,
            is_past: false,
        }
    }

    fn clock(&self, envelope: &Envelope) -> WallClock {
        self.clock.unwrap_or(envelope.clock)
    }

    /// Whether a finding at this time belongs to a new epoch.
    pub(super) fn over(&self, now: BootNs) -> bool {
        self.is_past || now.saturating_sub(self.last) >= IDLE || now.saturating_sub(self.first) >= EPOCH_MAX
    }

    /// Whether it may be closed without a person: nothing above boundary, and long enough quiet.
    pub(super) fn is_quiet(&self, now: BootNs) -> bool {
        self.tier <= Tier::Boundary && (self.is_past || now.saturating_sub(self.last) >= QUIET)
    }

    pub(super) fn alert(&self) -> &Alert {
        &self.alert
    }

    pub(super) fn set_alert(&mut self, alert: Alert) {
        self.alert = alert;
    }

    /// Whether it tells of deviations that belong to no incident.
    pub(super) fn is_digest(&self) -> bool {
        self.scope == scope::DIGEST || self.scope.starts_with(scope::OPERATOR)
    }

    /// After a restart of the agent: numbers that may have been used are left out.
    pub(super) fn skip_revisions(&mut self, count: u64) {
        self.revision = self.revision.saturating_add(count);
    }

    /// The host was started again: its times cannot be told by this boot's clock, and nothing can be added to it.
    pub(super) fn of_another_boot(&mut self) {
        self.times = self.alert.incident.as_ref().map(|shown| [shown.first.clone(), shown.last.clone()]);
        self.due = None;
        self.is_past = true;
    }

    pub(super) fn due(&self) -> Option<BootNs> {
        self.due
    }

    pub(super) fn has_evidence(&self) -> bool {
        self.alert.evidence.is_some()
    }

    pub(super) fn set_evidence(&mut self, evidence: Option<Evidence>) {
        self.alert.evidence = evidence;
    }

    pub(super) fn set_title(&mut self, title: String) {
        self.alert.title = title;
    }

    /// Earlier deviations of its scope: they belong to its story.
    pub(super) fn precede(&mut self, links: Vec<Link>, envelope: &Envelope) {
        let clock = self.clock(envelope);
        for mut link in links {
            self.findings += 1;
            link.link.time = clock.format(link.at);
            self.chain.add(link);
        }
    }

    /// Adds a finding; whether it shows something that the incident did not have yet.
    pub(super) fn add(
        &mut self,
        finding: &Finding,
        scene: &Scene<'_>,
        attribution: Option<Attribution>,
        envelope: &Envelope,
    ) -> bool {
        let now = scene.event.time;
        self.findings += 1;
        // Findings of two lanes may come out of order.
        self.last = self.last.max(now);
        let higher = finding.tier > self.tier || self.revision == 0;
        self.tier = self.tier.max(finding.tier);
        self.severity = self.severity.max(severity::of(finding, scene));
        let clock = self.clock(envelope);
        let link = Link::of(finding, scene, &envelope.host.boot_id, &clock);
        let key = link.key;
        let added = self.chain.add(link);
        let taken = self.radius.note(finding, scene);
        self.steps.add(finding);
        self.add_refs(&finding.refs);
        if let Some(allow) = finding.allow_with.as_deref().map(redact::text)
            && self.allow.len() < ALLOW_MAX
            && self.allow.iter().all(|known| **known != *allow)
        {
            self.allow.push(allow.into_owned());
        }
        if self.anchors.len() < ANCHORS_MAX {
            self.anchors.extend(scope::anchors(scene, &self.scope));
        }
        let is_new = added == Added::New || taken || higher;
        if is_new {
            self.new.insert(finding.id.to_string());
            let title = title::grown(&self.alert.title, &finding.title, self.chain.len());
            let attribution = attribution::merged(self.alert.attribution.take(), attribution);
            // The rest stays as it was said until it is said again.
            self.alert.title = title;
            self.alert.attribution = attribution;
            show(&mut self.alert, &envelope.host.boot_id, &clock, finding, scene);
            self.shown = key;
        }
        is_new
    }

    fn add_refs(&mut self, refs: &Refs) {
        for (catalogue, ids) in refs {
            let all = self.refs.entry(catalogue.clone()).or_default();
            for id in ids {
                if !all.contains(id) {
                    all.push(id.clone());
                }
            }
        }
    }

    /// What became of the connect of a link.
    pub(super) fn settle(&mut self, link: u64, contact: &str, result: &Settled, now: BootNs) {
        if !self.chain.settle(link, &result.in_words) {
            return;
        }
        self.radius.settle(contact, &result.in_words);
        if self.shown == link {
            if let Some(network) = &mut self.alert.network {
                network.result = Some(result.in_words.clone());
            }
            if let Some(finding) = &mut self.alert.finding {
                finding.outcome = result.outcome().to_owned();
            }
        }
        self.is_more = true;
        self.due_at(now.saturating_add(RESULT_AFTER));
    }

    /// More is known of its worker; whether it says so.
    pub(super) fn worker_known(&mut self, worker: &WorkerInfo, now: BootNs) -> bool {
        if self.alert.worker.as_ref() == Some(worker) {
            return false;
        }
        self.alert.worker = Some(worker.clone());
        self.is_more = true;
        self.due_at(now.saturating_add(RESULT_AFTER));
        true
    }

    /// Its worker turns out to reach the host; whether that makes it more urgent.
    pub(super) fn reaches_host(&mut self, now: BootNs) -> bool {
        let raised = severity::raised(self.severity, true);
        if raised == self.severity {
            return false;
        }
        self.severity = raised;
        self.is_more = true;
        self.due_at(now);
        true
    }

    /// What its process could reach; whether that is anything.
    pub(super) fn within_reach(&mut self, reach: Reach, now: BootNs) -> bool {
        let is_news = self.radius.reach(reach);
        if is_news {
            self.is_more = true;
            self.due_at(now.saturating_add(RESULT_AFTER));
        }
        is_news
    }

    /// Something is to be said with the next update of repeats.
    pub(super) fn repeated(&mut self) {
        self.due_at(self.said.saturating_add(self.wait));
    }

    /// Something is to be said by then.
    pub(super) fn due_at(&mut self, time: BootNs) {
        self.due = Some(self.due.map_or(time, |due| due.min(time)));
    }

    /// The alert on what is new.
    pub(super) fn say(&mut self, envelope: &Envelope, now: BootNs) -> Alert {
        self.wait = REPEAT_FIRST;
        self.snapshot(envelope, if self.revision == 0 { State::Open } else { State::Update }, now)
    }

    /// The alert on what is due: of what only repeated the next one comes later.
    pub(super) fn say_due(&mut self, envelope: &Envelope, now: BootNs) -> Alert {
        if !self.is_more {
            self.wait = self.wait.saturating_mul(2).min(REPEAT_LAST);
        }
        self.snapshot(envelope, State::Update, now)
    }

    /// The alert on its end: nothing more happens.
    pub(super) fn end(&mut self, envelope: &Envelope, now: BootNs) -> Alert {
        self.state = State::Ended;
        self.snapshot(envelope, State::Ended, now)
    }

    /// The alert on its closing.
    pub(super) fn close(
        &mut self,
        envelope: &Envelope,
        by: ClosedBy,
        closure: Option<Closure>,
        now: BootNs,
    ) -> Alert {
        self.state = State::Closed;
        self.closure = closure;
        self.alert.closed_by = Some(by);
        self.snapshot(envelope, State::Closed, now)
    }

    /// The alert as it stands, with a new revision.
    fn snapshot(&mut self, envelope: &Envelope, state: State, now: BootNs) -> Alert {
        self.revision += 1;
        self.said = now;
        self.due = None;
        self.is_more = false;
        let clock = self.clock(envelope);
        let alert = &mut self.alert;
        alert.state = state;
        let [first, last] =
            self.times.clone().unwrap_or_else(|| [clock.format(self.first), clock.format(self.last)]);
        alert.time.clone_from(&last);
        alert.id = alert_id(&self.id, self.revision);
        alert.tier = Some(self.tier);
        alert.severity = self.severity;
        alert.agent.rules.clone_from(&envelope.rules);
        alert.refs.clone_from(&self.refs);
        let worker = alert.worker.as_ref().map(|worker| &worker.cgroup);
        let freeze = worker.filter(|_| self.severity >= Severity::High);
        alert.respond = self.steps.shown(freeze.map(|cgroup| (&*envelope.cgroup_root, cgroup)));
        alert.blast_radius = self.radius.shown();
        // Never in a page: at 3 a.m. the quickest way to silence must not be the one offered.
        let may_allow = self.tier == Tier::Deviation && !self.allow.is_empty();
        alert.allow_with = may_allow.then(|| offers::as_one(&self.allow));
        alert.truncated = [
            (self.chain.unlisted().is_some(), "incident.chain"),
            (self.radius.is_cut(), "blast_radius"),
            (self.scope == scope::OVERFLOW, "incident.scope"),
        ]
        .into_iter()
        .filter(|(cut, _)| *cut)
        .map(|(_, part)| part.to_owned())
        .collect();
        if self.scope == scope::DIGEST || self.scope.starts_with(scope::OPERATOR) {
            alert.title = title::digest(alert, self.chain.len());
        }
        alert.incident = Some(alert::Incident {
            id: self.id.clone(),
            revision: self.revision,
            run_key: self.scope.clone(),
            first,
            last,
            findings: self.findings,
            new: std::mem::take(&mut self.new).into_iter().collect(),
            chain: self.chain.in_order(),
            unlisted: self.chain.unlisted().cloned(),
            closure: self.closure.clone(),
        });
        alert.clone()
    }
}

#[cfg(test)]
impl Incident {
    /// As little as there can be of an incident.
    pub(super) fn for_tests(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            cgroup: 1,
            scope: "run:1".to_owned(),
            first: 0,
            last: 0,
            revision: 1,
            findings: 1,
            tier: Tier::Boundary,
            severity: Severity::High,
            chain: Chain::default(),
            new: BTreeSet::new(),
            radius: Radius::default(),
            steps: Steps::default(),
            refs: Refs::new(),
            allow: Vec::new(),
            anchors: BTreeSet::new(),
            alert: alert::fixture::incident(),
            said: 0,
            due: None,
            is_more: false,
            wait: REPEAT_FIRST,
            shown: 0,
            clock: None,
            state: State::Open,
            closure: None,
            times: None,
            is_past: false,
        }
    }
}

/// The alert's id: the same for the same revision of the same incident.
fn alert_id(incident: &str, revision: u64) -> String {
    uuid::Uuid::new_v5(&NAMESPACE, format!("{incident}:{revision}").as_bytes()).to_string()
}

/// An alert that shows this finding; the incident's part is filled in when it is said.
fn alert_of(
    envelope: &Envelope,
    finding: &Finding,
    scene: &Scene<'_>,
    attribution: Option<Attribution>,
) -> Alert {
    let time = scene.event.time;
    let mut alert =
        envelope.alert(AlertKind::Incident, severity::of(finding, scene), time, finding.title.clone());
    alert.attribution = attribution;
    show(&mut alert, &envelope.host.boot_id, &envelope.clock, finding, scene);
    alert
}

/// Lets an alert show this finding.
fn show(alert: &mut Alert, boot_id: &str, clock: &WallClock, finding: &Finding, scene: &Scene<'_>) {
    alert.finding = Some(describe::finding(finding, scene.event));
    alert.worker = scene.worker.map(|worker| {
        let profile = scene.rules.profile_name(scene.profile);
        describe::worker(worker, Some(scene.rules.engine(scene.profile)), profile)
    });
    alert.process = Some(describe::process(scene, boot_id, clock));
    alert.file = describe::file(finding, scene.event);
    alert.network = describe::network(finding, scene.event);
}

//! Incidents: the findings of one run or lineage in one worker, as one alert that grows.
//!
//! The first finding of tier boundary or above opens an incident; what is new in it is said at once, what repeats is
//! counted and said with the next update. Deviations alone never open one: each distinct one is an alert of its own once an
//! hour, but in an open incident they join the chain, where they are worth more.

use std::collections::{BTreeSet, HashMap};

use sha2::{Digest, Sha256};

use super::describe;
use super::deviation::Deviations;
use super::envelope::{Envelope, NAMESPACE};
use super::scene::Scene;
use crate::alert::{
    self, Alert, AlertKind, Attribution, BlastRadius, ChainLink, ClosedBy, Refs, Severity, State, Taken,
};
use crate::event::{Body, BootNs};
use crate::profile::{Finding, FindingKind, RoleKind, Tier};

/// An incident in which nothing happened for this long has ended; a later finding opens a new one. ns.
pub const IDLE: BootNs = 15 * 60 * 1_000_000_000;
/// An incident of tier boundary is closed after this long without a finding. ns.
pub const QUIET: BootNs = 30 * 60 * 1_000_000_000;
/// An incident is not continued beyond this age. ns.
const EPOCH_MAX: BootNs = 24 * 3_600_000_000_000;
/// Repeats are said at most this often. ns.
const REPEAT_EVERY: BootNs = 30 * 1_000_000_000;
/// Most links of a chain, taken identities, contacted addresses.
const LINKS_MAX: usize = 64;
/// Most incidents open at once.
const OPEN_MAX: usize = 4096;

/// Grows incidents from findings.
pub struct Detector {
    /// What every alert carries.
    pub envelope: Envelope,
    open: HashMap<(u64, String), Incident>,
    /// Ended, not closed yet.
    ended: Vec<Incident>,
    deviations: Deviations,
    /// Incidents dropped because too many were open.
    dropped: u64,
}

struct Incident {
    id: String,
    /// What its findings have in common.
    run_key: String,
    first: BootNs,
    last: BootNs,
    revision: u64,
    findings: u64,
    tier: Tier,
    severity: Severity,
    chain: Vec<ChainLink>,
    /// A link could not be kept: the chain is full.
    cut: bool,
    /// (finding id, role, object) → place in the chain.
    known: HashMap<(String, String, String), usize>,
    new: BTreeSet<String>,
    taken: Vec<Taken>,
    contacted: Vec<String>,
    /// Steps of each kind (contain, preserve, revoke, rotate, review), in order of the first finding that asks for them.
    respond: Vec<(u8, String)>,
    refs: Refs,
    /// The last alert: what an update without a new finding repeats.
    alert: Alert,
    said: BootNs,
    unsaid: bool,
}

impl Detector {
    /// A detector without incidents.
    pub fn new(envelope: Envelope) -> Self {
        Self {
            envelope,
            open: HashMap::new(),
            ended: Vec::new(),
            deviations: Deviations::default(),
            dropped: 0,
        }
    }

    /// Number of open incidents.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Incidents dropped because too many were open at once; their alerts had been sent.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The highest tier that the open incident of a scene's run or lineage reached; `None`: there is none.
    pub fn reached(
        &self,
        scene: &Scene<'_>,
        attribution: impl FnOnce() -> Option<Attribution>,
    ) -> Option<Tier> {
        let cgroup = scene.cgroup();
        // Asked for every event: without an incident in the worker no scope is made.
        if self.open.keys().all(|(of, _)| *of != cgroup) {
            return None;
        }
        let scope = scope(scene, attribution().as_ref());
        let incident = self.open.get(&(cgroup, scope))?;
        (!incident.over(scene.event.time)).then_some(incident.tier)
    }

    /// Takes a finding; returns the alert that it is reason to send.
    pub fn found(
        &mut self,
        finding: &Finding,
        scene: &Scene<'_>,
        attribution: Option<Attribution>,
    ) -> Option<Alert> {
        let now = scene.event.time;
        let cgroup = scene.cgroup();
        let key = (cgroup, scope(scene, attribution.as_ref()));
        if self.open.get(&key).is_some_and(|incident| incident.over(now))
            && let Some(old) = self.open.remove(&key)
        {
            self.ended.push(old);
        }
        if finding.tier == Tier::Deviation && !self.open.contains_key(&key) {
            return self.deviation(finding, scene, attribution, cgroup, &key.1);
        }
        if self.open.len() >= OPEN_MAX && !self.open.contains_key(&key) {
            self.drop_oldest();
        }
        let envelope = &self.envelope;
        let incident = self.open.entry(key).or_insert_with_key(|(cgroup, scope)| {
            Incident::new(envelope, *cgroup, scope, &alert_of(envelope, finding, scene, None), now)
        });
        let is_new = incident.add(finding, scene, &envelope.clock.format(now), &envelope.host.boot_id);
        incident.last = incident.last.max(now);
        if is_new || incident.revision == 0 {
            let title = incident.title(finding);
            let mut alert = alert_of(envelope, finding, scene, attribution);
            alert.title = title;
            incident.alert = alert;
        }
        if is_new && (finding.tier > Tier::Deviation || incident.revision == 0) {
            return Some(incident.say(envelope, scene.reachable, now));
        }
        incident.unsaid = true;
        None
    }

    /// What is due by now: repeats, incidents that ended, incidents that are closed.
    pub fn tick(&mut self, now: BootNs) -> Vec<Alert> {
        let mut alerts = Vec::new();
        let idle: Vec<_> = self
            .open
            .iter()
            .filter(|(_, incident)| now.saturating_sub(incident.last) >= IDLE)
            .map(|(key, _)| key.clone())
            .collect();
        for key in idle {
            if let Some(incident) = self.open.remove(&key) {
                self.ended.push(incident);
            }
        }
        for incident in self.open.values_mut() {
            if incident.unsaid && now.saturating_sub(incident.said) >= REPEAT_EVERY {
                alerts.push(incident.say(&self.envelope, &[], now));
            }
        }
        let envelope = &self.envelope;
        self.ended.retain_mut(|incident| {
            if incident.alert.state != State::Ended {
                alerts.push(incident.end(envelope, State::Ended, None, now));
            }
            // Identity and above are closed by people only.
            let quiet = now.saturating_sub(incident.last) >= QUIET;
            if quiet && incident.tier == Tier::Boundary {
                alerts.push(incident.end(envelope, State::Closed, Some(ClosedBy::Quiet), now));
            }
            !quiet
        });
        alerts
    }

    /// What was counted but not said yet: at the agent's end.
    pub fn flush(&mut self, now: BootNs) -> Vec<Alert> {
        let unsaid = self.open.values_mut().filter(|incident| incident.unsaid);
        unsaid.map(|incident| incident.say(&self.envelope, &[], now)).collect()
    }

    fn deviation(
        &mut self,
        finding: &Finding,
        scene: &Scene<'_>,
        attribution: Option<Attribution>,
        cgroup: u64,
        scope: &str,
    ) -> Option<Alert> {
        let now = scene.event.time;
        let role = scene.rules.role(scene.profile, scene.role).name;
        let what = format!("{role}\0{}\0{}\0{}", finding.signal.name(), finding.id, scene.object());
        let repeats = self.deviations.is_new(cgroup, what.clone(), now)?;
        let alert = alert_of(&self.envelope, finding, scene, attribution);
        let mut incident = Incident::new(&self.envelope, cgroup, &format!("{scope}\0{what}"), &alert, now);
        scope.clone_into(&mut incident.run_key);
        incident.add(finding, scene, &self.envelope.clock.format(now), &self.envelope.host.boot_id);
        if repeats > 0
            && let Some(link) = incident.chain.first_mut()
        {
            link.repeats = Some(repeats);
        }
        let mut alert = incident.say(&self.envelope, scene.reachable, now);
        alert.allow_with.clone_from(&finding.allow_with);
        Some(alert)
    }

    fn drop_oldest(&mut self) {
        let oldest = self.open.iter().min_by_key(|(_, incident)| incident.last).map(|(key, _)| key.clone());
        if let Some(key) = oldest
            && let Some(incident) = self.open.remove(&key)
        {
            self.dropped += 1;
            tracing::warn!(
                incident = incident.id,
                "too many open incidents: the one idle longest is ended early"
            );
            self.ended.push(incident);
        }
    }
}

fn scope(scene: &Scene<'_>, attribution: Option<&Attribution>) -> String {
    attribution.and_then(trusted_run).map_or_else(|| scene.scope(), |run| format!("run:{run}"))
}

fn trusted_run(attribution: &Attribution) -> Option<String> {
    let run = attribution.run.as_ref()?;
    matches!(run.trust.as_str(), "engine" | "controller").then(|| run.value.clone())
}

/// An alert that shows this finding; the incident's part is filled in by [`Incident::say`].
fn alert_of(
    envelope: &Envelope,
    finding: &Finding,
    scene: &Scene<'_>,
    attribution: Option<Attribution>,
) -> Alert {
    let event = scene.event;
    let mut alert =
        envelope.alert(AlertKind::Incident, severity(finding, scene), event.time, finding.title.clone());
    alert.finding = Some(describe::finding(finding, event));
    alert.worker = scene.worker.map(|worker| {
        let profile = scene.rules.profile_name(scene.profile);
        describe::worker(worker, Some(scene.rules.engine(scene.profile)), profile)
    });
    alert.attribution = attribution;
    alert.process = Some(describe::process(scene, &envelope.host.boot_id, &envelope.clock));
    alert.file = describe::file(finding, event);
    alert.network = describe::network(finding, event);
    alert
}

/// Severity by tier; what an operator does in a session of their own pages nobody below identity.
fn severity(finding: &Finding, scene: &Scene<'_>) -> Severity {
    let kind = scene.rules.role(scene.profile, scene.role).kind;
    if matches!(kind, RoleKind::Operator | RoleKind::Probe) && finding.tier < Tier::Identity {
        return Severity::Low;
    }
    Severity::of(finding.tier)
}

impl Incident {
    fn new(envelope: &Envelope, cgroup: u64, scope: &str, alert: &Alert, now: BootNs) -> Self {
        // kernfs numbers cgroups uniquely within a boot, so no creation time is needed beside the id.
        let mut hash = Sha256::new();
        for part in
            [envelope.host.boot_id.as_bytes(), &cgroup.to_be_bytes(), scope.as_bytes(), &now.to_be_bytes()]
        {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let id = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self {
            id,
            run_key: scope.to_owned(),
            first: now,
            last: now,
            revision: 0,
            findings: 0,
            tier: Tier::Deviation,
            severity: Severity::Info,
            chain: Vec::new(),
            cut: false,
            known: HashMap::new(),
            new: BTreeSet::new(),
            taken: Vec::new(),
            contacted: Vec::new(),
            respond: Vec::new(),
            refs: Refs::new(),
            alert: alert.clone(),
            said: 0,
            unsaid: false,
        }
    }

    /// Whether a finding at this time belongs to a new epoch.
    fn over(&self, now: BootNs) -> bool {
        now.saturating_sub(self.last) >= IDLE || now.saturating_sub(self.first) >= EPOCH_MAX
    }

    /// Adds a finding; whether it shows something that the incident did not have yet.
    fn add(&mut self, finding: &Finding, scene: &Scene<'_>, time: &str, boot_id: &str) -> bool {
        self.findings += 1;
        self.severity = self.severity.max(severity(finding, scene));
        let mut is_new = finding.tier > self.tier;
        self.tier = self.tier.max(finding.tier);
        let object = scene.object();
        let role = scene.rules.role(scene.profile, scene.role).name.to_string();
        let known = (finding.id.to_string(), role, object.clone());
        if let Some(link) = self.known.get(&known).and_then(|place| self.chain.get_mut(*place)) {
            *link.repeats.get_or_insert(0) += 1;
        } else if self.chain.len() < LINKS_MAX {
            is_new = true;
            self.known.insert(known, self.chain.len());
            self.new.insert(finding.id.to_string());
            self.chain.push(ChainLink {
                tier: finding.tier,
                finding: finding.id.to_string(),
                time: time.to_owned(),
                process: describe::key(boot_id, scene.event.subject.key),
                object: Some(object.clone()).filter(|object| !object.is_empty()),
                repeats: None,
            });
        } else {
            self.cut = true;
        }
        self.note_identity(finding, &mut is_new);
        self.note_contact(finding, scene, object);
        for step in steps(finding) {
            if !self.respond.contains(&step) {
                self.respond.push(step);
            }
        }
        for (catalogue, ids) in &finding.refs {
            let all = self.refs.entry(catalogue.clone()).or_default();
            for id in ids {
                if !all.contains(id) {
                    all.push(id.clone());
                }
            }
        }
        is_new
    }

    fn note_identity(&mut self, finding: &Finding, is_new: &mut bool) {
        let Some(identity) = finding.identity.as_ref().filter(|_| finding.taken) else { return };
        if self.taken.len() < LINKS_MAX && self.taken.iter().all(|taken| taken.identity != *identity.id) {
            *is_new = true;
            self.taken.push(describe::taken(identity));
        }
    }

    fn note_contact(&mut self, finding: &Finding, scene: &Scene<'_>, object: String) {
        if !matches!(scene.event.body, Body::Connect(_) | Body::Unix(_)) {
            return;
        }
        let contact = match &finding.endpoint {
            Some(endpoint) => format!("{} ({object})", endpoint.id),
            None => object,
        };
        if self.contacted.len() < LINKS_MAX && !self.contacted.contains(&contact) {
            self.contacted.push(contact);
        }
    }

    fn title(&self, newest: &Finding) -> String {
        if self.chain.len() < 2 || self.alert.title == newest.title {
            return newest.title.clone();
        }
        let first = self.alert.title.split(", then ").next().unwrap_or_default();
        let mut then = newest.title.chars();
        let lowered: String = then
            .next()
            .map(|initial| {
                // Not for names and abbreviations ("SSH key …").
                let next_is_upper = newest.title.chars().nth(1).is_some_and(char::is_uppercase);
                if next_is_upper { initial.to_string() } else { initial.to_lowercase().to_string() }
            })
            .into_iter()
            .chain(then.map(String::from))
            .collect();
        format!("{first}, then {lowered}")
    }

    /// The alert as it stands, with a new revision.
    fn say(&mut self, envelope: &Envelope, reachable: &[std::sync::Arc<str>], now: BootNs) -> Alert {
        self.revision += 1;
        self.said = now;
        self.unsaid = false;
        self.alert.state = if self.revision == 1 { State::Open } else { State::Update };
        self.alert.time = envelope.clock.format(self.last);
        self.alert.id =
            uuid::Uuid::new_v5(&NAMESPACE, format!("{}:{}", self.id, self.revision).as_bytes()).to_string();
        self.alert.tier = Some(self.tier);
        self.alert.severity = self.severity;
        self.alert.agent.rules.clone_from(&envelope.rules);
        self.alert.refs.clone_from(&self.refs);
        let mut respond = self.respond.clone();
        respond.sort_by_key(|(kind, _)| *kind);
        self.alert.respond = respond.into_iter().map(|(_, step)| step).collect();
        let before = self.alert.blast_radius.take().map(|radius| radius.reachable).unwrap_or_default();
        let radius = BlastRadius {
            taken: self.taken.clone(),
            reachable: if reachable.is_empty() {
                before
            } else {
                reachable.iter().map(|id| id.to_string()).collect()
            },
            contacted: self.contacted.clone(),
        };
        self.alert.blast_radius = (radius != BlastRadius::default()).then_some(radius);
        self.alert.truncated = if self.cut { vec!["incident.chain".to_owned()] } else { Vec::new() };
        self.alert.incident = Some(alert::Incident {
            id: self.id.clone(),
            revision: self.revision,
            run_key: self.run_key.clone(),
            first: envelope.clock.format(self.first),
            last: envelope.clock.format(self.last),
            findings: self.findings,
            new: std::mem::take(&mut self.new).into_iter().collect(),
            chain: self.chain.clone(),
        });
        self.alert.clone()
    }

    fn end(&mut self, envelope: &Envelope, state: State, by: Option<ClosedBy>, now: BootNs) -> Alert {
        self.say(envelope, &[], now);
        self.alert.state = state;
        self.alert.closed_by = by;
        self.alert.clone()
    }
}

/// The steps a finding asks for: its rule's, and those of the identity it touched.
fn steps(finding: &Finding) -> Vec<(u8, String)> {
    let order = |step: &str| {
        ["Contain", "Preserve", "Revoke", "Rotate", "Review"]
            .iter()
            .position(|kind| step.starts_with(kind))
            .map_or(u8::MAX, |place| place as u8)
    };
    let identity =
        finding.identity.iter().filter(|_| finding.kind == FindingKind::Expectation || finding.taken);
    finding
        .respond
        .steps()
        .into_iter()
        .chain(identity.flat_map(|identity| identity.respond.steps()))
        .map(|step| (order(&step), step))
        .collect()
}

//! From findings to incidents: which one a finding belongs to, when it is said, and when it is over.
//!
//! The first finding of tier boundary or above opens an incident; what is new in it is said at once, what repeats is counted
//! and said later, ever more rarely. Deviations are told in a digest per worker and hour; only many of them in one lineage that
//! is not an author's are an incident. Time is that of the events, and whatever is kept is walked in order: the same
//! events give the same incidents, byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::chain::Link;
use super::connects::{self, Connects, Waiting};
use super::deviations::{Deviations, PILE};
use super::envelope::Envelope;
use super::incident::Incident;
use super::radius::contact_name;
use super::scene::Scene;
use super::scope::{self, Anchor};
use super::used::Used;
use super::{Recent, describe, title};
use crate::alert::{Alert, Attribution, Evidence};
use crate::event::{Body, BootNs, Outcome, Subject};
use crate::process::ProcessRef;
use crate::profile::{Finding, ProfileId, RoleKind, RuleSet, Tier};
use crate::worker::{Reach, Worker};

/// Most incidents open at once.
const OPEN_MAX: usize = 4096;
/// Most of one worker: what comes beyond shares one.
const WORKER_MAX: usize = 64;
/// Most digests at once.
const DIGESTS_MAX: usize = 4096;

/// Cgroup and scope.
pub(crate) type Place = (u64, String);

/// A process with which an incident began: what it could reach is still to be looked up.
pub struct Begun {
    pub(crate) place: Place,
    /// The process, and what its record said of it.
    pub(crate) at: ProcessRef,
    pub(crate) subject: Subject,
    /// When it began.
    pub(crate) time: BootNs,
}

/// Grows incidents from findings.
pub struct Detector {
    /// What every alert carries.
    pub envelope: Envelope,
    pub(super) open: BTreeMap<Place, Incident>,
    pub(super) digests: BTreeMap<Place, Incident>,
    /// Ended, not closed yet, in the order in which they ended.
    pub(super) ended: Vec<Incident>,
    /// Closed since they were last asked for.
    pub(super) closed: Vec<Incident>,
    /// Incidents that an earlier run of the agent began, by their processes.
    pub(super) restored: BTreeMap<(u64, Anchor), Place>,
    /// Scopes of author roots that are in an open incident, by cgroup and exec id: what is known of a process may be forgotten.
    roots: BTreeMap<(u64, u64), String>,
    pub(super) deviations: Deviations,
    pub(super) connects: Connects,
    pub(super) used: Used,
    begun: Vec<Begun>,
    pub(super) changed: BTreeSet<String>,
    pub(super) dropped: u64,
}

impl Detector {
    /// A detector without incidents.
    pub fn new(envelope: Envelope) -> Self {
        Self {
            envelope,
            open: BTreeMap::new(),
            digests: BTreeMap::new(),
            ended: Vec::new(),
            closed: Vec::new(),
            restored: BTreeMap::new(),
            roots: BTreeMap::new(),
            deviations: Deviations::default(),
            connects: Connects::default(),
            used: Used::default(),
            begun: Vec::new(),
            changed: BTreeSet::new(),
            dropped: 0,
        }
    }

    /// Number of open incidents.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Incidents ended before their time because there were too many; their alerts had been sent.
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
        self.open.range((cgroup, String::new())..).next().filter(|(place, _)| place.0 == cgroup)?;
        let incident = self.open.get(&self.place(scene, attribution().as_ref()))?;
        (!incident.over(scene.event.time)).then_some(incident.tier)
    }

    /// Takes a finding; returns the alerts that it is reason to send.
    pub fn found(
        &mut self,
        finding: &Finding,
        scene: &Scene<'_>,
        attribution: Option<Attribution>,
        recent: &Recent,
    ) -> Vec<Alert> {
        let now = scene.event.time;
        let place = self.place(scene, attribution.as_ref());
        if self.open.get(&place).is_some_and(|incident| incident.over(now)) {
            self.end(&place);
        }
        if self.open.contains_key(&place) {
            return self.grow(place, finding, scene, attribution);
        }
        if finding.tier == Tier::Deviation {
            let digest = self.digest(finding, scene, attribution.clone());
            let pile = self.pile(&place, finding, scene);
            let opened =
                pile.map(|count| self.begin(place, finding, scene, attribution, recent, Some(count)));
            return digest.into_iter().chain(opened).collect();
        }
        vec![self.begin(place, finding, scene, attribution, recent, None)]
    }

    /// An allowed read of an identity by author code: it is part of the blast radius of whatever that code does.
    pub fn used(
        &mut self,
        identity: &Arc<str>,
        scene: &Scene<'_>,
        attribution: impl FnOnce() -> Option<Attribution>,
    ) {
        if self.used.is_last(scene, identity) {
            return;
        }
        let place = self.place(scene, attribution().as_ref());
        if let Some(incident) = self.open.get_mut(&place) {
            incident.radius.note_used(identity);
            incident.repeated();
        }
        self.used.note(place, identity, scene.event.time);
    }

    /// More is known of a worker: its open incidents and digests say so.
    pub fn worker_known(&mut self, worker: &Worker, profile: ProfileId, rules: &RuleSet, now: BootNs) {
        let info = describe::worker(worker, Some(rules.engine(profile)), rules.profile_name(profile));
        let all = self.open.iter_mut().chain(&mut self.digests);
        for (_, incident) in all.filter(|(place, _)| place.0 == worker.cgroup) {
            if incident.worker_known(&info, now) {
                self.changed.insert(incident.id.clone());
            }
        }
    }

    /// A worker turns out to reach the host: who left its sandbox has more than was thought.
    pub fn reaches_host(&mut self, cgroup: u64, now: BootNs) {
        for (_, incident) in self.open.iter_mut().filter(|(place, _)| place.0 == cgroup) {
            if incident.reaches_host(now) {
                self.changed.insert(incident.id.clone());
            }
        }
    }

    /// What became of a connect.
    pub fn connected(&mut self, sock: u64, outcome: Outcome, errno: i32, time: BootNs) {
        let Some(waiting) = self.connects.take(sock) else { return };
        let Some(incident) = self.open.get_mut(&waiting.place) else { return };
        let result = connects::Settled { what: outcome, in_words: connects::result(outcome, errno) };
        incident.settle(waiting.link, &waiting.contact, &result, time);
    }

    /// Where a scene's findings belong.
    fn place(&self, scene: &Scene<'_>, attribution: Option<&Attribution>) -> Place {
        let cgroup = scene.cgroup();
        let root = scope::author_root(scene);
        if root != 0
            && let Some(scope) = self.roots.get(&(cgroup, root))
        {
            return (cgroup, scope.clone());
        }
        let place = (cgroup, scope::of(scene, attribution));
        if self.open.contains_key(&place) {
            return place;
        }
        if !self.restored.is_empty() {
            let anchors = scope::anchors(scene, &place.1);
            let known = anchors.iter().find_map(|anchor| self.restored.get(&(cgroup, *anchor)));
            if let Some(known) = known.filter(|known| self.open.contains_key(*known)) {
                return known.clone();
            }
        }
        if self.incidents_of(cgroup) >= WORKER_MAX { (cgroup, scope::OVERFLOW.to_owned()) } else { place }
    }

    fn incidents_of(&self, cgroup: u64) -> usize {
        self.open.range((cgroup, String::new())..).take_while(|(place, _)| place.0 == cgroup).count()
    }

    fn grow(
        &mut self,
        place: Place,
        finding: &Finding,
        scene: &Scene<'_>,
        attribution: Option<Attribution>,
    ) -> Vec<Alert> {
        self.wait_for(&place, finding, scene);
        let Some(incident) = self.open.get_mut(&place) else { return Vec::new() };
        let is_new = incident.add(finding, scene, attribution, &self.envelope);
        self.changed.insert(incident.id.clone());
        if is_new && finding.tier > Tier::Deviation {
            return vec![incident.say(&self.envelope, scene.event.time)];
        }
        incident.repeated();
        Vec::new()
    }

    /// Opens an incident. `pile`: it is made of so many deviations.
    fn begin(
        &mut self,
        place: Place,
        finding: &Finding,
        scene: &Scene<'_>,
        attribution: Option<Attribution>,
        recent: &Recent,
        pile: Option<usize>,
    ) -> Alert {
        let now = scene.event.time;
        if self.open.len() >= OPEN_MAX {
            self.drop_oldest();
        }
        let root = scope::author_root(scene);
        if root != 0 {
            self.roots.insert((place.0, root), place.1.clone());
        }
        let mut incident = Incident::new(&self.envelope, &place, finding, scene);
        let mut before = self.deviations.take(&place, now);
        if pile.is_some() {
            // The newest of them is the finding itself.
            before.pop();
        }
        incident.precede(before, &self.envelope);
        self.make_room_for_evidence();
        let (events, _) = recent.of(scene.event.subject.label, scene.processes, &self.envelope.clock);
        let (tree, more_processes) = super::tree::of(scene, &self.envelope.clock);
        incident.set_evidence(Some(Evidence { events, tree, more_processes }));
        for identity in self.used.of(&place) {
            incident.radius.note_used(identity);
        }
        incident.add(finding, scene, attribution, &self.envelope);
        if let Some(count) = pile {
            incident.set_title(title::pile(count, &finding.title));
        }
        let alert = incident.say(&self.envelope, now);
        self.changed.insert(incident.id.clone());
        self.open.insert(place.clone(), incident);
        self.wait_for(&place, finding, scene);
        let subject = scene.event.subject;
        self.begun.push(Begun { place, at: scene.at, subject, time: now });
        alert
    }

    /// Whether there are such processes.
    pub fn has_begun(&self) -> bool {
        !self.begun.is_empty()
    }

    /// The processes with which incidents began and that `wanted` asks for, each once.
    pub fn take_begun(&mut self, mut wanted: impl FnMut(&Begun) -> bool) -> Vec<Begun> {
        if self.begun.is_empty() {
            return Vec::new();
        }
        let (taken, left) = std::mem::take(&mut self.begun).into_iter().partition(|begun| wanted(begun));
        self.begun = left;
        taken
    }

    /// What the process of an incident could reach: if that is anything, it is said with the incident's next alert, which
    /// is then soon.
    pub fn within_reach(&mut self, place: &Place, reach: Reach, now: BootNs) {
        let Some(incident) = self.open.get_mut(place) else { return };
        if incident.within_reach(reach, now) {
            self.changed.insert(incident.id.clone());
        }
    }

    /// A connect's outcome comes later.
    fn wait_for(&mut self, place: &Place, finding: &Finding, scene: &Scene<'_>) {
        let Body::Connect(connect) = &scene.event.body else { return };
        if connect.send || connect.outcome == Outcome::Denied {
            return;
        }
        if let Some(contact) = contact_name(finding, scene) {
            let link = Link::key_of(finding, scene);
            let waiting = Waiting::new(place.clone(), link, contact, scene.event.time);
            self.connects.wait(connect.sock, waiting);
        }
    }

    /// Notes a deviation towards a pile; how many there are, if they are one now.
    fn pile(&mut self, place: &Place, finding: &Finding, scene: &Scene<'_>) -> Option<usize> {
        let (signal, object, now) = (finding.signal.name(), scene.object(), scene.event.time);
        let link = Link::of(finding, scene, &self.envelope.host.boot_id, &self.envelope.clock);
        let count = self.deviations.note(place, signal, &object, link, now);
        let kind = scene.role_kind();
        let not_ours = kind.author_side() || matches!(kind, RoleKind::Operator | RoleKind::Probe);
        let counts = scope::author_root(scene) == 0 && !not_ours;
        (counts && count >= PILE).then_some(count)
    }

    /// Adds a deviation to its worker's digest; the digest's first alert, if it begins with it, and the last of the one
    /// before, if its hour is over.
    fn digest(
        &mut self,
        finding: &Finding,
        scene: &Scene<'_>,
        attribution: Option<Attribution>,
    ) -> Vec<Alert> {
        let now = scene.event.time;
        // A visitor's session is a matter of its own.
        let scope = match scene.role_kind() {
            RoleKind::Operator | RoleKind::Probe => format!("{}{}", scope::OPERATOR, scope::top(scene)),
            _ => scope::DIGEST.to_owned(),
        };
        let place = (scene.cgroup(), scope);
        if self.digests.len() >= DIGESTS_MAX && !self.digests.contains_key(&place) {
            // Whole hours of that many workers: the counts of the others matter more than this one's.
            tracing::warn!(max = DIGESTS_MAX, "too many digests: a deviation is told alone");
            let mut alone = Incident::new(&self.envelope, &place, finding, scene);
            alone.add(finding, scene, attribution, &self.envelope);
            return vec![alone.say(&self.envelope, now)];
        }
        let mut alerts = Vec::new();
        self.close_digest(&place, now, &mut alerts);
        let envelope = &self.envelope;
        let digest = self
            .digests
            .entry(place)
            .or_insert_with_key(|place| Incident::new(envelope, place, finding, scene));
        digest.add(finding, scene, attribution, envelope);
        if digest.revision == 0 {
            alerts.push(digest.say(envelope, now));
            return alerts;
        }
        self.changed.insert(digest.id.clone());
        // Said when its hour is over.
        digest.due_at(BootNs::MAX);
        alerts
    }

    pub(super) fn end(&mut self, place: &Place) {
        if let Some(incident) = self.open.remove(place) {
            self.roots.retain(|(cgroup, _), scope| (*cgroup, &*scope) != (place.0, &place.1));
            self.restored.retain(|_, of| of != place);
            self.ended.push(incident);
        }
    }
}

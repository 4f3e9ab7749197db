//! When incidents are said again, ended, closed and forgotten, and what bounds them.

use super::detector::{Detector, Place};
use super::incident::Incident;
use crate::alert::{Alert, ClosedBy, Closure, State};
use crate::event::BootNs;

/// How long a digest of deviations goes on, ns.
const DIGEST: BootNs = 3_600_000_000_000;
/// Most incidents that have ended and wait for a person.
const ENDED_MAX: usize = 512;
/// Most incidents whose evidence is kept in memory.
const EVIDENCE_MAX: usize = 256;

impl Detector {
    /// What is due by now: repeats, digests, incidents that ended, incidents that are closed.
    pub fn tick(&mut self, now: BootNs) -> Vec<Alert> {
        // Their alerts were taken since.
        self.closed.clear();
        self.connects.expire(now);
        self.deviations.expire(now);
        self.used.expire(now);
        let over: Vec<Place> = self
            .open
            .iter()
            .filter(|(_, incident)| incident.over(now))
            .map(|(place, _)| place.clone())
            .collect();
        over.iter().for_each(|place| self.end(place));
        let mut alerts = Vec::new();
        for incident in self.open.values_mut() {
            if incident.due().is_some_and(|due| due <= now) {
                alerts.push(incident.say_due(&self.envelope, now));
            }
        }
        self.close_digests(now, &mut alerts);
        self.say_ended(now, &mut alerts);
        self.note_changed(&alerts);
        alerts
    }

    /// What was counted but not said yet: at the agent's end.
    pub fn flush(&mut self, now: BootNs) -> Vec<Alert> {
        let mut alerts = Vec::new();
        let all = self.open.values_mut().chain(self.digests.values_mut());
        for incident in all.filter(|incident| incident.due().is_some()) {
            alerts.push(incident.say_due(&self.envelope, now));
        }
        self.note_changed(&alerts);
        alerts
    }

    /// Digests whose hour is over.
    fn close_digests(&mut self, now: BootNs, alerts: &mut Vec<Alert>) {
        let over = |digest: &Incident| now.saturating_sub(digest.first) >= DIGEST;
        let places: Vec<Place> =
            self.digests.iter().filter(|(_, digest)| over(digest)).map(|(place, _)| place.clone()).collect();
        for place in places {
            self.close_digest(&place, now, alerts);
        }
    }

    /// The digest of a place, if its hour is over.
    pub(super) fn close_digest(&mut self, place: &Place, now: BootNs, alerts: &mut Vec<Alert>) {
        if self.digests.get(place).is_some_and(|digest| now.saturating_sub(digest.first) >= DIGEST)
            && let Some(mut digest) = self.digests.remove(place)
        {
            alerts.push(digest.close(&self.envelope, ClosedBy::Quiet, None, now));
            self.closed.push(digest);
        }
    }

    fn say_ended(&mut self, now: BootNs, alerts: &mut Vec<Alert>) {
        let envelope = &self.envelope;
        let mut kept = Vec::with_capacity(self.ended.len());
        for mut incident in std::mem::take(&mut self.ended) {
            if incident.state == State::Open {
                alerts.push(incident.end(envelope, now));
            }
            if incident.is_quiet(now) {
                alerts.push(incident.close(envelope, ClosedBy::Quiet, None, now));
                self.changed.insert(incident.id.clone());
                self.closed.push(incident);
            } else {
                // From identity up only people close.
                kept.push(incident);
            }
        }
        let forgotten = kept.len().saturating_sub(ENDED_MAX);
        for incident in kept.drain(..forgotten) {
            self.dropped += 1;
            tracing::warn!(
                incident = incident.id,
                "too many incidents wait to be closed: the oldest is known to its file only"
            );
        }
        self.ended = kept;
    }

    pub(super) fn drop_oldest(&mut self) {
        let oldest =
            self.open.iter().min_by_key(|(_, incident)| incident.last).map(|(place, _)| place.clone());
        if let Some(place) = oldest {
            self.dropped += 1;
            tracing::warn!(scope = place.1, "too many open incidents: the one idle longest is ended early");
            self.end(&place);
        }
    }

    /// Evidence is the largest part of an incident; the alerts that were sent have it, and so has its file.
    pub(super) fn make_room_for_evidence(&mut self) {
        let with = self.open.values().filter(|incident| incident.has_evidence()).count();
        let ended = self.ended.iter().filter(|incident| incident.has_evidence()).count();
        if with + ended < EVIDENCE_MAX {
            return;
        }
        if let Some(incident) = self.ended.iter_mut().find(|incident| incident.has_evidence()) {
            return incident.set_evidence(None);
        }
        let open = self.open.values_mut().filter(|incident| incident.has_evidence());
        if let Some(incident) = open.min_by_key(|incident| incident.last) {
            incident.set_evidence(None);
        }
    }

    fn note_changed(&mut self, alerts: &[Alert]) {
        self.changed.extend(alerts.iter().filter_map(|alert| Some(alert.incident.as_ref()?.id.clone())));
    }

    /// Closes an incident on a person's word: its id, or as much of it as names no other.
    ///
    /// # Errors
    /// In words: there is none, or several.
    pub fn close(&mut self, id: &str, closure: Closure, now: BootNs) -> Result<Alert, String> {
        let open = self.open.values().chain(&self.ended).filter(|incident| incident.id.starts_with(id));
        let ids: Vec<String> = open.map(|incident| incident.id.clone()).collect();
        let [id] = &ids[..] else {
            return Err(match ids.len() {
                0 => format!("no open or ended incident {id:?}"),
                several => format!("{several} incidents begin with {id:?}"),
            });
        };
        let place = self.open.iter().find(|(_, incident)| incident.id == *id).map(|(place, _)| place.clone());
        if let Some(place) = place {
            self.end(&place);
        }
        let at = self.ended.iter().position(|incident| incident.id == *id);
        let Some(mut incident) = at.map(|at| self.ended.remove(at)) else {
            return Err(format!("no open or ended incident {id:?}"));
        };
        let alert = incident.close(&self.envelope, ClosedBy::Operator, Some(closure), now);
        self.changed.insert(incident.id.clone());
        self.closed.push(incident);
        Ok(alert)
    }
}

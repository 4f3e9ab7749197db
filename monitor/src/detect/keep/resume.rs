//! How the detector goes on with the incidents of an earlier run of the agent.

use super::Saved;
use crate::alert::State;
use crate::detect::Detector;
use crate::detect::incident::Incident;
use crate::event::BootNs;

impl Detector {
    /// Goes on with an incident: the next finding of its scope is its next revision. One of another boot has ended, and a closed one is
    /// no more.
    pub fn resume(&mut self, saved: Saved, now: BootNs) {
        let mut incident = saved.incident;
        if incident.state == State::Closed {
            return;
        }
        let place = (incident.cgroup, incident.scope.clone());
        if saved.sent < incident.revision {
            // Its last alert may not have been sent.
            incident.due_at(now);
        }
        if !saved.clean {
            // One more may have been sent than the file knows.
            incident.skip_revisions(1);
        }
        let other_boot = saved.boot_id != self.envelope.host.boot_id;
        if other_boot {
            incident.of_another_boot();
        }
        if incident.is_digest() {
            if !other_boot {
                self.digests.insert(place, incident);
            } else {
                // An hour that a reboot cut short.
                self.ended.push(incident);
            }
            return;
        }
        if other_boot || incident.state != State::Open || incident.over(now) || self.open.contains_key(&place)
        {
            self.ended.push(incident);
            return;
        }
        for anchor in &incident.anchors {
            self.restored.insert((place.0, *anchor), place.clone());
        }
        self.open.insert(place, incident);
    }

    /// An incident for its file. `sent`: the last revision that was handed to the sinks, if not the newest.
    pub fn saved(&self, id: &str, sent: Option<u64>) -> Option<Saved> {
        let incident = self.all().find(|incident| incident.id == id)?;
        let sent = sent.unwrap_or(incident.revision);
        Some(Saved::new(&self.envelope.host.boot_id, incident, sent, false))
    }

    /// Whether it has an incident of this id, open or ended.
    pub fn knows(&self, id: &str) -> bool {
        self.all().any(|incident| incident.id == id)
    }

    /// The ids of incidents that changed since the last call: their files are out of date.
    pub fn take_changed(&mut self) -> Vec<String> {
        std::mem::take(&mut self.changed).into_iter().collect()
    }

    /// All incidents for their files, at the end of the agent: everything was sent.
    pub fn last_saved(&self) -> Vec<Saved> {
        let boot_id = &self.envelope.host.boot_id;
        self.all().map(|incident| Saved::new(boot_id, incident, incident.revision, true)).collect()
    }

    fn all(&self) -> impl Iterator<Item = &Incident> {
        self.open.values().chain(self.digests.values()).chain(&self.ended).chain(&self.closed)
    }
}

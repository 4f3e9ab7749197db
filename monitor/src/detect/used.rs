//! Identities that author code read as its profile allows: no finding, but in its hands all the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::detector::Place;
use super::scene::Scene;
use crate::event::BootNs;

/// How long a read counts as the run's, ns.
const KEEP: BootNs = 24 * 3_600_000_000_000;
/// Most scopes remembered.
const SCOPES_MAX: usize = 1024;
/// Most identities of a scope.
const IDENTITIES_MAX: usize = 32;

/// What one scope used, and when last.
#[derive(Default)]
struct Of {
    last: BootNs,
    identities: Vec<Arc<str>>,
}

/// Identities used, by cgroup and scope.
#[derive(Default)]
pub(super) struct Used {
    scopes: BTreeMap<Place, Of>,
    /// Image and identity of the last read: a loop of reads is one.
    last: Option<(u64, Arc<str>)>,
}

impl Used {
    /// Whether the very same process used the same identity last.
    pub(super) fn is_last(&mut self, scene: &Scene<'_>, identity: &Arc<str>) -> bool {
        let exec_id = scene.event.subject.exec_id;
        let is = self.last.as_ref().is_some_and(|(by, what)| *by == exec_id && what == identity);
        if !is {
            self.last = Some((exec_id, identity.clone()));
        }
        is
    }

    /// Notes a read.
    pub(super) fn note(&mut self, place: Place, identity: &Arc<str>, now: BootNs) {
        if self.scopes.len() >= SCOPES_MAX && !self.scopes.contains_key(&place) {
            let oldest = self.scopes.iter().min_by_key(|(_, of)| of.last).map(|(place, _)| place.clone());
            oldest.map(|place| self.scopes.remove(&place));
        }
        let of = self.scopes.entry(place).or_default();
        of.last = now;
        if of.identities.len() < IDENTITIES_MAX && !of.identities.contains(identity) {
            of.identities.push(identity.clone());
        }
    }

    /// The identities that a scope used.
    pub(super) fn of(&self, place: &Place) -> &[Arc<str>] {
        self.scopes.get(place).map_or(&[], |of| &of.identities)
    }

    /// Forgets what is too long ago.
    pub(super) fn expire(&mut self, now: BootNs) {
        self.scopes.retain(|_, of| now.saturating_sub(of.last) < KEEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_scope_makes_room_for_a_new_one() {
        let mut used = Used::default();
        for number in 0..=SCOPES_MAX as u64 {
            used.note((number, String::new()), &"a".into(), number);
        }
        assert_eq!(used.scopes.len(), SCOPES_MAX);
        assert!(used.of(&(0, String::new())).is_empty());
        assert_eq!(used.of(&(1, String::new())), [Arc::from("a")]);
        used.expire(KEEP + 1);
        assert!(used.of(&(1, String::new())).is_empty());
        assert!(!used.of(&(2, String::new())).is_empty());
    }
}

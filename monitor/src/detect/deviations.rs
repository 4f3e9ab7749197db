//! Deviations of a run or lineage that is in no incident yet: kept for a while, because many of them together are an
//! incident, and because they belong to the story of one that opens later.

use std::collections::BTreeMap;

use super::chain::Link;
use super::scope::fingerprint;
use crate::event::BootNs;

/// How long a deviation counts, ns.
pub(super) const WINDOW: BootNs = 10 * 60 * 1_000_000_000;
/// So many distinct ones (by signal and object) within the window are an incident.
pub(super) const PILE: usize = 5;
/// Most kept of a scope.
const KEPT_MAX: usize = 16;
/// Most scopes.
const SCOPES_MAX: usize = 2048;

/// Recent deviations by cgroup and scope.
#[derive(Default)]
pub(super) struct Deviations {
    scopes: BTreeMap<(u64, String), Vec<Kept>>,
}

struct Kept {
    /// Of signal and object: what makes it distinct.
    what: u64,
    last: BootNs,
    link: Link,
}

impl Deviations {
    /// Notes a deviation; how many distinct ones its scope has now.
    pub(super) fn note(
        &mut self,
        place: &(u64, String),
        signal: &str,
        object: &str,
        link: Link,
        now: BootNs,
    ) -> usize {
        if self.scopes.len() >= SCOPES_MAX && !self.scopes.contains_key(place) {
            self.make_room(now);
        }
        let kept = self.scopes.entry(place.clone()).or_default();
        kept.retain(|kept| now.saturating_sub(kept.last) < WINDOW);
        let what = fingerprint(&[signal, object]);
        match kept.iter_mut().find(|kept| kept.what == what) {
            Some(known) => known.last = now,
            None => {
                if kept.len() >= KEPT_MAX {
                    kept.remove(0);
                }
                kept.push(Kept { what, last: now, link });
            }
        }
        kept.len()
    }

    /// The deviations of a scope for the incident that opens in it, oldest first.
    pub(super) fn take(&mut self, place: &(u64, String), now: BootNs) -> Vec<Link> {
        let kept = self.scopes.remove(place).unwrap_or_default();
        kept.into_iter().filter(|kept| now.saturating_sub(kept.last) < WINDOW).map(|kept| kept.link).collect()
    }

    /// Forgets what does not count any more.
    pub(super) fn expire(&mut self, now: BootNs) {
        self.scopes.retain(|_, kept| {
            kept.retain(|kept| now.saturating_sub(kept.last) < WINDOW);
            !kept.is_empty()
        });
    }

    fn make_room(&mut self, now: BootNs) {
        self.expire(now);
        if self.scopes.len() < SCOPES_MAX {
            return;
        }
        let newest = |kept: &Vec<Kept>| kept.iter().map(|kept| kept.last).max().unwrap_or(0);
        let mut times: Vec<BootNs> = self.scopes.values().map(newest).collect();
        times.sort_unstable();
        let middle = times.get(times.len() / 2).copied().unwrap_or(now);
        self.scopes.retain(|_, kept| newest(kept) > middle);
    }
}

#[cfg(test)]
mod tests {
    use super::super::chain::tests::link;
    use super::*;

    fn place(scope: u64) -> (u64, String) {
        (1, scope.to_string())
    }

    #[test]
    fn only_distinct_ones_within_the_window_count() {
        let mut deviations = Deviations::default();
        let mut note = |object: &str, now| {
            deviations.note(&place(0), "connect", object, link(0, "unexpected-connect", "t"), now)
        };
        assert_eq!(note("a", 0), 1);
        assert_eq!(note("a", 1), 1);
        assert_eq!(note("b", 2), 2);
        assert_eq!(note("c", 2 + WINDOW), 1, "the others are too old");
    }

    #[test]
    fn incident_takes_them_over_once() {
        let mut deviations = Deviations::default();
        deviations.note(&place(0), "exec", "a", link(1, "x", "t1"), 0);
        deviations.note(&place(0), "exec", "b", link(2, "x", "t2"), 1);
        deviations.note(&place(1), "exec", "c", link(3, "x", "t3"), 1);
        let taken = deviations.take(&place(0), 2);
        assert_eq!(taken.iter().map(|link| link.key).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(deviations.take(&place(0), 2).len(), 0);
    }

    #[test]
    fn memory_stays_bounded() {
        let mut deviations = Deviations::default();
        for number in 0..2 * SCOPES_MAX as u64 {
            deviations.note(&place(number), "exec", "a", link(0, "x", "t"), number);
        }
        assert!(deviations.scopes.len() <= SCOPES_MAX);
        let newest = place(2 * SCOPES_MAX as u64 - 1);
        for object in 0..3 * KEPT_MAX {
            deviations.note(&newest, "exec", &object.to_string(), link(0, "x", "t"), 0);
        }
        assert_eq!(deviations.scopes[&newest].len(), KEPT_MAX);
        deviations.expire(2 * SCOPES_MAX as u64 + WINDOW);
        assert!(deviations.scopes.is_empty());
    }
}

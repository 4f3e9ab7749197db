//! The chain of an incident: each distinct finding once, what repeats as a count, what has no room as a sum.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::describe;
use super::envelope::WallClock;
use super::scene::Scene;
use super::scope::fingerprint;
use crate::alert::{ChainLink, Unlisted, redact};
use crate::event::{BootNs, Outcome};
use crate::profile::Finding;

/// Most links with a finding that the chain has already.
const LINKS_MAX: usize = 64;
/// Most links: a finding of another kind is worth more than another object of the same.
const KINDS_MAX: usize = 96;

/// What adding a finding came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// A new link.
    New,
    /// The link was there already.
    Repeat,
    /// There is no room: counted.
    Unlisted,
}

/// A finding as a link, with what tells it from others.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// Of finding, role and object.
    pub(super) key: u64,
    /// When it was.
    pub(super) at: BootNs,
    pub(super) link: ChainLink,
}

impl Link {
    /// What tells a finding in its scene from others.
    pub(super) fn key_of(finding: &Finding, scene: &Scene<'_>) -> u64 {
        let role = scene.rules.role(scene.profile, scene.role).name;
        fingerprint(&[&finding.id, &role, &scene.object()])
    }

    pub(super) fn of(finding: &Finding, scene: &Scene<'_>, boot_id: &str, clock: &WallClock) -> Self {
        let role = scene.rules.role(scene.profile, scene.role).name;
        let object = scene.object();
        let masked = |text: &str| redact::text(text).into_owned();
        Self {
            key: Self::key_of(finding, scene),
            at: scene.event.time,
            link: ChainLink {
                tier: finding.tier,
                finding: finding.id.to_string(),
                time: clock.format(scene.event.time),
                process: describe::key(boot_id, scene.event.subject.key),
                role: Some(role.to_string()),
                title: Some(masked(&finding.title)),
                object: Some(masked(&object)).filter(|object| !object.is_empty()),
                outcome: (finding.outcome != Outcome::Ok)
                    .then(|| describe::outcome(finding.outcome).to_owned()),
                rule: Some(describe::rule(&finding.rule)),
                also: finding.also.iter().map(describe::also).collect(),
                repeats: None,
                last: None,
            },
        }
    }
}

/// The findings of an incident in order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Chain {
    links: Vec<ChainLink>,
    /// When each of them was.
    #[serde(default)]
    times: Vec<BootNs>,
    /// Where the link of each key is.
    known: BTreeMap<u64, usize>,
    unlisted: Option<Unlisted>,
}

impl Chain {
    /// Adds a finding.
    pub(super) fn add(&mut self, link: Link) -> Added {
        let Link { key, at, link } = link;
        if let Some(known) = self.known.get(&key).and_then(|place| self.links.get_mut(*place)) {
            *known.repeats.get_or_insert(0) += 1;
            known.last = Some(link.time);
            return Added::Repeat;
        }
        let of_new_kind = self.links.iter().all(|known| known.finding != link.finding);
        if self.links.len() < if of_new_kind { KINDS_MAX } else { LINKS_MAX } {
            self.known.insert(key, self.links.len());
            self.times.resize(self.links.len(), 0);
            self.times.push(at);
            self.links.push(link);
            return Added::New;
        }
        match &mut self.unlisted {
            Some(unlisted) => {
                unlisted.findings += 1;
                unlisted.tier = unlisted.tier.max(link.tier);
                unlisted.last = link.time;
            }
            None => {
                let (tier, time) = (link.tier, link.time);
                self.unlisted = Some(Unlisted { findings: 1, tier, first: time.clone(), last: time });
            }
        }
        Added::Unlisted
    }

    /// What became of the connect of a link, once it is known; whether that is news.
    pub(super) fn settle(&mut self, key: u64, result: &str) -> bool {
        let Some(link) = self.known.get(&key).and_then(|place| self.links.get_mut(*place)) else {
            return false;
        };
        // One connect of many that was established is what counts.
        if link.outcome.as_deref() == Some("established") || link.outcome.as_deref() == Some(result) {
            return false;
        }
        link.outcome = Some(result.to_owned());
        true
    }

    /// Number of links.
    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    /// The links in order of time: findings of the two lanes, and what was known before, may come out of order.
    pub(super) fn in_order(&self) -> Vec<ChainLink> {
        let mut order: Vec<usize> = (0..self.links.len()).collect();
        // Stable: what happened at the same time stays in the order in which it came.
        order.sort_by_key(|at| self.times.get(*at));
        order.into_iter().filter_map(|at| self.links.get(at).cloned()).collect()
    }

    pub(super) fn unlisted(&self) -> Option<&Unlisted> {
        self.unlisted.as_ref()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::profile::Tier;

    pub(crate) fn link(key: u64, finding: &str, time: &str) -> Link {
        Link {
            key,
            at: 0,
            link: ChainLink {
                tier: Tier::Boundary,
                finding: finding.into(),
                time: time.into(),
                process: String::new(),
                role: None,
                title: None,
                object: None,
                outcome: None,
                rule: None,
                also: Vec::new(),
                repeats: None,
                last: None,
            },
        }
    }

    #[test]
    fn repeats_are_counted_with_the_time_of_the_last() {
        let mut chain = Chain::default();
        assert_eq!(chain.add(link(1, "a", "t1")), Added::New);
        assert_eq!(chain.add(link(1, "a", "t2")), Added::Repeat);
        assert_eq!(chain.add(link(1, "a", "t3")), Added::Repeat);
        let only = &chain.links[0];
        assert_eq!((&*only.time, only.repeats, only.last.as_deref()), ("t1", Some(2), Some("t3")));
    }

    #[test]
    fn full_chain_still_takes_findings_of_another_kind_and_sums_up_the_rest() {
        let mut chain = Chain::default();
        for number in 0..200 {
            chain.add(link(number, "a", &format!("t{number}")));
        }
        assert_eq!(chain.len(), LINKS_MAX);
        let unlisted = chain.unlisted().unwrap();
        assert_eq!((unlisted.findings, &*unlisted.first, &*unlisted.last), (136, "t64", "t199"));
        assert_eq!(chain.add(link(1000, "b", "t")), Added::New);
        for number in 0..200 {
            chain.add(link(2000 + number, &number.to_string(), "t"));
        }
        assert_eq!(chain.len(), KINDS_MAX);
    }

    #[test]
    fn established_is_not_overwritten_by_a_later_refusal() {
        let mut chain = Chain::default();
        chain.add(link(1, "a", "t"));
        assert!(chain.settle(1, "refused"));
        assert!(!chain.settle(1, "refused"), "no news");
        assert!(chain.settle(1, "established"));
        assert!(!chain.settle(1, "timeout"));
        assert!(!chain.settle(2, "refused"), "no such link");
        assert_eq!(chain.links[0].outcome.as_deref(), Some("established"));
    }

    #[test]
    fn links_are_shown_in_order_of_time_whenever_they_came() {
        let mut chain = Chain::default();
        chain.add(Link { at: 2, ..link(1, "b", "t2") });
        chain.add(Link { at: 1, ..link(2, "a", "t1") });
        let order: Vec<String> = chain.in_order().into_iter().map(|link| link.finding).collect();
        assert_eq!(order, ["a", "b"]);
        assert_eq!(chain.add(link(1, "b", "t")), Added::Repeat, "their places are still known");
        assert_eq!(chain.links[0].repeats, Some(1));
    }
}

//! Which profile a worker has: the strongest rank that selects it wins.

use std::sync::Arc;

use super::actor::{Image, Pin, ProfileId, Trust};
use super::judge::image_matches;
use super::model::{Profile, Select};
use super::ruleset::{EntryProcess, RuleSet, SelectRank, Selection, WorkerFacts};

impl RuleSet {
    /// The profile of a worker: `assign` before cgroup and unit, namespace with owner and
    /// container, image, pod label, entry process; `generic` if nothing
    /// selects it. What an author can set (image, pod label) may not choose a profile that allows identities or
    /// anything at all, unless a stronger rank agrees.
    pub fn select(&self, worker: &WorkerFacts) -> Selection {
        if let Some(name) = &worker.assigned {
            return match self.profile(name) {
                Some(profile) => Selection { profile, rank: SelectRank::Assign, rule: None, notice: None },
                None => Selection {
                    profile: ProfileId::GENERIC,
                    rank: SelectRank::None,
                    rule: None,
                    notice: Some(format!(
                        "the configuration assigns profile `{name}`, which no rule file defines"
                    )),
                },
            };
        }
        let mut best: Option<(SelectRank, ProfileId, &Profile, &Select)> = None;
        for (id, profile) in (0..).map(ProfileId).zip(&self.inner.profiles) {
            for item in &profile.select {
                if let Some(rank) = rank_of(item, worker)
                    && best.is_none_or(|(b, ..)| rank < b)
                {
                    best = Some((rank, id, profile, item));
                }
            }
        }
        let Some((rank, profile, spec, item)) = best else {
            return Selection {
                profile: ProfileId::GENERIC,
                rank: SelectRank::None,
                rule: None,
                notice: None,
            };
        };
        if matches!(rank, SelectRank::Image | SelectRank::PodLabel) && gives_away(spec) {
            return Selection {
                profile: ProfileId::GENERIC,
                rank: SelectRank::None,
                rule: Some(item.rule.clone()),
                notice: Some(format!(
                    "profile `{}` is claimed by an image or pod label only, which the author of a job may set, and it \
                     allows identities or anything at all: assign it in the configuration, or select it by cgroup or unit",
                    spec.name
                )),
            };
        }
        Selection { profile, rank, rule: Some(item.rule.clone()), notice: None }
    }
}

/// The rank of an item, if all its keys hold: that of its strongest key.
fn rank_of(item: &Select, worker: &WorkerFacts) -> Option<SelectRank> {
    let mut rank = SelectRank::None;
    let mut hold = |holds: bool, by: SelectRank| {
        rank = rank.min(by);
        holds
    };
    // In a namespace of their own authors name containers and owners as they like.
    let workload = if item.namespace.is_some() { SelectRank::Workload } else { SelectRank::PodLabel };
    let holds = item.cgroup.as_ref().is_none_or(|g| hold(g.matches(&worker.cgroup), SelectRank::Cgroup))
        && item
            .unit
            .as_ref()
            .is_none_or(|g| hold(worker.unit.as_ref().is_some_and(|u| g.matches(u)), SelectRank::Cgroup))
        && [
            (&item.namespace, &worker.namespace),
            (&item.owner, &worker.owner),
            (&item.container, &worker.container),
        ]
        .into_iter()
        .all(|(glob, fact)| {
            let fits = |g: &super::pattern::Globs| fact.as_ref().is_some_and(|f| g.matches(f));
            glob.as_ref().is_none_or(|g| hold(fits(g), workload))
        })
        && item
            .image
            .as_ref()
            .is_none_or(|g| hold(worker.image.as_ref().is_some_and(|i| g.matches(i)), SelectRank::Image))
        && item.pod_labels.iter().all(|(key, g)| {
            hold(worker.pod_labels.iter().any(|(k, v)| k == key && g.matches(v)), SelectRank::PodLabel)
        })
        && item.process.as_ref().is_none_or(|p| {
            hold(
                worker.entry.as_ref().is_some_and(|e| image_matches(p, &entry_image(e))),
                SelectRank::Process,
            )
        });
    holds.then_some(rank)
}

fn entry_image(entry: &EntryProcess) -> Image<'_> {
    Image {
        exe: entry.exe.as_deref(),
        given: entry.given.as_deref(),
        argv: entry.argv.as_slice() as &[Arc<str>],
        argv_truncated: false,
        cwd: entry.cwd.as_deref(),
        trust: Trust::Scanned,
        pin: Pin::None,
    }
}

fn gives_away(profile: &Profile) -> bool {
    profile.roles.iter().any(|role| {
        let e = &role.expect;
        e.exec.rules.iter().any(|r| r.any)
            || e.unix.rules.iter().any(|r| r.any)
            || !e.identities.rules.is_empty()
    })
}

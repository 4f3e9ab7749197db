//! What people should know of the rules at work: exceptions that have expired, workers whose profile does not fit, facts
//! that no profile asks for. Each is said once, and again when it is over.

use std::collections::{BTreeMap, BTreeSet};

use super::Pipeline;
use crate::alert::{Alert, ClosedBy, Severity, State};
use crate::event::BootNs;
use crate::profile::{ProfileId, RoleKind};

/// How long a worker with a profile may have no process in any of its roles.
const UNFOUND_AFTER: BootNs = 60_000_000_000;
/// How often processes are looked through for one.
const LOOK_EVERY: BootNs = 5_000_000_000;

/// Whether a worker's profile was seen to fit.
#[derive(Clone, Copy, Debug)]
struct Fit {
    profile: ProfileId,
    /// Since when processes run in it and none has a role of the profile; `None`: one had.
    missing: Option<BootNs>,
    said: bool,
}

/// What was said already.
#[derive(Debug, Default)]
pub(super) struct Notices {
    expired: BTreeSet<String>,
    fits: BTreeMap<u32, Fit>,
    looked: BootNs,
}

impl Notices {
    /// A worker that is gone.
    pub(super) fn forget(&mut self, label: u32) {
        self.fits.remove(&label);
    }
}

impl Pipeline {
    /// Says what has become true, or is over, since the last call.
    pub(super) fn say_notices(&mut self, now: BootNs) {
        self.say_expired(now);
        if now.saturating_sub(self.notices.looked) >= LOOK_EVERY {
            self.notices.looked = now;
            self.say_unfound(now);
        }
    }

    /// Exceptions whose last day is over: they allow nothing any more.
    fn say_expired(&mut self, now: BootNs) {
        let Some(wall) = self.detector.envelope.clock.seconds(now) else { return };
        let mut expired = BTreeSet::new();
        let mut due = Vec::new();
        for exception in self.rules.exceptions().filter(|exception| exception.until <= wall) {
            expired.insert(exception.id.to_owned());
            if !self.notices.expired.contains(exception.id) {
                let title = format!("Exception {} has expired and allows nothing any more", exception.id);
                let detail = format!(
                    "{}:{}: it let role {} of profile {} {} until {}; {} answers for it ({}). Renew it or take it out.",
                    exception.rule.file,
                    exception.rule.line,
                    exception.role,
                    exception.profile,
                    exception.allows,
                    exception.expires,
                    exception.owner,
                    exception.reason
                );
                due.push((State::Open, exception.id.to_owned(), title, detail));
            }
        }
        for id in self.notices.expired.difference(&expired) {
            let title = format!("The expired exception {id} was renewed or taken out");
            due.push((State::Closed, id.clone(), title, String::new()));
        }
        self.notices.expired = expired;
        for (state, id, title, detail) in due {
            self.notice(state, Severity::Medium, "exception-expired", &id, now, title, detail);
        }
    }

    /// Workers in which nothing has taken a role of their profile: it is the wrong one, or the engine starts in a way that
    /// it does not know, and then the engine's own rules hold for nobody.
    fn say_unfound(&mut self, now: BootNs) {
        let mut waiting = BTreeSet::new();
        for worker in self.workers.iter().filter(|worker| worker.gone.is_none()) {
            let (label, profile) = (worker.label, worker.profile);
            let known = self.notices.fits.get(&label).is_some_and(|fit| fit.profile == profile);
            if self.processes.live(label) == 0 || !self.rules.has_roles(profile) {
                self.notices.fits.remove(&label);
            } else if !known {
                let fit = Fit { profile, missing: Some(now), said: false };
                self.notices.fits.insert(label, fit);
            }
            if self.notices.fits.get(&label).is_some_and(|fit| fit.missing.is_some()) {
                waiting.insert(label);
            }
        }
        if waiting.is_empty() {
            return;
        }
        let mut found = BTreeSet::new();
        for (_, process) in self.processes.iter().filter(|(_, process)| waiting.contains(&process.label)) {
            let profile = self.workers.get(process.label).map_or(ProfileId::GENERIC, |w| w.profile);
            let fits =
                |role| matches!(self.rules.role(profile, role).kind, RoleKind::Named | RoleKind::Author);
            if process.images.iter().any(|image| fits(image.standing.role)) {
                found.insert(process.label);
            }
        }
        for label in waiting {
            let (Some(worker), Some(fit)) = (self.workers.get(label), self.notices.fits.get_mut(&label))
            else {
                continue;
            };
            let profile = self.rules.profile_name(fit.profile);
            let (state, title) = if found.contains(&label) {
                fit.missing = None;
                if !std::mem::take(&mut fit.said) {
                    continue;
                }
                (State::Closed, format!("Worker {}: the engine of profile {profile} was found", worker.name))
            } else {
                let missing = fit.missing.is_some_and(|since| now.saturating_sub(since) >= UNFOUND_AFTER);
                if !missing || std::mem::replace(&mut fit.said, true) {
                    continue;
                }
                (
                    State::Open,
                    format!("Worker {}: nothing in it is what profile {profile} describes", worker.name),
                )
            };
            let detail = format!(
                "cgroup {}: processes run, and none has taken a role of the profile for {} s. Compare `sandwatch workers` \
                 with `sandwatch rules explain {profile}`, and assign the right profile.",
                worker.path,
                UNFOUND_AFTER / 1_000_000_000
            );
            let about = worker.name.to_string();
            self.notice(state, Severity::Medium, "profile-not-found", &about, now, title, detail);
        }
    }

    /// Facts that the configuration states of a worker and its profile does not ask for: most often a misspelling.
    pub(super) fn say_unknown_facts(&mut self, label: u32, now: BootNs) {
        let Some(worker) = self.workers.get(label) else { return };
        let known: Vec<&str> = self.rules.facts(worker.profile).map(|(name, _)| name).collect();
        let unknown: Vec<&str> =
            worker.assignment.facts.names().filter(|name| !known.contains(name)).collect();
        if unknown.is_empty() {
            return;
        }
        let profile = self.rules.profile_name(worker.profile);
        let title =
            format!("Worker {}: profile {profile} asks for no fact {}", worker.name, unknown.join(", "));
        let detail = match known.as_slice() {
            [] => format!("profile {profile} asks for no facts at all"),
            known => format!("profile {profile} asks for {}", known.join(", ")),
        };
        let about = worker.name.to_string();
        self.notice(State::Open, Severity::Low, "unknown-fact", &about, now, title, detail);
    }

    #[expect(clippy::too_many_arguments, reason = "an alert has that many parts; all are plain text")]
    fn notice(
        &mut self,
        state: State,
        severity: Severity,
        condition: &str,
        about: &str,
        now: BootNs,
        title: String,
        detail: String,
    ) {
        let envelope = &self.detector.envelope;
        let mut alert: Alert = envelope.health(severity, state, now, condition, title, detail);
        // Several of one condition may be said at the same time.
        alert.id = envelope.id("health", &format!("{condition}:{about}:{now}"));
        if let Some(health) = &mut alert.health {
            health.subject = Some(about.to_owned());
        }
        if state == State::Closed {
            alert.closed_by = Some(ClosedBy::Recovered);
        }
        self.counts.alerts += 1;
        self.alerts.push_back(alert);
    }
}

//! How workers are set up: looked at once a worker has begun, and again now and then, never while an event is judged.
//!
//! A look reads /proc of one process of the worker, which takes a fraction of a millisecond; a few workers have their turn
//! each second. What a look came to changes how urgent the worker's incidents are, and is said as one condition per worker.

use std::collections::BTreeMap;

use super::Pipeline;
use super::waiting::AsSandbox;
use crate::alert::{Alert, State};
use crate::detect::{Envelope, Over, Posture, SavedPosture, posture_alert, posture_gone, posture_over};
use crate::event::{BootNs, ProcessKey};
use crate::process::{Process, WantedVariables};
use crate::profile::{ProfileId, RoleKind, SetUp, Setup};
use crate::worker::{Worker, is_credential_name};

/// Most workers looked at in one turn.
const TURN_MAX: usize = 8;
/// A worker is looked at so long after it was found to have begun: its engine has started by then.
const FIRST: BootNs = 1_000_000_000;
/// And a second time after this long: what its engine started has come by then.
const SECOND_LOOK: BootNs = 30 * 1_000_000_000;
/// And from then on as often.
const EVERY: BootNs = 300 * 1_000_000_000;
/// After a look that found nobody.
const AGAIN: BootNs = 5 * 1_000_000_000;
/// Most processes whose arguments are looked at.
const PROCESSES_MAX: usize = 256;

/// What is known of the posture of each worker.
#[derive(Default)]
pub(super) struct Postures {
    by_label: BTreeMap<u32, Watched>,
    /// What an earlier run of the agent said, of workers that were not looked at yet.
    earlier: Vec<SavedPosture>,
    /// What is said has changed.
    pub(super) changed: bool,
}

struct Watched {
    /// Of which start of it this is.
    entry: ProcessKey,
    profile: ProfileId,
    next: BootNs,
    looks: u32,
    /// What was found and is not over.
    found: Option<Posture>,
    /// What was said of it.
    said: Option<SavedPosture>,
}

impl Postures {
    /// What is the matter with a worker.
    pub(super) fn of(&self, label: u32) -> Option<&Posture> {
        self.by_label.get(&label)?.found.as_ref()
    }

    /// A worker that is gone.
    pub(super) fn forget(&mut self, label: u32) {
        self.by_label.remove(&label);
    }

    /// Everything is looked at again, soon.
    pub(super) fn look_at_all(&mut self) {
        self.by_label.values_mut().for_each(|watched| watched.next = 0);
    }

    /// The workers whose turn it is.
    fn due<'a>(&mut self, workers: impl Iterator<Item = &'a Worker>, now: BootNs) -> Vec<u32> {
        let mut due = Vec::new();
        for worker in workers.filter(|worker| worker.gone.is_none() && worker.sealed) {
            let Some(entry) = worker.entry else { continue };
            let watched = self.by_label.entry(worker.label).or_insert_with(|| Watched {
                entry,
                profile: worker.profile,
                next: now.saturating_add(FIRST),
                looks: 0,
                found: None,
                said: None,
            });
            if watched.entry != entry {
                // It has begun anew.
                (watched.entry, watched.next, watched.looks) = (entry, now.saturating_add(FIRST), 0);
            }
            if watched.profile != worker.profile {
                (watched.profile, watched.next) = (worker.profile, watched.next.min(now));
            }
            if watched.next <= now {
                due.push((watched.next, worker.label));
            }
        }
        // Who has waited longest.
        due.sort_unstable();
        due.truncate(TURN_MAX);
        due.into_iter().map(|(_, label)| label).collect()
    }
}

impl Pipeline {
    /// Looks at how those workers are set up whose turn it is. About once a second.
    pub fn look_at_setups(&mut self, now: BootNs) {
        if self.rules.posture_count() == 0 {
            return;
        }
        for label in self.postures.due(self.workers.iter(), now) {
            let pid = self.living(label);
            let looked = pid.is_some_and(|pid| self.look_at_setup(label, pid, now));
            if let Some(watched) = self.postures.by_label.get_mut(&label) {
                if looked && watched.looks == 0 {
                    tracing::info!(label, "set-up looked at");
                }
                let wait = match (looked, watched.looks) {
                    (false, _) => AGAIN,
                    (true, 0) => SECOND_LOOK,
                    (true, _) => EVERY,
                };
                watched.looks += u32::from(looked);
                watched.next = now.saturating_add(wait);
            }
        }
    }

    /// Looks at how every worker is set up that has a process, whosever turn it is.
    pub fn look_at_every_setup(&mut self, now: BootNs) {
        let labels: Vec<u32> = self.workers.iter().map(|worker| worker.label).collect();
        for label in labels {
            if let Some(pid) = self.living(label) {
                self.look_at_setup(label, pid, now);
            }
        }
    }

    /// Looks at how one worker is set up, through one of its processes; whether there is such a process, and it is known by now
    /// that it is no sandbox's.
    pub fn look_at_setup(&mut self, label: u32, pid: u32, now: BootNs) -> bool {
        // What keeps a pod's namespaces runs nothing; each container of the pod is told of by itself.
        match self.as_sandbox(label, now) {
            AsSandbox::Is => return true,
            AsSandbox::MayTurnOut => return false,
            AsSandbox::No => {}
        }
        let rules = self.rules.clone();
        let wanted = WantedVariables {
            credential: &|name| is_credential_name(name) || rules.names_identity(name),
            setting: &|name| rules.asks_for_setting(name),
        };
        let Some(setup) = self.proc.setup(pid, &wanted) else { return false };
        if let Some(tap) = &mut self.tap {
            tap.set_up(label, pid, now);
        }
        let Some(posture) = self.posture_of(label, setup) else { return true };
        self.take_posture(label, posture, now);
        true
    }

    /// What the rules say of a worker that is set up so.
    fn posture_of(&self, label: u32, mut setup: Setup) -> Option<Posture> {
        let worker = self.workers.get(label)?;
        if worker.place.container.is_some() {
            setup.container = Some(true);
        }
        let is_engines = |process: &Process| {
            let role = process.image().map(|image| self.rules.role(worker.profile, image.standing.role).kind);
            process.exited.is_none()
                && process.label == label
                && role.is_some_and(|kind| matches!(kind, RoleKind::Entry) || kind.engine_side())
        };
        let processes = self.processes.iter().map(|(_, process)| process);
        let arguments: Vec<_> = processes
            .filter(|process| is_engines(process))
            .filter_map(|process| process.image())
            .filter(|image| image.program.argv_known && !image.program.argv_truncated)
            .map(|image| image.program.argv.as_slice())
            .take(PROCESSES_MAX)
            .collect();
        let set_up = SetUp { setup: &setup, arguments: &arguments };
        Some(Posture::new(self.rules.postures(worker.profile, &set_up)))
    }

    fn take_posture(&mut self, label: u32, posture: Posture, now: BootNs) {
        let Some(worker) = self.workers.get_mut(label) else { return };
        let reaches_host = posture.reaches_host();
        worker.posture.clone_from(&posture.ids().into_iter().map(Into::into).collect());
        worker.reaches_host = reaches_host;
        let (worker, rules) = (&*worker, &*self.rules);
        let watched = self.postures.by_label.entry(label).or_insert_with(|| Watched {
            entry: worker.entry.unwrap_or(ProcessKey { pid: 0, start: 0 }),
            profile: worker.profile,
            next: now.saturating_add(EVERY),
            looks: 0,
            found: None,
            said: None,
        });
        let envelope = &self.detector.envelope;
        if watched.said.is_none() {
            watched.said = take_earlier(&mut self.postures.earlier, worker, envelope);
        }
        let said = watched.said.as_ref().map(|said| &said.posture);
        let alert = match said {
            _ if watched.found.as_ref() == Some(&posture) => None,
            // Nothing has changed while no agent ran.
            Some(said) if watched.found.is_none() && posture.is_what_was_said(said) => None,
            Some(said) if posture.is_fine() => {
                Some(posture_over(envelope, (worker, rules), said, Over::Mended, now))
            }
            None if posture.is_fine() => None,
            said => Some(posture_alert(envelope, (worker, rules), &posture, said, now)),
        };
        // After a restart too, when nothing is said: an incident that is younger than this look does not know of it.
        let is_news = alert.is_some() || (watched.found.is_none() && !posture.is_fine());
        watched.found = Some(posture).filter(|posture| !posture.is_fine());
        if let Some(alert) = &alert {
            watched.said = saved(alert, envelope);
            self.postures.changed = true;
        }
        if let Some(alert) = alert {
            tracing::info!(worker = %worker.name, state = alert.state.name(), title = alert.title, "posture");
            self.counts.alerts += 1;
            self.alerts.push_back(alert);
        }
        if is_news {
            self.detector.worker_known(worker, worker.profile, rules, now);
            if reaches_host {
                self.detector.reaches_host(worker.cgroup, now);
            }
        }
    }

    /// A worker has ended, and with it what was the matter with it.
    pub(super) fn end_posture(&mut self, label: u32, now: BootNs) {
        self.close_posture(label, Over::Gone, now);
    }

    /// A worker has turned out to be its pod's sandbox: what was said of it while that was not known is over.
    pub(super) fn end_posture_of_sandbox(&mut self, label: u32, now: BootNs) {
        if let Some(worker) = self.workers.get_mut(label) {
            worker.posture.clear();
            worker.reaches_host = false;
        }
        self.close_posture(label, Over::Sandbox, now);
    }

    fn close_posture(&mut self, label: u32, why: Over, now: BootNs) {
        let said = self.postures.by_label.remove(&label).and_then(|watched| watched.said);
        self.postures.changed |= said.is_some();
        let Some(worker) = self.workers.get(label) else { return };
        let envelope = &self.detector.envelope;
        // An earlier run may have said it, and this one not have looked yet.
        let Some(said) = said.or_else(|| take_earlier(&mut self.postures.earlier, worker, envelope)) else {
            return;
        };
        self.postures.changed = true;
        let alert = posture_over(envelope, (worker, &self.rules), &said.posture, why, now);
        self.counts.alerts += 1;
        self.alerts.push_back(alert);
    }

    /// Goes on with what an earlier run of the agent said: of workers that are still there it is not said again, of the
    /// others it is over. The workers of this run are known by now.
    pub fn resume_postures(&mut self, saved: Vec<SavedPosture>, now: BootNs) {
        let envelope = &self.detector.envelope;
        let (there, gone): (Vec<_>, Vec<_>) = saved.into_iter().partition(|saved| {
            self.workers.iter().any(|worker| worker.gone.is_none() && is_of(saved, worker, envelope))
        });
        for saved in gone {
            let alert = posture_gone(&self.detector.envelope, &saved, now);
            self.postures.changed = true;
            self.counts.alerts += 1;
            self.alerts.push_back(alert);
        }
        self.postures.earlier = there;
    }

    /// What is said of postures now, if that has changed since the last call.
    pub fn take_changed_postures(&mut self) -> Option<Vec<SavedPosture>> {
        std::mem::take(&mut self.postures.changed).then(|| {
            let said = self.postures.by_label.values().filter_map(|watched| watched.said.as_ref());
            said.chain(&self.postures.earlier).cloned().collect()
        })
    }
}

/// What an alert leaves to be known by the next run; `None`: it is over.
fn saved(alert: &Alert, envelope: &Envelope) -> Option<SavedPosture> {
    let (Some(worker), Some(posture)) = (&alert.worker, &alert.posture) else { return None };
    let saved = SavedPosture {
        boot: envelope.host.boot_id.clone(),
        worker: worker.clone(),
        posture: posture.clone(),
    };
    (alert.state != State::Closed).then_some(saved)
}

/// What an earlier run of the agent said of a worker; it is not kept there any more.
fn take_earlier(
    earlier: &mut Vec<SavedPosture>,
    worker: &Worker,
    envelope: &Envelope,
) -> Option<SavedPosture> {
    earlier.extract_if(.., |saved| is_of(saved, worker, envelope)).next()
}

fn is_of(saved: &SavedPosture, worker: &Worker, envelope: &Envelope) -> bool {
    saved.boot == envelope.host.boot_id && saved.worker.cgroup.id == worker.cgroup
}

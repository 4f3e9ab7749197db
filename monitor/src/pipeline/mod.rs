//! The walk of an event, from a record's bytes to an alert: `event` → `process` → `worker` → `profile` → `detect`.
//!
//! [`Pipeline`] owns those rooms' state and needs no kernel: records, clock and /proc come in from outside, alerts and
//! [`Effect`]s (what the kernel side has to be told) go out. A replayed recording walks the very same way. `intake` takes
//! records in and puts the two lanes into order, `judge` asks the rules, `attribute` remembers which run a lineage belongs
//! to, `leak` what was in a process that somebody read, `waiting` keeps what a worker does until its pod is known, `place` what was
//! written before its cgroup was looked at, `posture` looks at how workers are set up,
//! `judged` says up to when all of it is done, `missed` judges what began while no agent ran,
//! `canary` knows the agent's own signs of life, and `reach` looks up what the process behind a new incident could read.

mod attribute;
mod canary;
mod intake;
mod judge;
mod judged;
mod leak;
mod missed;
mod notice;
mod place;
mod posture;
mod reach;
mod tap;
mod waiting;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use monitor_common::map::{ProcState, proc_flags};

use crate::alert::Alert;
use crate::detect::{Detector, Envelope, GapReport, Gaps, Recent};
use crate::event::BootNs;
use crate::event::join::Join;
use crate::kernel::KernelFilter;
use crate::process::{Placing, ProcReader, Process, ProcessTable, Scanned};
use crate::profile::{Facts, ProfileId, RoleId, RuleSet};
use crate::worker::{KnownFiles, RootFiles, Worker, Workers};

pub use intake::Counts;
pub use judged::Judged;
pub use tap::Tap;

/// What the kernel side has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A process is an author root, or was forked below one before the kernel knew.
    MarkAuthor {
        /// Its pid.
        pid: u32,
        /// The image it runs.
        exec_id: u64,
        /// The image that is the root.
        root: u64,
    },
    /// The watched-path filter changed: see [`Pipeline::kernel_filter`].
    Filter,
    /// A worker's process was moved into this cgroup, which is nobody's: it is to be followed there.
    Follow {
        /// The cgroup.
        cgroup: u64,
    },
    /// A process that was met in a cgroup nobody had looked at is no worker's.
    Forget {
        /// Its pid.
        pid: u32,
    },
}

/// The agent's judgement, without its kernel side.
pub struct Pipeline {
    rules: Arc<RuleSet>,
    /// The workers; the run loop's discovery enters them.
    pub workers: Workers,
    processes: ProcessTable,
    join: Join,
    /// Incidents.
    pub detector: Detector,
    gaps: Gaps,
    recent: Recent,
    files: KnownFiles,
    attributions: attribute::Attributions,
    notices: notice::Notices,
    postures: posture::Postures,
    reads: leak::Reads,
    waiting: waiting::Waiting,
    unplaced: place::Unplaced,
    canary: Option<canary::Canary>,
    counts: Counts,
    proc: Box<dyn ProcReader>,
    roots: Box<dyn RootFiles>,
    alerts: VecDeque<Alert>,
    effects: Vec<Effect>,
    tap: Option<Box<dyn Tap>>,
}

impl Pipeline {
    /// A pipeline with these rules, for at most `processes` processes.
    pub fn new(
        rules: Arc<RuleSet>,
        envelope: Envelope,
        processes: usize,
        proc: Box<dyn ProcReader>,
        roots: Box<dyn RootFiles>,
    ) -> Self {
        Self {
            rules,
            workers: Workers::default(),
            processes: ProcessTable::new(processes),
            join: Join::default(),
            detector: Detector::new(envelope),
            gaps: Gaps::default(),
            recent: Recent::default(),
            files: KnownFiles::default(),
            attributions: attribute::Attributions::default(),
            notices: notice::Notices::default(),
            postures: posture::Postures::default(),
            reads: leak::Reads::default(),
            waiting: waiting::Waiting::default(),
            unplaced: place::Unplaced::default(),
            canary: None,
            counts: Counts::default(),
            proc,
            roots,
            alerts: VecDeque::new(),
            effects: Vec::new(),
            tap: None,
        }
    }

    /// From now on `tap` is told of everything that is taken.
    pub fn listen(&mut self, tap: Box<dyn Tap>) {
        self.tap = Some(tap);
    }

    /// The rules in force.
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// The processes it knows.
    pub fn processes(&self) -> &ProcessTable {
        &self.processes
    }

    /// What is the matter with how a worker is set up; `None`: nothing, or it was not looked at.
    pub fn posture(&self, label: u32) -> Option<&crate::detect::Posture> {
        self.postures.of(label)
    }

    /// What it has seen so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The oldest alert not taken yet.
    pub fn next_alert(&mut self) -> Option<Alert> {
        self.alerts.pop_front()
    }

    /// Queues an alert on an incident that the detector was told to change.
    pub fn raise(&mut self, alert: Alert) {
        self.counts.alerts += 1;
        self.alerts.push_back(alert);
    }

    /// Queues an alert of the agent's own (health).
    pub fn say(&mut self, alert: Alert) {
        self.alerts.push_back(alert);
    }

    /// Notes a gap that someone else found (sequence holes, budgets, the law).
    pub fn note_gap(&mut self, gap: GapReport) {
        if let Some(tap) = &mut self.tap {
            tap.gap(&gap);
        }
        self.gaps.note(gap);
    }

    /// How many gaps were noted, by reason.
    pub fn gap_counts(&self) -> &BTreeMap<&'static str, u64> {
        self.gaps.counts()
    }

    /// What the kernel side has to be told since the last call.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        if self.files.take_dirty() {
            self.effects.push(Effect::Filter);
        }
        std::mem::take(&mut self.effects)
    }

    /// The kernel's watched-path filter: the rules' keys and the known files.
    pub fn kernel_filter(&self) -> KernelFilter {
        let rules = self.rules.kernel_filter();
        KernelFilter {
            prefixes: rules.prefixes.clone(),
            names: rules.names.clone(),
            parents: rules.parents.clone(),
            inodes: self.files.inodes(),
        }
    }

    /// A worker was found: chooses its profile and enters the processes that run in it already. Returns what the kernel has
    /// to know of each.
    ///
    /// `fresh`: the worker's cgroup was made while the agent watched, so its set-up (runc, a launcher that moves itself in) is
    /// still going on and its first exec is still to come.
    pub fn worker_found(
        &mut self,
        label: u32,
        pids: &[u32],
        fresh: bool,
        now: BootNs,
    ) -> Vec<(u32, ProcState)> {
        let mut found: Vec<_> = pids.iter().filter_map(|pid| self.proc.read(*pid)).collect();
        // Parents before children.
        found.sort_by_key(|process| (process.key.start, process.key.pid));
        let first = found.first().map(|process| (process.key, entry_of(&process.program)));
        if let Some(worker) = self.workers.get_mut(label)
            && let Some((key, program)) = first
            && worker.entry.is_none()
        {
            worker.entry = Some(key);
            worker.entry_program = Some(program);
            worker.sealed = !fresh;
        }
        self.select(label, now);
        let states = self.scanned(label, found, now);
        self.look_for_secrets(label);
        self.may_wait(label, now);
        if let (Some(tap), Some(worker)) = (&mut self.tap, self.workers.get(label)) {
            tap.found(worker, fresh);
        }
        states
    }

    /// A worker's cgroup went away.
    pub fn worker_gone(&mut self, label: u32, now: BootNs) {
        if let Some(tap) = &mut self.tap {
            tap.gone(label, now);
        }
        self.end_posture(label, now);
    }

    fn scanned(&mut self, label: u32, found: Vec<Scanned>, now: BootNs) -> Vec<(u32, ProcState)> {
        let Some(worker) = self.workers.get(label) else { return Vec::new() };
        // Whatever ran before the agent looked is taken for the worker's own: who joined later cannot be told any more.
        let placing = Placing { outsider: RoleId::ENTRY, ..placing(&self.rules, Some(worker), &*self.proc) };
        let set_up = !worker.sealed;
        let mut states = Vec::new();
        let mut ids = Vec::new();
        for process in found {
            let (key, uid, exe) = (process.key, process.uid, process.program.exe_id);
            let at = self.processes.scanned(process, label, now, &placing, set_up);
            ids.push(at);
            let Some(image) = self.processes.get(at).and_then(|process| process.image()) else { continue };
            states.push((
                key.pid,
                ProcState {
                    start: key.start,
                    exec_id: image.exec_id,
                    parent_exec_id: 0,
                    author_root: image.author_root,
                    exe_ino: exe.ino,
                    exe_dev: exe.dev,
                    label,
                    uid,
                    flags: proc_flags::SCANNED | if image.author_root == 0 { 0 } else { proc_flags::AUTHOR },
                },
            ));
        }
        for at in ids {
            self.take_ids_of_scanned(label, at);
        }
        states
    }

    /// A worker's label names nothing any more.
    pub fn worker_forgotten(&mut self, label: u32, now: BootNs) {
        self.let_go(label, now);
        self.files.forget(label);
        self.recent.forget(label);
        self.processes.begin_anew(label);
        self.notices.forget(label);
        self.postures.forget(label);
    }

    /// Takes other rules: profiles are chosen again, and every process's role.
    pub fn reload(&mut self, rules: Arc<RuleSet>, now: BootNs) {
        self.detector.envelope.rules = rules.digest().to_owned();
        self.rules = rules;
        self.files.clear();
        let labels: Vec<u32> = self.workers.iter().map(|worker| worker.label).collect();
        for label in &labels {
            self.select(*label, now);
        }
        self.place_again();
        self.postures.look_at_all();
        for label in labels {
            self.look_for_secrets(label);
        }
    }

    /// The configuration says something else of workers now: their profiles are chosen again.
    pub fn reassigned(&mut self, now: BootNs) {
        self.reload(Arc::clone(&self.rules), now);
    }

    /// Chooses a worker's profile. Its processes keep their roles: the caller places them again if there are any.
    fn select(&mut self, label: u32, now: BootNs) -> bool {
        let Some(worker) = self.workers.get_mut(label) else { return false };
        let selection = self.rules.select(&worker.facts());
        let changed = worker.profile != selection.profile;
        let said = worker.selection.replace(selection.clone());
        worker.profile = selection.profile;
        if said.as_ref() == Some(&selection) {
            return changed;
        }
        let name = worker.name.clone();
        tracing::info!(
            worker = %name,
            profile = self.rules.profile_name(selection.profile),
            by = ?selection.rank,
            "profile chosen"
        );
        if let Some(notice) = selection.notice {
            let envelope = &self.detector.envelope;
            let mut alert = envelope.health(
                crate::alert::Severity::Low,
                crate::alert::State::Open,
                now,
                "profile-selection",
                format!("Worker {name}: {notice}"),
                notice,
            );
            if let Some(health) = &mut alert.health {
                health.subject = Some(name.to_string());
            }
            self.alerts.push_back(alert);
        }
        self.say_unknown_facts(label, now);
        changed
    }

    fn place_again(&mut self) {
        let (rules, workers, proc) = (&self.rules, &self.workers, &*self.proc);
        self.processes.place_again(|label| {
            let worker = workers.get(label)?;
            Some(Placing { outsider: RoleId::ENTRY, ..placing(rules, Some(worker), proc) })
        });
    }

    /// Looks again where the secrets of some workers are: of each `every`th, beginning with the `turn`th, so that all have had
    /// their turn after `every` calls.
    pub fn look_again(&mut self, turn: u64, every: u64, now: BootNs) {
        let due = |label: u32| every > 0 && u64::from(label) % every == turn % every;
        let labels: Vec<u32> =
            self.workers.iter().map(|worker| worker.label).filter(|label| due(*label)).collect();
        for label in labels {
            self.look_at(label, now);
        }
    }

    /// Looks again where the secrets of one worker are.
    pub fn look_at(&mut self, label: u32, now: BootNs) {
        self.look_for_secrets(label);
        if let Some(tap) = &mut self.tap {
            tap.looked(label, now);
        }
    }

    /// Resolves the rules' literal paths in the root of a worker's process.
    fn look_for_secrets(&mut self, label: u32) {
        let Some(pid) = self.living(label) else { return };
        self.files.look(label, pid, &self.rules.kernel_filter().literals, &*self.roots);
    }
}

impl Pipeline {
    /// The entry process of a worker, or any of it that lives: its root is the worker's.
    fn living(&self, label: u32) -> Option<u32> {
        let entry = self.workers.get(label)?.entry?;
        let lives = |process: &&Process| process.exited.is_none() && process.label == label;
        let entry = self.processes.find(entry).and_then(|at| self.processes.get(at)).filter(lives);
        let any = || self.processes.iter().map(|(_, process)| process).find(lives);
        entry.or_else(any).map(|process| process.key.pid)
    }
}

/// Role of a process that joins this worker from outside now.
fn outsider(worker: Option<&Worker>) -> RoleId {
    if worker.is_some_and(|worker| worker.sealed) { RoleId::OPERATOR } else { RoleId::ENTRY }
}

/// By what the processes of a worker get their roles now.
fn placing<'a>(rules: &'a RuleSet, worker: Option<&'a Worker>, proc: &'a dyn ProcReader) -> Placing<'a> {
    Placing {
        rules,
        profile: profile(worker),
        outsider: outsider(worker),
        facts: worker.map_or(Facts::NONE, |worker| &worker.assignment.facts),
        probes: worker.map_or(&[], |worker| &worker.assignment.probes),
        proc,
    }
}

fn profile(worker: Option<&Worker>) -> ProfileId {
    worker.map_or(ProfileId::GENERIC, |worker| worker.profile)
}

fn entry_of(program: &crate::process::Program) -> crate::profile::EntryProcess {
    let known = |path: &crate::event::Path| path.is_known().then(|| path.view.to_string());
    crate::profile::EntryProcess {
        exe: known(&program.exe),
        given: program.given.as_deref().map(str::to_owned),
        argv: program.argv.clone(),
        cwd: known(&program.cwd),
    }
}

#[cfg(test)]
mod tests;

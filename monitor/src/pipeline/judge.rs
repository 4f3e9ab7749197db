//! An event before the rules.

use std::collections::VecDeque;
use std::sync::Arc;

use monitor_common::filter::access;

use super::attribute::{as_candidate, of_worker};
use super::leak::Victims;
use super::{Counts, Effect, Pipeline, placing, profile};
use crate::alert::Alert;
use crate::detect::Scene;
use crate::event::{Body, Event, Exec, FileId, MountRelation, Open, Outcome};
use crate::process::{Executed, ProcessRef, Standing};
use crate::profile::{Actor, Facts, FindingKind, Pin, WorkerNames};
use crate::worker::FoundFile;

impl Pipeline {
    /// An exec, already in the process table.
    pub(super) fn executed(&mut self, event: &Event, exec: &Exec, executed: &Executed) {
        let label = event.subject.label;
        if executed.author_root {
            let exec_id = event.subject.exec_id;
            self.effects.push(Effect::MarkAuthor { pid: event.subject.key.pid, exec_id, root: exec_id });
        }
        let profile = profile(self.workers.get(label));
        let (env, most) = self.environment(event, exec, profile);
        self.take_ids(event, exec, executed.at, &env, most);
        self.judge(event, executed.at, executed.before, Some(executed));
        self.judge_ids(event, executed.at, &env);
    }

    /// Anything but a fork, exec or exit.
    pub(super) fn acted(&mut self, event: &Event) {
        if let Body::ConnectResult { sock, outcome, errno } = event.body {
            // The attempt is what is judged; what became of it is only said.
            return self.detector.connected(sock, outcome, errno, event.time);
        }
        let worker = self.workers.get(event.subject.label);
        if worker.is_none() {
            self.counts.no_worker += 1;
        }
        let acted = self.processes.acted(event, &placing(&self.rules, worker, &*self.proc));
        let at = acted.at;
        if acted.author_root {
            let (pid, exec_id) = (event.subject.key.pid, event.subject.exec_id);
            self.effects.push(Effect::MarkAuthor { pid, exec_id, root: exec_id });
        }
        for (old, new) in self.processes.take_renumbered() {
            self.attributions.renumbered(old, new);
        }
        self.take_ids_of_act(event, at);
        let standing = self
            .processes
            .get(at)
            .and_then(|process| process.image_of(event.subject.exec_id).or_else(|| process.image()))
            .map(|image| image.standing);
        if let Some(standing) = standing {
            self.judge(event, at, standing, None);
            self.judge_ids(event, at, &[]);
        }
        self.learn(event);
    }

    pub(super) fn judge(
        &mut self,
        event: &Event,
        at: ProcessRef,
        standing: Standing,
        executed: Option<&Executed>,
    ) {
        let worker = self.workers.get(event.subject.label);
        let process = self.processes.get(at);
        let image =
            process.and_then(|process| process.image_of(event.subject.exec_id).or_else(|| process.image()));
        let (proc_target, known_identity) = match &event.body {
            Body::Open(open) => (
                open.proc_pid.map(|target| self.processes.proc_target(at, target)),
                if open.id == FileId::default() { None } else { self.files.identity(found(open)) },
            ),
            Body::Unix(unix) => (None, self.files.identity(FoundFile { id: unix.id, generation: 0 })),
            _ => (None, None),
        };
        let scene = Scene::new(event, (at, standing.role), &self.processes, worker, &self.rules);
        let (items, pod) = of_worker(&self.rules, worker);
        let root = image.map_or(0, |image| image.author_root);
        let attribution = || self.attributions.of(&self.processes, at, root, items, pod);
        // What the runtime holds open from outside while it sets a worker up is nobody's way out.
        // Nothing was executed inside yet; who was moved in runs what no record told of.
        let on_its_way =
            || image.is_none_or(|image| !image.program.exe.is_known() || image.program.is_nowhere());
        let setting_up = worker.is_some_and(|worker| !worker.sealed) && (standing.entering || on_its_way());
        let (run_dir, nested_mount) = match &event.body {
            Body::Open(open) => (
                self.processes.run_dir(at),
                open.mount == MountRelation::Foreign
                    && (setting_up || self.processes.is_nested(at, open.file_mnt_ns)),
            ),
            Body::Unix(_) => (self.processes.run_dir(at), false),
            _ => (None, false),
        };
        let actor = Actor {
            role: Some(standing.role),
            role_since: standing.since,
            below_author: standing.below_author,
            image: image.map(|image| image.program.as_image()),
            proc_target,
            known_identity,
            run_dir,
            nested_mount,
            entering: executed.is_some_and(|executed| executed.entered),
            pin: executed.map_or(Pin::None, |executed| executed.pin),
            loader_before: executed.and_then(|executed| executed.loader_before),
            facts: worker.map_or(Facts::NONE, |worker| &worker.assignment.facts),
            worker: worker.map(|worker| WorkerNames { name: &worker.name, cgroup: &worker.path }),
            wall: self.detector.envelope.clock.seconds(event.time),
            reached: self.detector.reached(&scene, attribution),
            ..Actor::unknown(scene.profile)
        };
        let verdict = self.rules.verdict(&actor, event);
        match verdict.finding {
            Some(mut finding) => {
                if finding.kind == FindingKind::Expectation && worker.is_some_and(|worker| worker.awaits_pod)
                {
                    finding.certainty.lacks("pod");
                }
                let missed = executed.is_some_and(|executed| executed.scanned);
                if missed {
                    finding.certainty.is_candidate();
                }
                if let Some(read) = finding.process_read {
                    let victims = Victims {
                        processes: &self.processes,
                        workers: &self.workers,
                        rules: &self.rules,
                        proc: &*self.proc,
                    };
                    finding.leaked = victims.leaked(&mut self.reads, event, read);
                }
                let mut known = attribution();
                if missed && let Some(known) = &mut known {
                    as_candidate(known);
                }
                let known = self.attributions.with_running(known, &scene, items, &*self.roots);
                let alerts = self.detector.found(&finding, &scene, known, &self.recent);
                raise(alerts, &mut self.counts, &mut self.alerts);
            }
            None => {
                if let Some(identity) = verdict.used {
                    self.detector.used(&identity.id, &scene, attribution);
                }
            }
        }
        self.recent.keep(event);
    }

    /// An event before what its author root froze: findings of processes that claim other ids or outlive their run.
    fn judge_ids(&mut self, event: &Event, at: ProcessRef, env: &[(Arc<str>, Arc<str>)]) {
        let label = event.subject.label;
        let worker = self.workers.get(label);
        let (items, pod) = of_worker(&self.rules, worker);
        let image = self
            .processes
            .get(at)
            .and_then(|process| process.image_of(event.subject.exec_id).or_else(|| process.image()));
        let Some(image) = image.filter(|image| image.author_root != 0 && !items.is_empty()) else { return };
        let (root, exec_id, standing) = (image.author_root, image.exec_id, image.standing);
        let findings = self.attributions.signs(event, root, exec_id, env, items, &self.processes);
        for finding in findings {
            let scene = Scene::new(event, (at, standing.role), &self.processes, worker, &self.rules);
            let attribution = self.attributions.of(&self.processes, at, root, items, pod);
            let alerts = self.detector.found(&finding, &scene, attribution, &self.recent);
            raise(alerts, &mut self.counts, &mut self.alerts);
        }
    }

    /// A secret that was opened by its path is known by its inode from now on.
    pub(super) fn learn(&mut self, event: &Event) {
        let Body::Open(open) = &event.body else { return };
        let regular = open.mode & libc::S_IFMT == libc::S_IFREG;
        if open.outcome != Outcome::Ok || !regular || self.files.identity(found(open)).is_some() {
            return;
        }
        if let Some(identity) = self.rules.identity_of(&event.body) {
            self.files.learn(found(open), event.subject.label, access::ANY, identity.id.clone());
        }
    }
}

/// Queues what a finding is reason to say.
fn raise(alerts: Vec<Alert>, counts: &mut Counts, queue: &mut VecDeque<Alert>) {
    counts.findings += 1;
    counts.alerts += alerts.len() as u64;
    queue.extend(alerts);
}

/// The opened file.
fn found(open: &Open) -> FoundFile {
    FoundFile { id: open.id, generation: open.generation }
}

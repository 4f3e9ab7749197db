//! Records in: decoded, counted, put into order.

use std::collections::BTreeMap;

use super::{Effect, Pipeline, entry_of, placing};
use crate::detect::GapReport;
use crate::event::join::Release;
use crate::event::{Body, BootNs, DecodeError, Event, Lane, Subject, decode, new_cgroup};
use crate::process::{ProcessTable, Program};

/// What the pipeline has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records taken in.
    pub records: u64,
    /// Records that could not be decoded, by reason.
    pub undecodable: BTreeMap<String, u64>,
    /// Events by kind.
    pub events: BTreeMap<&'static str, u64>,
    /// Events of a label that names no worker.
    pub no_worker: u64,
    /// Events of cgroups that turned out to be no worker's.
    pub no_workers: u64,
    /// Priority events judged without their process's history.
    pub unexplained: u64,
    /// Findings.
    pub findings: u64,
    /// Alerts.
    pub alerts: u64,
}

impl Pipeline {
    /// Takes one record as it came from a ring.
    pub fn handle(&mut self, record: &[u8], now: BootNs) {
        self.counts.records += 1;
        match new_cgroup(record) {
            Some(Ok(new)) => return self.was_announced(new),
            Some(Err(error)) => return self.undecodable(error, now),
            None => {}
        }
        match decode(record) {
            Ok(event) => self.take(event, now),
            Err(error) => self.undecodable(error, now),
        }
    }

    /// Takes one event: the way of a replayed recording.
    pub fn take(&mut self, event: Event, now: BootNs) {
        *self.counts.events.entry(kind(&event.body)).or_default() += 1;
        self.take_since(event, now, now);
    }

    /// Takes one event that was read at `since`.
    pub(super) fn take_since(&mut self, event: Event, since: BootNs, now: BootNs) {
        let Some(event) = self.place(event, since) else { return };
        if let Some(event) = self.keep_waiting(event, now) {
            self.admit(event, now);
        }
    }

    /// Takes one event into its place in the order.
    pub(super) fn admit(&mut self, event: Event, now: BootNs) {
        if event.origin.lane == Lane::Lifecycle as u16 {
            return self.lifecycle(event);
        }
        let mut ready = Vec::new();
        let processes = &self.processes;
        self.join.push(
            event,
            now,
            |subject| explained(subject, processes),
            |event, why| ready.push((event, why)),
        );
        self.judge_all(ready);
    }

    /// The rings were read: every lifecycle record written before `read_until` has been taken. Lets held events go.
    pub fn turn_over(&mut self, read_until: Option<BootNs>, now: BootNs) {
        if let Some(time) = read_until {
            self.join.lifecycle_read_until(time);
        }
        if self.join.is_empty() {
            return;
        }
        let mut ready = Vec::new();
        let processes = &self.processes;
        self.join.release(
            now,
            |subject| explained(subject, processes),
            |event, why| ready.push((event, why)),
        );
        self.judge_all(ready);
    }

    /// When [`Self::turn_over`] has to be called again even if no record arrives.
    pub fn deadline(&self) -> Option<BootNs> {
        self.join.deadline()
    }

    /// What is due by the clock: held events, repeats, ended incidents, gaps, exited processes. About once a second.
    pub fn tick(&mut self, now: BootNs) {
        self.place_or_give_up(now);
        self.turn_over(None, now);
        self.processes.expire(now);
        self.attributions.tidy(&self.processes, now);
        self.look_around_late(now);
        // After it: their first alerts wait for no look around either.
        self.let_overdue_go(now);
        let due = self.detector.tick(now);
        self.counts.alerts += due.len() as u64;
        self.alerts.extend(due);
        self.say_notices(now);
        self.say_gaps(now, false);
    }

    /// The end: everything that is held, counted or waiting is said now.
    pub fn finish(&mut self, now: BootNs) {
        self.place_or_give_up(BootNs::MAX);
        self.let_overdue_go(BootNs::MAX);
        self.turn_over(Some(BootNs::MAX), now);
        while self.look_around(now) {}
        let due = self.detector.flush(now);
        self.counts.alerts += due.len() as u64;
        self.alerts.extend(due);
        self.say_gaps(now, true);
    }

    fn say_gaps(&mut self, now: BootNs, all: bool) {
        let (workers, rules) = (&self.workers, &self.rules);
        let due = self.gaps.take(now, all, &self.detector.envelope, |label| {
            let worker = workers.get(label)?;
            Some((worker, &**rules, worker.profile))
        });
        self.counts.alerts += due.len() as u64;
        self.alerts.extend(due);
    }

    fn undecodable(&mut self, error: DecodeError, now: BootNs) {
        *self.counts.undecodable.entry(error.to_string()).or_default() += 1;
        self.gaps.note(GapReport {
            reason: "undecodable",
            from: now,
            to: now,
            lost: Some(1),
            detail: format!("{error}; probes and agent do not fit: install both from one build"),
            ..GapReport::default()
        });
    }

    fn lifecycle(&mut self, event: Event) {
        if self.is_canarys(&event) {
            return;
        }
        let label = event.subject.label;
        match &event.body {
            Body::Fork(fork) => {
                let placing = placing(&self.rules, self.workers.get(label), &*self.proc);
                let at = self.processes.forked(&event, fork, &placing);
                let root =
                    self.processes.get(at).and_then(|process| process.image()).map(|image| image.author_root);
                if let Some(root) = root.filter(|root| *root != 0 && event.subject.author_root == 0) {
                    let (pid, exec_id) = (event.subject.key.pid, event.subject.exec_id);
                    self.effects.push(Effect::MarkAuthor { pid, exec_id, root });
                    if root == fork.parent_exec_id {
                        // The creator may have become one only now: to fork is to do something.
                        self.effects.push(Effect::MarkAuthor { pid: fork.parent.pid, exec_id: root, root });
                    }
                }
            }
            Body::Exec(exec) => {
                let sealed = self.workers.get(label).is_some_and(|worker| worker.sealed);
                if !self.processes.sets_up(&event, exec, sealed, &*self.proc) {
                    self.seal(&event, &Program::of_exec(exec, event.subject.uid));
                }
                let worker = self.workers.get(label);
                let first = worker.is_some_and(|worker| !worker.sealed);
                let placing = placing(&self.rules, worker, &*self.proc);
                let executed = self.processes.executed(&event, exec, &placing);
                if executed.set_up {
                    return;
                }
                if first && let Some(worker) = self.workers.get_mut(label) {
                    worker.sealed = true;
                }
                self.executed(&event, exec, &executed);
                if first {
                    self.look_for_secrets(label);
                }
            }
            Body::Exit { .. } => {
                self.processes.ended(&event);
                if self.processes.live(label) == 0
                    && let Some(worker) = self.workers.get_mut(label)
                {
                    // A unit that starts again in the same cgroup starts anew.
                    worker.sealed = false;
                    worker.entry = None;
                    worker.entry_program = None;
                    self.processes.begin_anew(label);
                }
            }
            _ => return self.judge_all(vec![(event, Release::Known)]),
        }
        self.heard(&event);
    }

    fn heard(&mut self, event: &Event) {
        if let Some(tap) = &mut self.tap {
            tap.event(event);
        }
    }

    /// The first exec inside a worker: its program is the entry program, by which the profile may be chosen.
    fn seal(&mut self, event: &Event, program: &Program) {
        let Some(worker) = self.workers.get_mut(event.subject.label).filter(|worker| !worker.sealed) else {
            return;
        };
        worker.entry = Some(event.subject.key);
        worker.entry_program = Some(entry_of(program));
        if self.select(event.subject.label, event.time) {
            self.place_again();
        }
    }

    fn judge_all(&mut self, ready: Vec<(Event, Release)>) {
        for (event, why) in ready {
            if self.is_canarys(&event) {
                continue;
            }
            if why != Release::Known {
                self.counts.unexplained += 1;
                self.gaps.note(GapReport {
                    reason: "unexplained",
                    from: event.time,
                    to: event.time,
                    lost: Some(1),
                    label: Some(event.subject.label),
                    detail: "the fork or exec record of the acting process was lost or late; roles and lineage of these \
                             events are what could be read from /proc"
                        .to_owned(),
                    ..GapReport::default()
                });
            }
            self.acted(&event);
            self.heard(&event);
        }
    }
}

/// The numbers the exec probe gives have this bit.
const EXECUTED: u64 = 1 << 63;

/// Whether no record is still to come that says what the subject runs: it is known, or the kernel made the process up on
/// first sight. One that has executed something since has an exec record on its way.
fn explained(subject: &Subject, processes: &ProcessTable) -> bool {
    processes.knows(subject) || (subject.unknown_history && subject.exec_id & EXECUTED == 0)
}

fn kind(body: &Body) -> &'static str {
    match body {
        Body::Fork(_) => "fork",
        Body::Exec(_) => "exec",
        Body::Exit { .. } => "exit",
        Body::Open(_) => "open",
        Body::Connect(connect) if connect.send => "send",
        Body::Connect(_) => "connect",
        Body::ConnectResult { .. } => "connect-result",
        Body::Unix(_) => "unix-connect",
        Body::Socket(_) => "socket",
        Body::CgroupMove { .. } => "cgroup-move",
    }
}

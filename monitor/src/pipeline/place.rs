//! Records that were written before the agent had looked at the cgroup they come from.
//!
//! The kernel marks them as unclassified and names the cgroup. They are kept in their order until somebody says whose that
//! cgroup is: its announcement is on its way in the other ring, or a look at the hierarchy finds it. What nobody claims for
//! [`PATIENCE`] is told as a gap. A process that left such a cgroup before anything was told of it is taken for nobody's after the
//! same time: what a runtime moves about before it begins.

use std::collections::VecDeque;

use monitor_common::map::UNCLASSIFIED;

use super::{Effect, Pipeline};
use crate::detect::GapReport;
use crate::event::{Body, BootNs, Event, NewCgroup, ProcessKey};
use crate::worker::Placed;

/// How long a record waits. ns.
const PATIENCE: BootNs = 3_000_000_000;
/// Most records that wait.
const MAX: usize = 8192;

/// The records that wait, and the cgroups that are to be looked at.
#[derive(Default)]
pub(super) struct Unplaced {
    events: VecDeque<(Event, BootNs)>,
    announced: VecDeque<NewCgroup>,
}

/// What is known of whose an event is.
enum Whose {
    Workers(u32),
    Nobodys,
    Unknown,
}

impl Pipeline {
    /// The oldest announced cgroup that was not looked at yet. What is read after its announcement may speak of it: whoever hands
    /// records in looks at it first, says so in [`Pipeline::workers`], and calls [`Self::place_waiting`].
    pub fn next_announced(&mut self) -> Option<NewCgroup> {
        self.unplaced.announced.pop_front()
    }

    /// Whether records wait for a cgroup to be looked at.
    pub fn has_unplaced_cgroup(&self) -> bool {
        self.unplaced.events.iter().any(|(event, _)| {
            awaited(event).into_iter().flatten().any(|cgroup| self.workers.placed(cgroup).is_none())
        })
    }

    /// The records that wait.
    pub(super) fn held_for_cgroups(&self) -> impl Iterator<Item = &Event> {
        self.unplaced.events.iter().map(|(event, _)| event)
    }

    /// Whether records wait.
    #[cfg(test)]
    pub(super) fn has_unplaced(&self) -> bool {
        !self.unplaced.events.is_empty()
    }

    pub(super) fn was_announced(&mut self, new: NewCgroup) {
        *self.counts.events.entry("cgroup-new").or_default() += 1;
        self.unplaced.announced.push_back(new);
    }

    /// Takes the records that waited for what is known by now.
    pub fn place_waiting(&mut self, now: BootNs) {
        for (event, since) in std::mem::take(&mut self.unplaced.events) {
            self.take_since(event, since, now);
        }
    }

    /// The same, if one of them waited for this cgroup.
    pub fn place_waiting_for(&mut self, cgroup: u64, now: BootNs) {
        if self.unplaced.events.iter().any(|(event, _)| awaited(event).contains(&Some(cgroup))) {
            self.place_waiting(now);
        }
    }

    /// The same, once the rings were read; what has waited too long is given up.
    pub(super) fn place_or_give_up(&mut self, now: BootNs) {
        self.place_waiting(now);
        let is_over = |since: BootNs| now.saturating_sub(since) >= PATIENCE;
        let (over, waits) =
            std::mem::take(&mut self.unplaced.events).into_iter().partition(|(_, since)| is_over(*since));
        self.unplaced.events = waits;
        let over: VecDeque<(Event, BootNs)> = over;
        over.iter().for_each(|(event, _)| self.give_up(event));
    }

    /// The event with its worker's label; keeps one of which that is not known yet, and drops what is nobody's.
    pub(super) fn place(&mut self, mut event: Event, since: BootNs) -> Option<Event> {
        let pending_move = matches!(event.body, Body::CgroupMove { .. }) && event.subject.pending;
        if event.subject.label != UNCLASSIFIED && !pending_move {
            return Some(event);
        }
        match self.whose(&event) {
            Whose::Workers(label) => {
                event.subject.label = label;
                let cgroup = event.subject.cgroup;
                if event.subject.pending && self.workers.placed(cgroup) == Some(Placed::Nobody) {
                    self.effects.push(Effect::Follow { cgroup });
                }
            }
            Whose::Nobodys => {
                self.counts.no_workers += 1;
                return None;
            }
            Whose::Unknown => return self.wait(event, since),
        }
        if !pending_move {
            return Some(event);
        }
        // Where it was moved to is known late too.
        let Body::CgroupMove { to, to_labelled, .. } = &mut event.body else { return Some(event) };
        match self.workers.placed(*to) {
            Some(Placed::Worker(label)) if label == event.subject.label => return None,
            Some(Placed::Worker(_)) => {}
            Some(Placed::Nobody) => {
                *to_labelled = false;
                self.effects.push(Effect::Follow { cgroup: *to });
            }
            None => return self.wait(event, since),
        }
        // From here on, and in a recording, it is like any.
        event.subject.pending = false;
        Some(event)
    }

    fn whose(&self, event: &Event) -> Whose {
        let subject = &event.subject;
        if subject.label != UNCLASSIFIED {
            return Whose::Workers(subject.label);
        }
        let of_process = |key: ProcessKey| {
            let process = self.processes.find(key).and_then(|at| self.processes.get(at))?;
            self.workers.get(process.label).map(|worker| worker.label)
        };
        let who = match &event.body {
            // It is not known itself before its fork was taken.
            Body::Fork(fork) => fork.parent,
            Body::CgroupMove { target_pid, .. } => {
                // What was told of it is in the other ring, or waits itself.
                let moved = self.processes.find_pid(*target_pid).and_then(|at| self.processes.get(at));
                return moved.map_or(Whose::Unknown, |process| Whose::Workers(process.label));
            }
            _ => subject.key,
        };
        if subject.moved || subject.cgroup == 0 {
            return of_process(who).map_or(Whose::Unknown, Whose::Workers);
        }
        match self.workers.placed(subject.cgroup) {
            Some(Placed::Worker(label)) => Whose::Workers(label),
            // A worker's process that was moved there is still one.
            Some(Placed::Nobody) => of_process(who).map_or(Whose::Nobodys, Whose::Workers),
            None => Whose::Unknown,
        }
    }

    fn wait(&mut self, event: Event, since: BootNs) -> Option<Event> {
        if self.unplaced.events.len() >= MAX
            && let Some((oldest, _)) = self.unplaced.events.pop_front()
        {
            // It has not waited for as long as it would take: nothing says that it is nobody's.
            self.say_unplaced(&oldest);
        }
        self.unplaced.events.push_back((event, since));
        None
    }

    fn give_up(&mut self, event: &Event) {
        let left = match event.body {
            _ if event.subject.label != UNCLASSIFIED => None,
            Body::CgroupMove { target_pid, .. } => Some(target_pid),
            _ if event.subject.moved => Some(event.subject.key.pid),
            _ => None,
        };
        if let Some(pid) = left {
            self.counts.no_workers += 1;
            self.effects.push(Effect::Forget { pid });
        } else {
            self.say_unplaced(event);
        }
    }

    fn say_unplaced(&mut self, event: &Event) {
        self.counts.no_worker += 1;
        self.gaps.note(GapReport {
            reason: "unplaced",
            from: event.time,
            to: event.time,
            lost: Some(1),
            detail: format!(
                "process {} in cgroup {}: whose it was is not known, as the record that announced the cgroup was lost or too many waited",
                event.subject.key.pid, event.subject.cgroup
            ),
            ..GapReport::default()
        });
    }
}

/// The cgroups that an event waits for: where it was written, and where it was moved to.
fn awaited(event: &Event) -> [Option<u64>; 2] {
    let subject = &event.subject;
    let to = match event.body {
        Body::CgroupMove { to, .. } if subject.pending => Some(to),
        _ => None,
    };
    let is_told_by_cgroup = subject.label == UNCLASSIFIED && !subject.moved && subject.cgroup != 0;
    let by = is_told_by_cgroup && !matches!(event.body, Body::CgroupMove { .. });
    [by.then_some(subject.cgroup), to]
}

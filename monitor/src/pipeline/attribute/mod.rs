//! Which run a lineage belongs to: taken where the profile says, from what was fixed before author code ran.
//!
//! On the engine's side values are kept by the image they were found at, and what is below inherits them. At the author
//! root they are frozen: whatever is below it, in whichever cgroup and whoever its parent is by then, belongs to what the
//! root belongs to, and says nothing that changes it. `walk` is where in an event's walk all this happens; `sign` has the findings of processes that claim to belong to
//! something else, or outlive their run.

mod log;
mod sign;
mod walk;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::alert::{self, Attributed};
use crate::event::BootNs;
use crate::process::{Process, ProcessRef, ProcessTable, Standing};
use crate::profile::Image;
use crate::profile::attribution::{Attribution, Field, Found, IdAt, IdSource, IdTrust};
use crate::worker::Execution;

pub(super) use walk::{OfPod, of_worker};

/// Most images whose values are kept; beyond it new ones are not taken. Those of ended processes go each second.
const TAKEN_MAX: usize = 65_536;

/// Opens kept per item and image: a root's own record may be read before those of opens that came before it.
const OPENS_MAX: usize = 4;

/// A value of one field.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Value {
    field: Field,
    value: Arc<str>,
    trust: IdTrust,
    source: Arc<str>,
    /// Number of the item in its profile.
    item: usize,
    /// For an open: when it was; 0 for what holds as long as the image.
    time: BootNs,
}

/// What an author root froze.
#[derive(Clone, Debug)]
struct Root {
    values: Vec<Value>,
    /// When it became one: opens after that say nothing of it.
    since: BootNs,
    label: u32,
    process: Option<ProcessRef>,
    /// When that process ended.
    ended: Option<BootNs>,
    /// What was said of it once is not said again.
    said: HashSet<(&'static str, &'static str)>,
}

/// What is known of an exec, or of a process that was found.
pub(super) struct Taking<'a> {
    /// The profile's items.
    pub(super) items: &'a [Attribution],
    /// Where it stands after the exec.
    pub(super) standing: Standing,
    /// Number of its image, and of the author root at or above it (0: none).
    pub(super) exec_id: u64,
    pub(super) author_root: u64,
    /// Its program.
    pub(super) image: Image<'a>,
    /// The script, if the kernel started its interpreter.
    pub(super) script: Option<&'a str>,
    /// Captured variables.
    pub(super) env: &'a [(Arc<str>, Arc<str>)],
    /// How far the variables, and the rest, can be relied on at most.
    pub(super) env_most: IdTrust,
    pub(super) most: IdTrust,
}

/// Fields by the image they were taken at, and what author roots made of them.
#[derive(Default)]
pub(super) struct Attributions {
    taken: HashMap<u64, Vec<Value>>,
    roots: HashMap<u64, Root>,
    /// By label: what the engine's event log said, and when.
    running: HashMap<u32, (BootNs, Vec<Execution>)>,
}

impl Attributions {
    /// Takes what an exec shows.
    pub(super) fn take(&mut self, taking: &Taking<'_>) {
        let below = taking.standing.below_author && taking.author_root != taking.exec_id;
        let mut values = Vec::new();
        for (number, item) in taking.items.iter().enumerate() {
            let here = match item.at {
                IdAt::Author => taking.author_root == taking.exec_id,
                IdAt::Role(role) => role == taking.standing.role,
                IdAt::EngineSide => false,
            };
            // What author code executes can fill what nobody else says, as the author's word, and change nothing.
            if !here || (below && item.trust > IdTrust::Author) {
                continue;
            }
            let is_env = matches!(item.source, IdSource::Env(_));
            let found = match &item.source {
                IdSource::Env(_) => item.in_env(taking.env).into_iter().collect(),
                _ => item.in_image(&taking.image, taking.script),
            };
            let most = if is_env { taking.env_most } else { taking.most };
            values.extend(found.into_iter().map(|found| value_of(found, item, number, most)));
        }
        if values.is_empty() {
            return;
        }
        if !below {
            if self.taken.len() < TAKEN_MAX {
                self.taken.insert(taking.exec_id, values);
            }
        } else if let Some(root) = self.roots.get_mut(&taking.author_root) {
            for value in values {
                if !root.values.iter().any(|frozen| frozen.field == value.field) {
                    root.values.push(value);
                }
            }
        }
    }

    /// Takes what an open by a process on the engine's side shows; whether it shows something.
    pub(super) fn opened(
        &mut self,
        items: &[Attribution],
        standing: Standing,
        exec_id: u64,
        path: &str,
        time: BootNs,
    ) -> bool {
        if standing.below_author {
            return false;
        }
        let mut any = false;
        for (number, item) in items.iter().enumerate() {
            let here = match item.at {
                IdAt::EngineSide => true,
                IdAt::Role(role) => role == standing.role,
                IdAt::Author => false,
            };
            let found = if here { item.in_open(path) } else { Vec::new() };
            if found.is_empty() || (self.taken.len() >= TAKEN_MAX && !self.taken.contains_key(&exec_id)) {
                continue;
            }
            any = true;
            let taken = self.taken.entry(exec_id).or_default();
            let mut times: Vec<BootNs> =
                taken.iter().filter(|value| value.item == number).map(|value| value.time).collect();
            times.dedup();
            if times.len() >= OPENS_MAX {
                taken.retain(|value| value.item != number || value.time != times[0]);
            }
            taken.extend(
                found
                    .into_iter()
                    .map(|found| Value { time, ..value_of(found, item, number, IdTrust::Engine) }),
            );
        }
        any
    }

    /// An open by `by` at `time` was read after roots below it had frozen: those that began later belong to what it shows.
    pub(super) fn freeze_late(
        &mut self,
        by: ProcessRef,
        time: BootNs,
        processes: &ProcessTable,
        items: &[Attribution],
        pod: OfPod<'_>,
    ) {
        let late: Vec<(u64, ProcessRef, BootNs)> = self
            .roots
            .iter()
            .filter(|(_, root)| root.since > time)
            .filter_map(|(number, root)| Some((*number, root.process?, root.since)))
            .filter(|(_, process, _)| processes.lineage(*process).any(|(at, _)| at == by))
            .collect();
        for (number, process, since) in late {
            let values = self.resolve(processes, process, Some((number, since)), items, pod);
            let Some(root) = self.roots.get_mut(&number) else { continue };
            let before = std::mem::replace(&mut root.values, values);
            for word in before {
                if !root.values.iter().any(|value| value.field == word.field) {
                    root.values.push(word);
                }
            }
        }
    }

    /// An author root froze what it belongs to, if it has not yet. `pod` is the worker's.
    pub(super) fn freeze(
        &mut self,
        root: u64,
        processes: &ProcessTable,
        items: &[Attribution],
        pod: OfPod<'_>,
        (label, since): (u32, BootNs),
    ) {
        if root == 0 || items.is_empty() || self.roots.contains_key(&root) {
            return;
        }
        let at = processes.find_exec(root);
        let limit = Some((root, since));
        let values = at.map(|at| self.resolve(processes, at, limit, items, pod)).unwrap_or_default();
        self.roots
            .insert(root, Root { values, since, label, process: at, ended: None, said: HashSet::new() });
    }

    /// The attribution of a process, seen at one of its images.
    pub(super) fn of(
        &self,
        processes: &ProcessTable,
        at: ProcessRef,
        author_root: u64,
        items: &[Attribution],
        pod: OfPod<'_>,
    ) -> Option<alert::Attribution> {
        if items.is_empty() {
            return None;
        }
        match self.roots.get(&author_root).filter(|_| author_root != 0) {
            Some(root) => in_alert(&root.values),
            None => in_alert(&self.resolve(processes, at, None, items, pod)),
        }
    }

    /// Of each field the value that can be relied on most; of equals the nearest above, then the item that comes first.
    fn resolve(
        &self,
        processes: &ProcessTable,
        at: ProcessRef,
        until: Option<(u64, BootNs)>,
        items: &[Attribution],
        pod: OfPod<'_>,
    ) -> Vec<Value> {
        let mut best: Vec<Value> = Vec::new();
        let mut offer = |value: &Value| match best.iter_mut().find(|known| known.field == value.field) {
            Some(known) if known.trust < value.trust => *known = value.clone(),
            Some(_) => {}
            None => best.push(value.clone()),
        };
        for (process_at, process) in processes.lineage(at) {
            let own = process_at == at;
            for image in process.images.iter().rev() {
                // What the root's process executed after it became the root is not the engine's.
                if own && until.is_some_and(|(root, _)| is_after(process, image.exec_id, root)) {
                    continue;
                }
                let in_time = |value: &&Value| until.is_none_or(|(_, since)| value.time <= since);
                let mut taken: Vec<&Value> =
                    self.taken.get(&image.exec_id).into_iter().flatten().filter(in_time).collect();
                // The item that comes first; of its opens the newest.
                taken.sort_by(|a, b| a.item.cmp(&b.item).then(b.time.cmp(&a.time)));
                taken.into_iter().for_each(&mut offer);
            }
        }
        for (number, item) in items.iter().enumerate() {
            if let Some(value) = pod.says(&item.source).filter(|value| !value.is_empty()) {
                let found = Found { field: item.field, value: value.into(), doubtful: false };
                offer(&value_of(found, item, number, IdTrust::Engine));
            }
        }
        best.sort_by_key(|value| value.field);
        best
    }

    /// The kernel knows an image by another number.
    pub(super) fn renumbered(&mut self, old: u64, new: u64) {
        if let Some(values) = self.taken.remove(&old) {
            self.taken.insert(new, values);
        }
        if let Some(root) = self.roots.remove(&old) {
            self.roots.insert(new, root);
        }
    }

    /// Forgets what nothing descends from any more.
    pub(super) fn tidy(&mut self, processes: &ProcessTable, now: BootNs) {
        self.running.retain(|_, (at, _)| now.saturating_sub(*at) < log::FRESH);
        if self.taken.is_empty() && self.roots.is_empty() {
            return;
        }
        self.taken.retain(|exec_id, _| processes.find_exec(*exec_id).is_some());
        let live: HashSet<u64> = processes
            .iter()
            .flat_map(|(_, process)| process.images.iter().map(|image| image.author_root))
            .collect();
        self.roots.retain(|root, _| live.contains(root));
        for root in self.roots.values_mut() {
            if root.ended.is_none() {
                root.ended = ended(root, processes, now);
            }
        }
    }
}

/// When the root's process ended; `None`: it lives.
fn ended(root: &Root, processes: &ProcessTable, now: BootNs) -> Option<BootNs> {
    let process = root.process.and_then(|at| processes.get(at));
    match process {
        Some(process) => process.exited,
        None => Some(now),
    }
}

fn is_after(process: &Process, image: u64, root: u64) -> bool {
    let place = |number: u64| process.images.iter().position(|image| image.exec_id == number);
    place(root).zip(place(image)).is_some_and(|(root, image)| image > root)
}

fn value_of(found: Found, item: &Attribution, number: usize, most: IdTrust) -> Value {
    let mut trust = item.trust.min(most);
    if found.doubtful {
        trust = trust.min(IdTrust::Candidate);
    }
    Value {
        field: found.field,
        value: found.value,
        trust,
        source: item.place().into(),
        item: number,
        time: 0,
    }
}

fn in_alert(values: &[Value]) -> Option<alert::Attribution> {
    let mut attribution = alert::Attribution::default();
    for value in values {
        let slot = match value.field {
            Field::Workflow => &mut attribution.workflow,
            Field::Run => &mut attribution.run,
            Field::Step => &mut attribution.step,
            Field::Actor => &mut attribution.actor,
            Field::Tenant => &mut attribution.tenant,
        };
        slot.get_or_insert_with(|| Attributed {
            value: value.value.to_string(),
            source: value.source.to_string(),
            trust: value.trust.name().to_owned(),
        });
    }
    (!values.is_empty()).then_some(attribution)
}

/// Of a process that nobody saw begin: by whom it was started is told by who its parent is now. What its pod says holds all the same.
pub(super) fn as_candidate(attribution: &mut alert::Attribution) {
    let alert::Attribution { workflow, run, step, actor, tenant, candidates: _ } = attribution;
    let fields = [workflow, run, step, actor, tenant].into_iter().flatten();
    for said in fields.filter(|said| !IdSource::is_of_pod(&said.source)) {
        IdTrust::Candidate.name().clone_into(&mut said.trust);
    }
}

#[cfg(test)]
mod tests;

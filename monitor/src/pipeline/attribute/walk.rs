//! Where in an event's walk its ids are taken.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::Taking;
use crate::event::{Body, Event, Exec, Outcome};
use crate::pipeline::{Pipeline, profile};
use crate::process::ProcessRef;
use crate::profile::attribution::{Attribution, IdSource, IdTrust};
use crate::profile::{Image, ProfileId, RuleSet};
use crate::worker::{Worker, WorkerPod};

/// Captured variables.
type Env<'a> = Cow<'a, [(Arc<str>, Arc<str>)]>;

static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();

/// What Kubernetes says of a worker's pod that ids are taken from.
#[derive(Clone, Copy)]
pub(in crate::pipeline) struct OfPod<'a> {
    labels: &'a BTreeMap<String, String>,
    pod: Option<&'a WorkerPod>,
}

impl<'a> OfPod<'a> {
    /// What it says there, if that is a place in it.
    pub(super) fn says(self, source: &IdSource) -> Option<&'a str> {
        let value = match source {
            IdSource::Label(name) => self.labels.get(&**name),
            IdSource::Annotation(name) => self.pod?.annotations.get(&**name),
            IdSource::Owner(kind) => {
                let pod = self.pod.filter(|pod| pod.owner_kind.as_deref() == Some(&**kind))?;
                pod.owner.as_ref()
            }
            _ => None,
        };
        value.map(String::as_str)
    }
}

/// The items of a worker's profile, and what its pod says.
pub(in crate::pipeline) fn of_worker<'a>(
    rules: &'a RuleSet,
    worker: Option<&'a Worker>,
) -> (&'a [Attribution], OfPod<'a>) {
    let labels = worker.map_or(&NO_LABELS, |worker| &worker.pod_labels);
    let pod = worker.and_then(|worker| worker.pod.as_ref());
    (rules.attribution(profile(worker)), OfPod { labels, pod })
}

impl Pipeline {
    /// The variables of an exec that its worker's profile asks for, and how far they can be relied on.
    pub(in crate::pipeline) fn environment<'a>(
        &self,
        event: &Event,
        exec: &'a Exec,
        profile: ProfileId,
    ) -> (Env<'a>, IdTrust) {
        if exec.env_from_kernel {
            let most = if exec.env_incomplete { IdTrust::Candidate } else { IdTrust::Engine };
            return (Cow::Borrowed(&exec.env), most);
        }
        let items = self.rules.attribution(profile);
        let wanted = |name: &str| asks_for(items, name);
        if !exec.env.is_empty() {
            // Read when the event came, which is sooner than now.
            let env = exec.env.iter().filter(|(name, _)| wanted(name)).cloned().collect();
            return (Cow::Owned(env), IdTrust::Scan);
        }
        let read = items.iter().any(|item| matches!(item.source, IdSource::Env(_)));
        let env = if read { self.proc.environment(event.subject.key.pid, &wanted) } else { Vec::new() };
        // Read later, where the process itself may have written.
        (Cow::Owned(env), IdTrust::Scan)
    }

    /// Takes the ids that an exec shows; an author root freezes its own.
    pub(in crate::pipeline) fn take_ids(
        &mut self,
        event: &Event,
        exec: &Exec,
        at: ProcessRef,
        env: &[(Arc<str>, Arc<str>)],
        env_most: IdTrust,
    ) {
        let worker = self.workers.get(event.subject.label);
        let (items, pod) = of_worker(&self.rules, worker);
        let Some(image) = self.processes.get(at).and_then(|process| process.image()) else { return };
        if items.is_empty() {
            return;
        }
        let script = exec.script.as_ref().filter(|script| !script.unreadable && !script.truncated);
        self.attributions.take(&Taking {
            items,
            standing: image.standing,
            exec_id: image.exec_id,
            author_root: image.author_root,
            image: Image::of_exec(exec, event.subject.uid),
            script: script.map(|script| &*script.text),
            env,
            env_most,
            most: IdTrust::Engine,
        });
        let (root, when) = (image.author_root, (event.subject.label, event.time));
        self.attributions.freeze(root, &self.processes, items, pod, when);
    }

    /// Takes the ids that another event shows: an open by the engine; the first act of a fork that is an author root.
    pub(in crate::pipeline) fn take_ids_of_act(&mut self, event: &Event, at: ProcessRef) {
        let worker = self.workers.get(event.subject.label);
        let (items, pod) = of_worker(&self.rules, worker);
        if items.is_empty() {
            return;
        }
        let Some(process) = self.processes.get(at) else { return };
        let Some(image) = process.image_of(event.subject.exec_id).or_else(|| process.image()) else { return };
        if let Body::Open(open) = &event.body
            && open.outcome == Outcome::Ok
            && open.path.is_known()
            && image.author_root == 0
        {
            let (standing, path) = (image.standing, &open.path.view);
            if self.attributions.opened(items, standing, image.exec_id, path, event.time) {
                self.attributions.freeze_late(at, event.time, &self.processes, items, pod);
            }
        }
        let (root, when) = (image.author_root, (event.subject.label, event.time));
        self.attributions.freeze(root, &self.processes, items, pod, when);
    }

    /// Takes the ids of a process that ran before the agent did.
    pub(in crate::pipeline) fn take_ids_of_scanned(&mut self, label: u32, at: ProcessRef) {
        let worker = self.workers.get(label);
        let (items, pod) = of_worker(&self.rules, worker);
        let Some(process) = self.processes.get(at) else { return };
        let Some(image) = process.image() else { return };
        if items.is_empty() {
            return;
        }
        let asks = items.iter().any(|item| matches!(item.source, IdSource::Env(_)));
        let wanted = |name: &str| asks_for(items, name);
        let env = if asks { self.proc.environment(process.key.pid, &wanted) } else { Vec::new() };
        self.attributions.take(&Taking {
            items,
            standing: image.standing,
            exec_id: image.exec_id,
            author_root: image.author_root,
            image: image.program.as_image(),
            script: None,
            env: &env,
            env_most: IdTrust::Scan,
            most: IdTrust::Scan,
        });
        let (root, when) = (image.author_root, (label, image.since));
        self.attributions.freeze(root, &self.processes, items, pod, when);
    }
}

fn asks_for(items: &[Attribution], name: &str) -> bool {
    items.iter().any(|item| matches!(&item.source, IdSource::Env(wanted) if **wanted == *name))
}

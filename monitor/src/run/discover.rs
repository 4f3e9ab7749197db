//! Workers come and go.

mod orders;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use orders::{Orders, ProbeLabels};

use super::{Agent, RunError};
use crate::config::Config;
use crate::detect::{GapReport, boot_now};
use crate::event::BootNs;
use crate::kernel::{KernelError, Polled, Probes};
use crate::metadata::HostEngines;
use crate::pipeline::Pipeline;
use crate::profile::Facts;
use crate::worker::{Assignment, CgroupPatterns, CgroupTree, Change, SystemHost, outside};

/// The patterns of the configuration.
pub(super) fn patterns(config: &Config) -> Result<CgroupPatterns, RunError> {
    let assign = config.workers.assign.iter().map(|assign| {
        let stated = assign.facts.iter().map(|(name, values)| (name, values.iter()));
        let assignment = Assignment {
            profile: Some(assign.profile.clone()),
            name: assign.name.clone(),
            // The configuration was refused when it was read if a fact says nothing.
            facts: Facts::new(stated).unwrap_or_default(),
            probes: assign.probes.clone(),
        };
        (assign.cgroup.as_str(), assignment)
    });
    Ok(CgroupPatterns::new(config.workers.watch.iter().map(String::as_str), assign)?)
}

/// A container's engine wrote down what it is before it had it made.
fn learn_host(pipeline: &mut Pipeline, engines: &HostEngines, label: u32) {
    if let Some(worker) = pipeline.workers.get_mut(label)
        && let Some(host) = engines.find(&worker.place)
    {
        worker.learn_host(host);
    }
}

impl<P: Probes> Agent<P> {
    /// Reads the rings. Cgroups that are announced in them are looked at before the next record is taken: it may be one of theirs.
    pub(super) fn read_records(&mut self, now: BootNs) -> Result<Polled, KernelError> {
        self.pipeline.place_waiting(now);
        let (mut orders, mut folders, mut changes) = (Orders::default(), Vec::new(), Vec::new());
        let (pipeline, discovery, tree) = (&mut self.pipeline, &mut self.discovery, &self.tree);
        let engines = &self.engines;
        let polled = self.probes.poll(Duration::ZERO, &mut |record| {
            pipeline.handle(record, now);
            while let Some(new) = pipeline.next_announced() {
                let visit = &mut |folder: &str| folders.push(folder.to_owned());
                let workers = &mut pipeline.workers;
                let found = discovery.announced(&new, tree, &mut orders, workers, now, visit);
                for change in &found {
                    if let Change::Found { label, .. } = change {
                        learn_host(pipeline, engines, *label);
                        // Nothing ran in it before the kernel watched: there is nobody to be looked for.
                        pipeline.worker_found(*label, &[], true, now);
                    }
                }
                changes.extend(found);
                pipeline.place_waiting_for(new.cgroup, now);
            }
        });
        for (cgroup, reason) in orders.carry_out(&mut ProbeLabels(&mut self.probes)) {
            self.discovery.could_not_label(cgroup, &mut self.pipeline.workers, now);
            self.unwatched(&format!("cgroup {cgroup}"), &reason);
        }
        folders.iter().for_each(|folder| self.watch_folder(folder));
        for change in changes {
            match change {
                Change::Found { label, .. } => {
                    self.say_found(label);
                    self.ask_for_pods();
                }
                other => self.changed(vec![other], true, &BTreeMap::new()),
            }
        }
        polled
    }

    fn watch_folder(&mut self, folder: &str) {
        if let Err(error) = self.watch.add(folder) {
            let reason =
                format!("new cgroups in it are found by their announcements and the rescan only: {error}");
            self.unwatched(folder, &reason);
        }
    }

    fn say_found(&self, label: u32) {
        if let Some(worker) = self.pipeline.workers.get(label) {
            tracing::info!(worker = %worker.name, cgroup = %worker.path, label, "worker found");
        }
    }
}

impl<P: Probes> Agent<P> {
    /// Looks at a cgroup and what is below it. `fresh`: it was made while the agent watched.
    pub(super) fn look(&mut self, path: &str, fresh: bool) {
        let now = boot_now();
        let watch = &mut self.watch;
        let mut failed = None;
        let changes = self.discovery.scan(
            path,
            &self.tree,
            &mut ProbeLabels(&mut self.probes),
            &mut self.pipeline.workers,
            now,
            &mut |folder| {
                if let Err(error) = watch.add(folder) {
                    failed.get_or_insert((folder.to_owned(), error));
                }
            },
        );
        if let Some((folder, error)) = failed {
            let reason =
                format!("new cgroups in it are found by their announcements and the rescan only: {error}");
            self.unwatched(&folder, &reason);
        }
        // While the agent watches, what leaves a new worker's cgroup is followed.
        let outside = if fresh { BTreeMap::new() } else { self.outside(&changes) };
        self.changed(changes, fresh, &outside);
        // One walk for all of them.
        let beside: HashSet<u32> = outside.into_values().flatten().collect();
        if !beside.is_empty() {
            self.follow("/", &beside);
        }
    }

    /// The processes in cgroups beside them of the workers that were just found, by label.
    pub(super) fn outside(&self, changes: &[Change]) -> BTreeMap<u32, Vec<u32>> {
        let new: BTreeMap<u32, &str> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Found { label, .. } => Some((*label, &*self.pipeline.workers.get(*label)?.path)),
                _ => None,
            })
            .collect();
        // All of /proc is looked at, which is not for nothing.
        if new.is_empty() {
            return BTreeMap::new();
        }
        let below = |path: &str| {
            let mut pids = Vec::new();
            self.processes_below(path, &mut pids);
            pids
        };
        let known = self.pipeline.processes().iter().map(|(_, process)| process);
        let known = known.filter(|process| process.exited.is_none());
        let mut inside: HashMap<u32, u32> = known.map(|process| (process.key.pid, process.label)).collect();
        for (label, path) in &new {
            inside.extend(below(path).into_iter().map(|pid| (pid, *label)));
        }
        let again = || new.values().flat_map(|path| below(path)).collect();
        let mut outside = outside(&SystemHost, &inside, std::process::id(), &again);
        outside.retain(|label, _| new.contains_key(label));
        outside
    }

    fn changed(&mut self, changes: Vec<Change>, fresh: bool, outside: &BTreeMap<u32, Vec<u32>>) {
        let now = boot_now();
        for change in changes {
            match change {
                Change::Found { label, from_birth } => {
                    let outside = outside.get(&label).map_or(&[][..], Vec::as_slice);
                    self.found(label, fresh, from_birth, outside);
                }
                Change::Gone { label } => {
                    if let Some(worker) = self.pipeline.workers.get(label) {
                        tracing::info!(worker = %worker.name, cgroup = %worker.path, "worker gone");
                    }
                    self.pipeline.worker_gone(label, now);
                }
                Change::Unwatched { path, reason } => self.unwatched(&path, &reason),
            }
        }
    }

    /// Watches by other patterns.
    pub(super) fn watch_others(&mut self, patterns: CgroupPatterns) {
        let now = boot_now();
        let changes = self.discovery.set_patterns(
            patterns,
            &mut ProbeLabels(&mut self.probes),
            &mut self.pipeline.workers,
            now,
        );
        self.changed(changes, true, &BTreeMap::new());
        self.pipeline.reassigned(now);
        self.look("/", false);
    }

    /// `outside`: those of its processes that run in cgroups beside it.
    fn found(&mut self, label: u32, fresh: bool, from_birth: bool, outside: &[u32]) {
        learn_host(&mut self.pipeline, &self.engines, label);
        self.say_found(label);
        let Some(worker) = self.pipeline.workers.get(label) else { return };
        let path = worker.path.to_string();
        let mut pids = Vec::new();
        // What a record tells of is not guessed from /proc.
        if !from_birth {
            self.processes_below(&path, &mut pids);
        }
        pids.extend(outside);
        let states = self.pipeline.worker_found(label, &pids, fresh, boot_now());
        for (pid, state) in states {
            // `false`: a probe met it meanwhile; what the probe saw is better.
            if let Err(error) = self.probes.put_process(pid, &state) {
                tracing::warn!(pid, %error, "process not entered into the kernel's map; its first event enters it");
            }
        }
        if !outside.is_empty() {
            tracing::info!(label, count = outside.len(), "processes of the worker run in cgroups beside it");
        }
        self.ask_for_pods();
    }

    /// In the cgroups of these processes, at or below this one, what runs is looked for among the workers' processes.
    fn follow(&mut self, path: &str, outside: &HashSet<u32>) {
        let there = self.tree.processes(path).unwrap_or_default();
        if there.iter().any(|pid| outside.contains(pid)) {
            let followed = self.tree.id(path).map_err(|error| error.to_string());
            let followed = followed
                .and_then(|cgroup| self.probes.follow_into(cgroup).map_err(|error| error.to_string()));
            if let Err(error) = followed {
                self.unwatched(path, &error);
            }
        }
        for child in self.tree.children(path).unwrap_or_default() {
            self.follow(&format!("{}/{child}", path.trim_end_matches('/')), outside);
        }
    }

    fn processes_below(&self, path: &str, pids: &mut Vec<u32>) {
        match self.tree.processes(path) {
            Ok(found) => pids.extend(found),
            Err(error) => tracing::debug!(cgroup = path, %error, "processes not listed"),
        }
        for child in self.tree.children(path).unwrap_or_default() {
            self.processes_below(&format!("{path}/{child}"), pids);
        }
    }

    /// Cgroups were made or removed.
    pub(super) fn cgroups_changed(&mut self) {
        match self.watch.changed() {
            Ok(changed) => {
                for path in changed {
                    self.look(&path, true);
                }
            }
            Err(error) => self.unwatched("/", &format!("cgroup changes cannot be read: {error}")),
        }
    }

    /// Looks at everything: what the watch may have missed, and workers whose time is over.
    pub(super) fn rescan(&mut self) {
        self.look("/", true);
        let now = boot_now();
        for label in self.pipeline.workers.expire(now) {
            self.pipeline.worker_forgotten(label, now);
            self.discovery.release(label, now);
        }
    }

    pub(super) fn unwatched(&mut self, path: &str, reason: &str) {
        tracing::warn!(cgroup = path, reason, "cgroup not watched");
        let now = boot_now();
        self.pipeline.note_gap(GapReport {
            reason: "unwatched",
            from: now,
            to: now,
            lost: None,
            detail: format!("{path}: {reason}"),
            ..GapReport::default()
        });
    }
}

//! A recording through the pipeline, with the recorded clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::facts::RecordedFacts;
use super::format::{Header, Line, WorkerFact};
use crate::alert::Alert;
use crate::detect::{Envelope, HostFacts, WallClock};
use crate::event::{BootNs, Event};
use crate::pipeline::Pipeline;
use crate::profile::RuleSet;
use crate::worker::Sandbox;

const SECOND: BootNs = 1_000_000_000;

/// The pipeline's clock goes on in steps of a second; a longer silence in a recording is crossed in at most so many.
const STEPS_MAX: u64 = 4096;

/// Most processes kept at once.
const PROCESSES: usize = 65_536;

/// Label on every alert of a replay, so that none is taken for something that happens now.
pub(super) const MARK: &str = "replay";

/// What a replay gave besides its alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Events taken.
    pub events: u64,
    /// Findings.
    pub findings: u64,
    /// Alerts raised.
    pub alerts: u64,
    /// By worker, the profile it had at the end.
    pub profiles: BTreeMap<String, String>,
}

/// A recording on its way through the pipeline.
pub struct Replay {
    pipeline: Pipeline,
    facts: RecordedFacts,
    now: BootNs,
    events: u64,
}

impl Replay {
    /// A pipeline for a recording with this header. Fails if its clock cannot be read.
    pub fn new(header: &Header, rules: Arc<RuleSet>) -> Result<Self, String> {
        let boot: jiff::Timestamp = header
            .boot
            .parse()
            .map_err(|error| format!("`boot` of the header is no time: {error}; write RFC 3339"))?;
        let envelope = Envelope {
            host: HostFacts {
                name: header.host.clone(),
                boot_id: header.boot_id.clone(),
                kernel: header.kernel.clone(),
                ..HostFacts::default()
            },
            cluster: None,
            environment: None,
            labels: BTreeMap::from([(MARK.to_owned(), header.made.name().to_owned())]),
            rules: rules.digest().to_owned(),
            clock: WallClock { boot: boot.as_nanosecond() },
            cgroup_root: header.cgroup_root.clone().unwrap_or_else(|| "/sys/fs/cgroup".to_owned()),
        };
        let facts = RecordedFacts::default();
        let pipeline =
            Pipeline::new(rules, envelope, PROCESSES, Box::new(facts.clone()), Box::new(facts.clone()));
        let mut replay = Self { pipeline, facts, now: 0, events: 0 };
        for worker in &header.workers {
            replay.found(worker);
        }
        Ok(replay)
    }

    /// Takes a line.
    pub fn take(&mut self, line: Line) {
        if let Some(time) = line.time() {
            self.go_on(time);
        }
        match line {
            Line::Worker(worker) => self.found(&worker),
            Line::Pod(known) => {
                self.facts.processes(known.processes);
                if let Some(worker) = self.pipeline.workers.get_mut(known.label) {
                    match known.sandbox {
                        true => worker.be_sandbox(),
                        // It was taken for one until its pod's list had it.
                        false => worker.sandbox = Sandbox::No,
                    }
                }
                self.pipeline.learn_pods(vec![(known.label, known.pod)], known.time);
                self.pipeline.take_effects();
            }
            // Only the clock goes on.
            Line::Waited(_) => {}
            Line::Facts(facts) => return self.facts.tell(facts),
            Line::Event(event) => self.event(*event),
            Line::Look(look) => {
                self.facts.files(look.files);
                self.pipeline.look_at(look.label, look.time);
            }
            Line::Reach(look) => {
                self.facts.processes(look.processes);
                self.pipeline.look_around_of(look.label, look.pid, look.time);
            }
            Line::Setup(look) => {
                self.facts.processes(look.processes);
                self.pipeline.look_at_setup(look.label, look.pid, look.time);
            }
            Line::Gap(gap) => self.pipeline.note_gap(gap.report()),
            Line::Gone(gone) => {
                if let Some(worker) = self.pipeline.workers.get_mut(gone.label) {
                    worker.gone.get_or_insert(gone.time);
                }
                self.pipeline.worker_gone(gone.label, gone.time);
            }
        }
        self.facts.forget_processes();
    }

    /// The oldest alert not taken yet.
    pub fn next_alert(&mut self) -> Option<Alert> {
        self.pipeline.next_alert()
    }

    /// The end: what is held or waiting is said, then [`Self::next_alert`] gives the last alerts.
    pub fn finish(&mut self) -> Replayed {
        // What the last second held is due.
        self.go_on(self.now.saturating_add(2 * SECOND));
        self.pipeline.finish(self.now);
        let rules = self.pipeline.rules().clone();
        let profiles = self
            .pipeline
            .workers
            .iter()
            .map(|worker| (worker.name.to_string(), rules.profile_name(worker.profile).to_owned()));
        Replayed {
            events: self.events,
            findings: self.pipeline.counts().findings,
            alerts: self.pipeline.counts().alerts,
            profiles: profiles.collect(),
        }
    }

    fn found(&mut self, fact: &WorkerFact) {
        self.now = self.now.max(fact.time);
        self.facts.processes(fact.processes.clone());
        self.facts.files(fact.files.clone());
        self.pipeline.workers.insert(fact.worker());
        let pids: Vec<u32> = fact.processes.iter().map(|process| process.key.pid).collect();
        self.pipeline.worker_found(fact.label, &pids, fact.fresh, fact.time);
        self.facts.forget_processes();
    }

    fn event(&mut self, event: Event) {
        self.events += 1;
        let time = event.time;
        self.pipeline.take(event, self.now);
        // A recording is in the order in which its events were judged: what explains this one stands before it, or was lost.
        self.pipeline.turn_over(Some(time.saturating_add(1)), self.now);
        if self.facts.tell_of_reach() {
            while self.pipeline.look_around(self.now) {}
        }
        self.pipeline.take_effects();
    }

    /// The clock goes on, with what is due each second. A line that is late does not turn it back.
    fn go_on(&mut self, time: BootNs) {
        if time <= self.now {
            return;
        }
        let first = self.now == 0;
        let (from, to) = (self.now / SECOND, time / SECOND);
        if !first && to > from {
            let step = (to - from).div_ceil(STEPS_MAX).max(1);
            let mut at = from + step;
            while at <= to {
                self.pipeline.tick(at * SECOND);
                at += step;
            }
        }
        self.now = time;
    }
}

//! The agent on probes that are not there: a folder plays the cgroup hierarchy, records come from a list.

mod interval;
mod logbook;
mod outlets;
mod outside;
mod postures;
mod pulse;
mod reload;
mod status;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use monitor_common::filter::access;
use monitor_common::hook::{Kind, Lane};
use monitor_common::map::{Label, ProcState};
use monitor_common::record::Header;
use nix::sys::eventfd::EventFd;

use super::*;
use crate::alert::Alert;
use crate::config::{Assign, SinkConfig};
use crate::event::fixture;
use crate::kernel::{Breach, Counters, Gap, KernelFilter, LawReport, Polled, Rates, Refusal};

#[derive(Default)]
struct State {
    labels: BTreeMap<u64, Label>,
    processes: BTreeMap<u32, ProcState>,
    filters: Vec<KernelFilter>,
    records: VecDeque<Vec<u8>>,
    gaps: Vec<Gap>,
    breaches: Vec<Breach>,
    counters: Counters,
    /// Once what is there was read, nothing can be read any more.
    broken: bool,
}

struct FakeProbes {
    wake: EventFd,
    state: State,
}

impl Probes for FakeProbes {
    fn epoll_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
    fn poll(&mut self, _: Duration, each: &mut dyn FnMut(&[u8])) -> Result<Polled, KernelError> {
        let records = self.state.records.len() as u64;
        self.state.records.drain(..).for_each(|record| each(&record));
        if self.state.broken {
            return Err(KernelError::Lockdown);
        }
        Ok(Polled { records, drained: true })
    }
    fn label_cgroup(&mut self, cgroup: u64, label: Label) -> Result<(), KernelError> {
        self.state.labels.insert(cgroup, label);
        Ok(())
    }
    fn unlabel_cgroup(&mut self, cgroup: u64) -> Result<(), KernelError> {
        self.state.labels.remove(&cgroup);
        Ok(())
    }
    fn cgroup_label(&self, cgroup: u64) -> Result<Option<Label>, KernelError> {
        Ok(self.state.labels.get(&cgroup).copied())
    }
    fn forget_unclassified(&mut self, pid: u32) -> Result<(), KernelError> {
        self.state.processes.remove(&pid);
        Ok(())
    }
    fn put_process(&mut self, pid: u32, state: &ProcState) -> Result<bool, KernelError> {
        Ok(self.state.processes.insert(pid, *state).is_none())
    }
    fn process(&self, pid: u32) -> Result<Option<ProcState>, KernelError> {
        Ok(self.state.processes.get(&pid).copied())
    }
    fn mark_author(&mut self, _: u32, _: u64, _: u64) -> Result<bool, KernelError> {
        Ok(true)
    }
    fn set_filter(&mut self, filter: &KernelFilter) -> Result<(), KernelError> {
        self.state.filters.push(filter.clone());
        Ok(())
    }
    fn set_env_names(&mut self, _: &[String]) -> Result<(), KernelError> {
        Ok(())
    }
    fn set_rates(&mut self, _: Rates) -> Result<(), KernelError> {
        Ok(())
    }
    fn counters(&self) -> Result<Counters, KernelError> {
        Ok(self.state.counters.clone())
    }
    fn check_law(&mut self) -> Result<LawReport, KernelError> {
        Ok(LawReport { breaches: self.state.breaches.clone(), ..LawReport::default() })
    }
    fn gaps(&mut self) -> Vec<Gap> {
        std::mem::take(&mut self.state.gaps)
    }
}

const PROFILE: &str = "
schema: sandwatch/profile/v1
name: toy
title: A toy engine
select: []
roles: []
expect:
  entry:
    exec: { allow: [{ any: true }] }
    identities: { allow: [], else: identity }
";
const IDENTITIES: &str = "
schema: sandwatch/identities/v1
identities:
  - { id: toy-key, class: engine, gives: everything, paths: [/etc/toy/key], respond: { rotate: Change it. } }
";

struct Rig {
    dir: tempfile::TempDir,
    agent: Agent<FakeProbes>,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["cgroup", "cgroup/lab", "rules/profiles"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let rules = dir.path().join("rules");
        fs::write(rules.join("profiles/toy.yaml"), PROFILE).unwrap();
        fs::write(rules.join("identities.yaml"), IDENTITIES).unwrap();
        let mut config =
            Config { sinks: vec![SinkConfig::file(dir.path().join("alerts"))], ..Config::default() };
        config.workers.watch = vec!["/lab/*".into()];
        config.workers.assign = vec![Assign {
            cgroup: "/lab/toy".into(),
            profile: "toy".into(),
            name: Some("my-toy".into()),
            facts: Default::default(),
            probes: Vec::new(),
        }];
        make_cgroup(&dir.path().join("cgroup/lab/toy"));
        let folders = vec![rules];
        let set = RuleSet::load(&folders).unwrap();
        let again = folders.clone();
        let files = RuleFiles::new(Box::new(move || RuleSet::load(&again)), folders);
        let probes = FakeProbes { wake: EventFd::new().unwrap(), state: State::default() };
        let sinks = engine(&config.sinks);
        let agent = Agent::new(probes, &config, set, files, sinks, &dir.path().join("cgroup"), 16).unwrap();
        Self { dir, agent }
    }

    fn turn(&mut self) -> bool {
        self.agent.turn(Duration::from_millis(20)).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn alerts(&self) -> Vec<Alert> {
        assert!(self.agent.sinks.settle(Duration::from_secs(60)));
        let text = fs::read_to_string(self.path("alerts")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn head(&self, kind: Kind) -> Header {
        // A process that no /proc shows, known to the agent by this record alone.
        let mut head = fixture::header(kind, 4_000_000, 1_000, 1);
        head.time = boot_now();
        head.proc_flags = monitor_common::map::proc_flags::LATE;
        head
    }
}

fn engine(sinks: &[SinkConfig]) -> Engine {
    let config = Config { sinks: sinks.to_vec(), ..Config::default() };
    let envelope = envelope(&config, "sha256:0", std::path::Path::new("/sys/fs/cgroup"));
    Engine::open(crate::delivery::Setup::of(&config, envelope).in_memory()).unwrap()
}

fn make_cgroup(path: &std::path::Path) {
    fs::create_dir(path).unwrap();
    fs::write(path.join("cgroup.procs"), "").unwrap();
}

fn id(path: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).unwrap().ino()
}

#[test]
fn worker_is_labelled_at_start_after_the_filter_is_set() {
    let rig = Rig::new();
    let state = &rig.agent.probes().state;
    assert_eq!(state.labels[&id(&rig.path("cgroup/lab/toy"))].id, 1);
    assert!(state.filters[0].prefixes.iter().any(|(prefix, _)| prefix == b"/etc/toy/key"));
    assert_eq!(&*rig.agent.pipeline().workers.get(1).unwrap().name, "my-toy");
}

#[test]
fn worker_made_later_is_labelled_and_a_removed_one_is_not_any_more() {
    let mut rig = Rig::new();
    let later = rig.path("cgroup/lab/later");
    make_cgroup(&later);
    rig.turn();
    let cgroup = id(&later);
    assert_eq!(rig.agent.probes().state.labels[&cgroup].id, 2);
    fs::remove_dir_all(&later).unwrap();
    rig.turn();
    assert!(!rig.agent.probes().state.labels.contains_key(&cgroup));
    assert!(rig.agent.pipeline().workers.get(2).unwrap().gone.is_some());
}

#[test]
fn record_of_a_theft_becomes_a_line_in_the_sinks_file() {
    let mut rig = Rig::new();
    let record = fixture::open(rig.head(Kind::Open), "/etc/toy/key", access::READ, 0);
    rig.agent.probes.state.records.push_back(record);
    rig.turn();
    let alert = rig.alerts().remove(0);
    assert_eq!(alert.worker.unwrap().name, "my-toy");
    assert_eq!(alert.blast_radius.unwrap().taken[0].identity, "toy-key");
    assert!(alert.host.boot_id.is_some());
    let inodes = &rig.agent.probes().state.filters.last().unwrap().inodes;
    assert!(inodes.iter().any(|file| file.ino == 4242), "the opened file is watched by its inode now");
}

#[test]
fn end_after_a_failure_still_says_and_sends_what_is_known() {
    let rig = Rig::new();
    let path = rig.path("alerts");
    let record = fixture::open(rig.head(Kind::Open), "/etc/toy/key", access::READ, 0);
    let Rig { dir, mut agent } = rig;
    agent.probes.state.records.push_back(record);
    agent.probes.state.broken = true;
    let error = run(agent).unwrap_err().to_string();
    assert_eq!(error, KernelError::Lockdown.to_string(), "the first failure is the one that is told");
    let text = fs::read_to_string(path).unwrap();
    let alert: Alert = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(alert.blast_radius.unwrap().taken[0].identity, "toy-key");
    drop(dir);
}

#[test]
fn broken_rule_file_is_refused_and_said_and_its_repair_too() {
    let mut rig = Rig::new();
    let before = rig.agent.pipeline().rules().digest().to_owned();
    fs::write(rig.path("rules/profiles/toy.yaml"), PROFILE.replace("title:", "titel:")).unwrap();
    rig.turn();
    assert_eq!(rig.agent.pipeline().rules().digest(), before);
    let alert = rig.alerts().remove(0);
    assert_eq!(alert.state, crate::alert::State::Open);
    let health = alert.health.unwrap();
    assert_eq!(health.condition, "rules-refused");
    assert!(health.detail.contains("toy.yaml") && health.detail.contains("titel"), "{}", health.detail);
    rig.agent.reload("a test");
    rig.turn();
    assert_eq!(rig.alerts().len(), 1, "the same is not said again");
    fs::write(rig.path("rules/profiles/toy.yaml"), PROFILE.replace("A toy", "Another toy")).unwrap();
    rig.turn();
    assert_ne!(rig.agent.pipeline().rules().digest(), before);
    assert_eq!(rig.alerts()[1].state, crate::alert::State::Closed);
}

#[test]
fn losses_budgets_and_a_broken_law_become_gaps() {
    let mut rig = Rig::new();
    let state = &mut rig.agent.probes.state;
    state.gaps.push(Gap { lane: Lane::Priority, cpu: 1, first: 5, count: 7, from: 10, to: 20 });
    state.breaches.push(Breach { place: "program x".into(), left: 2, right: 1 });
    state.counters.refusals.push(Refusal { label: 1, lane: Lane::Priority, count: 40, first: 5, last: 9 });
    rig.agent.second_now();
    rig.agent.second_now();
    rig.turn();
    let gaps: BTreeMap<String, (Option<u64>, Option<String>)> = rig
        .alerts()
        .into_iter()
        .map(|alert| {
            let gap = alert.gap.unwrap();
            (gap.reason, (gap.lost, alert.worker.map(|worker| worker.name)))
        })
        .collect();
    assert_eq!(gaps["lost"], (Some(7), None));
    assert_eq!(gaps["throttled"], (Some(40), Some("my-toy".into())), "said once, not again each second");
    assert_eq!(gaps["law-broken"].0, None);
}

#[test]
fn signals_reload_and_end() {
    let mut rig = Rig::new();
    rig.agent.heed(Signals::catch().unwrap()).unwrap();
    fs::rename(rig.path("alerts"), rig.path("alerts.1")).unwrap();
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGHUP).unwrap();
    assert!(!rig.turn());
    assert!(rig.agent.sinks.settle(Duration::from_secs(60)));
    assert!(rig.path("alerts").exists(), "the file was opened again");
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(rig.turn());
    let summary = rig.agent.finish().unwrap();
    assert_eq!((summary.received, summary.alerts), (0, 0));
}

#[test]
fn sink_that_cannot_write_does_not_end_the_agent() {
    let mut rig = Rig::new();
    rig.agent.sinks = engine(&[SinkConfig::file("/dev/full".into())]);
    rig.agent.sinks.start().unwrap();
    let record = fixture::open(rig.head(Kind::Open), "/etc/toy/key", access::READ, 0);
    rig.agent.probes.state.records.push_back(record);
    assert!(!rig.turn());
    assert!(!rig.turn());
    assert_eq!(rig.agent.pipeline().counts().alerts, 1);
}

#[test]
fn incidents_are_kept_said_again_and_closed_through_their_files() {
    let mut rig = Rig::new();
    rig.agent.keep_incidents(&rig.path("state"));
    let record = fixture::open(rig.head(Kind::Open), "/etc/toy/key", access::READ, 0);
    rig.agent.probes.state.records.push_back(record);
    rig.turn();
    let alert = rig.alerts().remove(0);
    rig.turn();
    let id = alert.incident.unwrap().id;
    let (kept, problems) = crate::detect::read_incidents(&rig.path("state")).unwrap();
    assert_eq!(
        (kept.len(), kept[0].id(), problems.len()),
        (1, &*id, 0),
        "written once its alert is in the spool"
    );
    // As if it had been forgotten since: the file is all there is.
    rig.agent.pipeline.detector = crate::detect::Detector::new(rig.agent.pipeline.detector.envelope.clone());
    let request = crate::detect::CloseRequest {
        id: id.clone(),
        by: "ops".into(),
        reason: "rotated".into(),
        time: "t".into(),
    };
    crate::detect::leave_request(&rig.path("state"), &request).unwrap();
    rig.agent.second_now();
    let closed = rig.alerts().pop().unwrap();
    assert_eq!(closed.state, crate::alert::State::Closed);
    assert_eq!(closed.incident.unwrap().closure.unwrap().reason, "rotated");
    assert!(!crate::detect::request_waits(&rig.path("state"), &id));
    let (kept, _) = crate::detect::read_incidents(&rig.path("state")).unwrap();
    assert_eq!(kept[0].state(), crate::alert::State::Closed);
}

#[test]
fn state_directory_that_cannot_be_used_is_said_and_the_agent_goes_on() {
    let mut rig = Rig::new();
    fs::write(rig.path("state"), "a file").unwrap();
    rig.agent.keep_incidents(&rig.path("state"));
    assert_eq!(rig.alerts()[0].health.as_ref().unwrap().condition, "incident-state");
    let record = fixture::open(rig.head(Kind::Open), "/etc/toy/key", access::READ, 0);
    rig.agent.probes.state.records.push_back(record);
    rig.turn();
    assert!(rig.alerts().iter().any(|alert| alert.incident.is_some()));
}

//! The agent at work: probes and pipeline on one thread, driven by epoll; delivery has its own.
//!
//! [`Agent`] holds them and does one [`Agent::turn`] at a time: rings first, then what else became readable, then the
//! duties of the second (`duties`). `discover` follows the cgroup hierarchy, `reload` the rule files, `signals` what people send;
//! `incidents` and `logbook` are what outlives it; `status` is what it tells of itself;
//! [`run`] turns until a signal ends it and gives back a [`Summary`]. Nothing that happens while it runs ends the agent: what
//! fails is said, and the rest goes on.

mod canary;
mod discover;
mod duties;
mod incidents;
mod interval;
mod last_good;
mod logbook;
mod manager;
mod options;
mod outlets;
mod pods;
mod postures;
mod pulse;
mod reload;
mod signals;
mod sizes;
mod status;
mod summary;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::config::Config;
use crate::delivery::Engine;
use crate::detect::{Envelope, HostFacts, WallClock, boot_now};
use crate::event::BootNs;
use crate::kernel::{KEPT_MARKER, KernelError, Probes};
use crate::metadata::HostEngines;
use crate::pipeline::{Effect, Pipeline};
use crate::process::{ProcReader, SystemProc};
use crate::profile::RuleSet;
use crate::recording::Recorder;
use crate::worker::{CgroupWatch, Discovery, MountedTree, PatternError, RootFiles, SystemRoots};

pub use last_good::LastGood;
pub use options::sensor_options;
pub use reload::{Load, Loaded, NewConfig, Refused, RuleFiles};
pub use signals::{Signals, Wish};
pub use summary::Summary;

/// Why the agent could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A `workers` pattern means nothing.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// The kernel side failed.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A system call failed.
    #[error("cannot {action}: {source}")]
    Os {
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// A lifecycle record may still be on its way into the ring this long after its clock was read: its CPU was preempted.
const IN_FLIGHT: BootNs = 2_000_000;
/// How long the rings are left alone while nothing wakes the agent (forks and exits do
/// not until their ring is a quarter full).
const QUIET_TURN: Duration = Duration::from_millis(250);
/// The same right after something happened. The probes rely on it: for as long they wake nobody again (`AWAKE` in
/// `monitor-ebpf/src/emit.rs`).
const BUSY_TURN: Duration = Duration::from_millis(2);
/// The same while the spool has not yet got what was handed to it.
const SPOOL_TURN: Duration = Duration::from_millis(10);
/// How long a turn is a busy one after the last record, ns.
const BUSY_FOR: BootNs = 100_000_000;
/// What the end takes beyond sending what is left.
const ENDING: Duration = Duration::from_secs(10);
const SECOND: BootNs = 1_000_000_000;

/// The running agent.
pub struct Agent<P: Probes> {
    probes: P,
    pipeline: Pipeline,
    discovery: Discovery,
    watch: CgroupWatch,
    tree: MountedTree,
    sinks: Engine,
    rules: RuleFiles,
    signals: Option<Signals>,
    epoll: Epoll,
    duties: duties::Duties,
    keeper: Option<incidents::Keeper>,
    postures: Option<postures::Postures>,
    learning: Option<pods::Learning>,
    engines: HostEngines,
    logbook: Option<logbook::Logbook>,
    pulse: Option<pulse::Pulse>,
    reporter: Option<status::Reporter>,
    canary: Option<canary::Watch>,
    /// A canary was to be there.
    wants_canary: bool,
    drain: Duration,
    /// The configuration in force, if it may change while the agent runs.
    config: Option<Config>,
    config_digest: String,
    /// Rule files that are left out, as it was said last.
    skipped: Vec<String>,
    outlets: outlets::Outlets,
    kept: Option<last_good::Keep>,
    interval: Option<interval::Interval>,
    progress: interval::Progress,
    /// Since when everything that workers do is seen.
    began: BootNs,
    last_record: BootNs,
    /// Worker cgroups that the probes have room for.
    max_cgroups: u32,
}

/// What epoll tells.
const RINGS: u64 = 0;
const CGROUPS: u64 = 1;
const RULES: u64 = 2;
const SIGNALS: u64 = 3;
const PODS: u64 = 4;

impl<P: Probes> Agent<P> {
    /// An agent on attached probes, with the rules in force: labels the workers, scans their processes, sets the filter.
    ///
    /// `cgroup_root` is the mount point of the cgroup2 hierarchy, `labels` the number of label ids the
    /// probes have room for: ids are `1..labels - 1`, the last is the canary's.
    pub fn new(
        probes: P,
        config: &Config,
        rules: Arc<RuleSet>,
        files: RuleFiles,
        sinks: Engine,
        cgroup_root: &std::path::Path,
        labels: u32,
    ) -> Result<Self, RunError> {
        Self::with_recorder(probes, config, rules, files, sinks, cgroup_root, labels, None)
    }

    /// The same, recording what it takes.
    #[expect(clippy::too_many_arguments, reason = "the parts of an agent; `new` is what others call")]
    pub fn with_recorder(
        probes: P,
        config: &Config,
        rules: Arc<RuleSet>,
        files: RuleFiles,
        sinks: Engine,
        cgroup_root: &std::path::Path,
        labels: u32,
        recorder: Option<Recorder>,
    ) -> Result<Self, RunError> {
        let mut sinks = sinks;
        sinks.start().map_err(io_error("start the threads of delivery"))?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(os("create an epoll"))?;
        let watch = CgroupWatch::new(cgroup_root).map_err(io_error("watch the cgroup hierarchy"))?;
        let readable = |number| EpollEvent::new(EpollFlags::EPOLLIN, number);
        epoll.add(probes.epoll_fd(), readable(RINGS)).map_err(os("watch the ring buffers"))?;
        epoll.add(watch.fd(), readable(CGROUPS)).map_err(os("watch the cgroup hierarchy"))?;
        if let Some(fd) = files.fd() {
            epoll.add(fd, readable(RULES)).map_err(os("watch the rule files"))?;
        }
        let envelope = envelope(config, rules.digest(), cgroup_root);
        let processes = usize::try_from(config.kernel.max_processes).unwrap_or(usize::MAX);
        let (proc, roots): (Box<dyn ProcReader>, Box<dyn RootFiles>) = match &recorder {
            None => (Box::new(SystemProc), Box::new(SystemRoots)),
            Some(recorder) => (Box::new(recorder.proc(SystemProc)), Box::new(recorder.roots(SystemRoots))),
        };
        let mut pipeline = Pipeline::new(rules, envelope, processes, proc, roots);
        if let Some(recorder) = recorder {
            pipeline.listen(Box::new(recorder));
        }
        let mut agent = Self {
            probes,
            pipeline,
            discovery: Discovery::new(discover::patterns(config)?, labels.saturating_sub(2))
                .without(std::process::id()),
            watch,
            tree: MountedTree::new(cgroup_root),
            sinks,
            rules: files,
            signals: None,
            epoll,
            duties: duties::Duties::default(),
            keeper: None,
            postures: None,
            learning: None,
            engines: HostEngines::new(&config.containers),
            logbook: None,
            pulse: None,
            reporter: None,
            canary: None,
            wants_canary: false,
            drain: config.drain.0,
            config: None,
            config_digest: String::new(),
            skipped: Vec::new(),
            outlets: outlets::Outlets::default(),
            kept: None,
            interval: None,
            progress: interval::Progress::from(boot_now()),
            began: 0,
            last_record: 0,
            max_cgroups: config.kernel.max_cgroups,
        };
        agent.learn_pods(config)?;
        // The filter before the labels: the first open of a worker is already held against it.
        agent.set_filter()?;
        agent.look("/", false);
        agent.began = boot_now();
        agent.apply_effects();
        // What there is to say already waits for the first turn: until then it is decided what is kept of it.
        Ok(agent)
    }

    /// Begins to learn about pods, if the configuration names somebody to ask. That it cannot is said, and ends nothing.
    fn learn_pods(&mut self, config: &Config) -> Result<(), RunError> {
        match pods::Learning::start(&config.pods) {
            Ok(None) => self.pipeline.wait_for_pods(0),
            Ok(Some(learning)) => {
                let event = EpollEvent::new(EpollFlags::EPOLLIN, PODS);
                self.epoll.add(learning.fd(), event).map_err(os("wait for what is said of pods"))?;
                self.learning = Some(learning);
                let most = u64::try_from(config.pods.wait.0.as_nanos()).unwrap_or(u64::MAX);
                self.pipeline.wait_for_pods(most);
            }
            Err(why) => self.pods_notice(Some(&why), boot_now()),
        }
        Ok(())
    }

    /// From now on SIGTERM and SIGINT end [`run`], SIGHUP loads the rules again and reopens files, SIGUSR1 only the
    /// latter. What came since they were caught is heeded too.
    pub fn heed(&mut self, signals: Signals) -> Result<(), RunError> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, SIGNALS);
        self.epoll.add(signals.fd(), event).map_err(os("watch for signals"))?;
        self.signals = Some(signals);
        Ok(())
    }

    /// From now on a changed configuration is taken too; this one is in force.
    pub fn follow_config(&mut self, config: Config, digest: String) {
        self.config = Some(config);
        self.outlets_are_of(digest.clone());
        self.config_digest = digest;
        self.say_skipped();
    }

    /// The probes.
    pub fn probes(&self) -> &P {
        &self.probes
    }

    /// The pipeline: workers, processes, counts.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Looks at how every worker is set up now.
    pub fn look_at_setups(&mut self) {
        self.pipeline.look_at_every_setup(boot_now());
    }

    /// Waits until something happens, at most `most`, and does what is to be done. `true`: a signal asks for the end.
    pub fn turn(&mut self, most: Duration) -> Result<bool, RunError> {
        let mut ready = [EpollEvent::empty(); 5];
        let timeout = EpollTimeout::try_from(self.patience(most)).unwrap_or(EpollTimeout::ZERO);
        let count = match self.epoll.wait(&mut ready, timeout) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(errno) => return Err(os("wait for events")(errno)),
        };
        let is_ready = |number| ready.iter().take(count).any(|event| event.data() == number);
        if is_ready(CGROUPS) {
            self.cgroups_changed();
        }
        if is_ready(PODS) {
            self.pods_answered();
        }
        self.read_rings()?;
        // Before anything else: an alert waits for no duty, no map and no file system.
        self.deliver();
        if self.pipeline.detector.has_begun() {
            // The look around takes its time, on the processor where the threads of delivery may have been woken just now.
            std::thread::yield_now();
        }
        if is_ready(RULES) && self.rules.changed() {
            self.reload("a file changed");
        }
        let mut end = false;
        if is_ready(SIGNALS) {
            for wish in self.signals.as_mut().map(Signals::read).unwrap_or_default() {
                match wish {
                    Wish::End => end = true,
                    Wish::Reopen => self.sinks.reopen(),
                    Wish::Reload => {
                        self.sinks.reopen();
                        self.reload(reload::ASKED);
                    }
                }
            }
        }
        self.follow_outlets();
        self.second();
        self.apply_effects();
        self.deliver();
        self.pipeline.look_around(boot_now());
        self.moved();
        Ok(end)
    }

    /// The end: reads what is left, says what was held or counted, and sums up.
    pub fn finish(mut self) -> Result<Summary, RunError> {
        // Whatever fails now, what is known is said and sent first.
        let read = self.read_rings();
        self.second_now();
        self.pipeline.finish(boot_now());
        // What a file says was sent has to be in the spool.
        if self.all_spooled() {
            self.keep_last();
            self.write_postures();
        } else {
            tracing::warn!("alerts wait to be spooled: the files of incidents stay as they were");
        }
        self.watched(true);
        self.finish_log();
        let counters = self.probes.counters();
        let sinks = self.sinks.finish();
        read?;
        Ok(Summary::new(&counters?, self.pipeline.counts(), sinks))
    }

    /// What it does, in one line.
    fn status(&self) -> String {
        let count = self.pipeline.workers.present();
        format!("watching {count} worker{}", if count == 1 { "" } else { "s" })
    }

    fn read_rings(&mut self) -> Result<(), RunError> {
        let before = boot_now();
        let polled = self.read_records(before)?;
        if polled.records > 0 {
            self.last_record = before;
        }
        let read_until = polled.drained.then(|| before.saturating_sub(IN_FLIGHT));
        self.progress.read = self.progress.read.max(read_until.unwrap_or(0));
        self.pipeline.turn_over(read_until, boot_now());
        Ok(())
    }

    fn patience(&self, most: Duration) -> Duration {
        if self.pipeline.detector.has_begun() {
            return Duration::ZERO;
        }
        let now = boot_now();
        let busy = now.saturating_sub(self.last_record) < BUSY_FOR || self.pipeline.deadline().is_some();
        // Until the spool has what was handed to it, and the incident's file can say so.
        let most = if self.sinks.is_unconfirmed() { most.min(SPOOL_TURN) } else { most };
        most.min(if busy { BUSY_TURN } else { QUIET_TURN })
    }

    fn apply_effects(&mut self) {
        for effect in self.pipeline.take_effects() {
            match effect {
                Effect::MarkAuthor { pid, exec_id, root } => {
                    // `false`: it has executed something else or is gone; its lineage is in the table all the same.
                    if let Err(error) = self.probes.mark_author(pid, exec_id, root) {
                        tracing::warn!(pid, %error, "author root not marked in the kernel");
                    }
                }
                Effect::Follow { cgroup } => {
                    if let Err(error) = self.probes.follow_into(cgroup) {
                        self.unwatched(&format!("cgroup {cgroup}"), &error.to_string());
                    }
                }
                Effect::Forget { pid } => {
                    if let Err(error) = self.probes.forget_unclassified(pid) {
                        tracing::warn!(pid, %error, "process that is no worker's not forgotten");
                    }
                }
                Effect::Filter => {
                    if let Err(error) = self.set_filter() {
                        self.say_filter_failed(&error);
                    }
                }
            }
        }
    }

    fn set_filter(&mut self) -> Result<(), RunError> {
        let mut filter = self.pipeline.kernel_filter();
        if self.canary.is_some() {
            filter.names.push((KEPT_MARKER.as_bytes().to_vec(), monitor_common::filter::access::READ));
        }
        self.probes.set_filter(&filter)?;
        let names: Vec<String> =
            self.pipeline.rules().env_names().iter().map(|name| name.to_string()).collect();
        self.probes.set_env_names(&names)?;
        Ok(())
    }

    fn deliver(&mut self) {
        while let Some(alert) = self.pipeline.next_alert() {
            self.progress.handed += 1;
            self.sinks.accept(alert);
        }
        self.sinks.take_logged().into_iter().for_each(|entry| self.log(entry));
        for (id, revision) in self.sinks.take_appended() {
            self.progress.spooled += 1;
            self.sent(&id, revision);
        }
    }
}

/// What every alert of an agent with this configuration carries.
pub fn envelope(config: &Config, rules: &str, cgroup_root: &std::path::Path) -> Envelope {
    Envelope {
        host: HostFacts::read(),
        cluster: config.cluster.clone(),
        environment: config.environment.clone(),
        labels: config.labels.clone(),
        rules: rules.to_owned(),
        clock: WallClock::now(),
        cgroup_root: cgroup_root.to_string_lossy().into_owned(),
    }
}

/// Turns until a signal that it heeds ends it.
pub fn run<P: Probes>(mut agent: Agent<P>) -> Result<Summary, RunError> {
    let mut manager = manager::Manager::of_environment();
    manager.ready(agent.status());
    let failed = loop {
        match agent.turn(manager.patience(Duration::from_secs(1))) {
            Ok(true) => break None,
            Ok(false) => manager.alive(|| agent.status()),
            Err(error) => break Some(error),
        }
    };
    manager.stopping(agent.drain + ENDING);
    // Also after a failure: what was raised is sent, and the cursors are kept.
    let summary = agent.finish();
    failed.map_or(summary, Err)
}

fn os(action: &'static str) -> impl Fn(nix::errno::Errno) -> RunError {
    move |errno| RunError::Os { action, source: errno.into() }
}

fn io_error(action: &'static str) -> impl Fn(io::Error) -> RunError {
    move |source| RunError::Os { action, source }
}

#[cfg(test)]
mod tests;

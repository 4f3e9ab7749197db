//! What a case acts in: one sensor for the whole run, a worker cgroup and a label of the case's own, and the events that
//! arrived for it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use monitor::event::{Body, Event, NewCgroup, Rung, Signal, decode, new_cgroup};
use monitor::kernel::{Coverage, HookChoice, KernelFilter, MapSizes, Probes as _, Sensor, SensorOptions};
use monitor_common::filter::access;
use monitor_common::map::{Label, label_state};

use crate::child::Child;
use crate::files::{WATCHED_FOLDER, WATCHED_NAME};

/// Longest a case waits for an event.
const PATIENCE: Duration = Duration::from_secs(60);

thread_local! {
    static WORLD: RefCell<Option<Result<World, String>>> = const { RefCell::new(None) };
}

/// The sensor and the current case's worker.
pub struct World {
    sensor: Sensor,
    label: u32,
    cgroup: PathBuf,
    events: BTreeMap<u32, Vec<Event>>,
    malformed: u64,
    announced: Vec<NewCgroup>,
}

impl World {
    /// Runs `act` on the world, which is made at the first call.
    pub(crate) fn with<T>(act: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        WORLD.with_borrow_mut(|world| {
            let world = world.get_or_insert_with(|| Self::start().map_err(|error| format!("{error:#}")));
            act(world.as_mut().map_err(|error| anyhow!("no sensor: {error}"))?)
        })
    }

    fn start() -> Result<Self> {
        let hooks = std::env::var("SANDWATCH_HOOKS").unwrap_or_default();
        let options = SensorOptions {
            hooks: HookChoice::from_str(&hooks)?,
            // Small enough to overflow soon, large enough not to while somebody reads.
            sizes: MapSizes { lifecycle_ring: 1 << 20, ..MapSizes::default() },
            env_names: vec!["SW_RUN_ID".into(), "SW_STEP".into()],
            canary: false,
            ..SensorOptions::default()
        };
        let mut sensor = Sensor::start(&options).context("the sensor does not start")?;
        sensor.set_filter(&Self::filter())?;
        Ok(Self {
            sensor,
            label: 0,
            cgroup: PathBuf::new(),
            events: BTreeMap::new(),
            malformed: 0,
            announced: Vec::new(),
        })
    }

    /// What the cases watch: a file name and a folder name wherever they lie.
    pub(crate) fn filter() -> KernelFilter {
        KernelFilter {
            names: vec![(WATCHED_NAME.into(), access::ANY)],
            parents: vec![(WATCHED_FOLDER.into(), access::ANY)],
            ..KernelFilter::default()
        }
    }

    /// Makes the next case's worker.
    pub(crate) fn enter(&mut self) -> Result<()> {
        self.label += 1;
        self.events.clear();
        self.cgroup =
            self.sensor.cgroup_root().join(format!("sw-case-{}-{}", std::process::id(), self.label));
        fs::create_dir(&self.cgroup).with_context(|| format!("cannot make {}", self.cgroup.display()))?;
        let id = cgroup_id(&self.cgroup)?;
        self.sensor.label_cgroup(id, Label { id: self.label, state: label_state::WORKER })?;
        Ok(())
    }

    /// Removes it, children of it included.
    pub(crate) fn leave(&mut self) {
        // Not a failure of the case: what is left is in the cgroup's name.
        let _ = remove_cgroups(&self.cgroup);
    }

    /// The worker's cgroup.
    pub(crate) fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// Label of the worker.
    pub(crate) fn label(&self) -> u32 {
        self.label
    }

    /// The sensor.
    pub(crate) fn sensor(&mut self) -> &mut Sensor {
        &mut self.sensor
    }

    /// What is watched.
    pub(crate) fn coverage(&self) -> &Coverage {
        self.sensor.coverage()
    }

    /// Rung of a signal, `None` if it is not watched.
    pub(crate) fn rung(&self, signal: Signal) -> Option<Rung> {
        self.coverage().signals.iter().find(|coverage| coverage.signal == signal).and_then(|found| found.rung)
    }

    /// Names of the gaps of a signal.
    pub(crate) fn gaps(&self, signal: Signal) -> Vec<String> {
        let found = self.coverage().signals.iter().find(|coverage| coverage.signal == signal);
        found.map(|found| found.gaps.iter().map(|gap| gap.name.to_string()).collect()).unwrap_or_default()
    }

    /// Runs `act` in the worker and returns all events of the worker up to the child's end. The exit code must be 0.
    pub(crate) fn run(&mut self, act: impl FnOnce() -> i32) -> Result<Vec<Event>> {
        let cgroup = self.cgroup.clone();
        self.run_in(&cgroup, act)
    }

    /// The same in another cgroup.
    pub(crate) fn run_in(&mut self, cgroup: &Path, act: impl FnOnce() -> i32) -> Result<Vec<Event>> {
        let child = Child::spawn(cgroup, act)?;
        let pid = child.pid;
        let code = child.wait()?;
        let events = self.until_exit(pid)?;
        if code != 0 {
            bail!("the child ended with {code}; events: {events:#?}");
        }
        Ok(events)
    }

    /// Everything the worker reported until the end of `pid`, taken.
    pub(crate) fn until_exit(&mut self, pid: u32) -> Result<Vec<Event>> {
        let ended = |event: &Event| matches!(event.body, Body::Exit { .. }) && event.subject.key.pid == pid;
        let until = Instant::now() + PATIENCE;
        loop {
            self.poll(Duration::from_millis(20))?;
            if self.seen().iter().any(ended) {
                // The exit is in its lane after everything the process did; the other lane may be a step behind.
                self.poll(Duration::from_millis(20))?;
                return Ok(self.take());
            }
            if Instant::now() > until {
                bail!("no exit of {pid} within {PATIENCE:?}; seen: {:#?}", self.seen());
            }
        }
    }

    /// Runs of any program that the kernel skipped so far (gap `interrupted-runs`).
    pub(crate) fn skipped(&mut self) -> Result<u64> {
        let counters = self.sensor().counters()?;
        Ok(counters.programs.iter().filter_map(|program| program.missed).sum())
    }

    /// Takes what arrived for the worker so far.
    pub(crate) fn take(&mut self) -> Vec<Event> {
        self.events.remove(&self.label).unwrap_or_default()
    }

    /// The cgroups that were announced since the last call.
    pub(crate) fn take_announced(&mut self) -> Vec<NewCgroup> {
        std::mem::take(&mut self.announced)
    }

    /// Events of another label, taken.
    pub(crate) fn take_of(&mut self, label: u32) -> Vec<Event> {
        self.events.remove(&label).unwrap_or_default()
    }

    fn seen(&self) -> &[Event] {
        self.events.get(&self.label).map_or(&[], Vec::as_slice)
    }

    /// Reads the rings until they are empty.
    pub(crate) fn poll(&mut self, timeout: Duration) -> Result<()> {
        let (events, malformed, announced) = (&mut self.events, &mut self.malformed, &mut self.announced);
        let mut wait = timeout;
        for _ in 0..10_000 {
            let polled = self.sensor.poll(wait, &mut |bytes| match (new_cgroup(bytes), decode(bytes)) {
                (Some(Ok(new)), _) => announced.push(new),
                (None, Ok(event)) => events.entry(event.subject.label).or_default().push(event),
                (Some(Err(_)), _) | (None, Err(_)) => *malformed += 1,
            })?;
            if polled.drained {
                break;
            }
            wait = Duration::ZERO;
        }
        if self.malformed > 0 {
            bail!("{} records could not be decoded", self.malformed);
        }
        Ok(())
    }
}

/// Id of a cgroup: the inode of its folder (kernfs ids are inode numbers on 64-bit hosts; fs/kernfs/dir.c).
pub(crate) fn cgroup_id(cgroup: &Path) -> Result<u64> {
    Ok(fs::metadata(cgroup).with_context(|| format!("cannot stat {}", cgroup.display()))?.ino())
}

/// Removes a cgroup and those below it. Members must have ended; the kernel needs a moment to notice.
pub(crate) fn remove_cgroups(cgroup: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(cgroup)?.flatten() {
        if entry.path().is_dir() {
            remove_cgroups(&entry.path())?;
        }
    }
    for _ in 0..50 {
        if fs::remove_dir(cgroup).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    fs::remove_dir(cgroup)
}

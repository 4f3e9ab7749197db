//! The sensor: everything of the kernel side behind one value.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

use monitor_common::hook::Lane;
use monitor_common::map::{Label, ProcState, UNCLASSIFIED, label_state};

use super::btf::Btf;
use super::canary::{Act, Kept};
use super::counters::{Counters, LaneCounters};
use super::coverage::Coverage;
use super::error::KernelError;
use super::filter::KernelFilter;
use super::law::{self, LawReport};
use super::load::Programs;
use super::maps::Maps;
use super::options::{Rates, SensorOptions};
use super::overlay;
pub use super::rings::Polled;
use super::rings::Rings;
use super::rolling::Rolling;
use super::sequence::{Gap, SequenceTracker};

/// The kernel's type information.
pub(crate) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// How long a hole in the numbers may take to fill before it is a loss.
const SETTLE: Duration = Duration::from_millis(100);
/// Labels whose counters one [`Probes::check_law`] compares; the next call goes on behind them.
const LABELS_PER_CHECK: usize = 64;

/// The loaded and attached probes. Dropping it detaches them all.
#[derive(Debug)]
pub struct Sensor {
    coverage: Coverage,
    // Links go first, then maps.
    programs: Programs,
    rings: Rings,
    maps: Maps,
    tracker: SequenceTracker,
    canary: Option<Kept>,
    labels: BTreeSet<u32>,
    /// First label of the next check of the law.
    next_label: u32,
    rolling: Rolling,
    settled: Settled,
    overlay_known: bool,
}

/// Output counters read at the last check of the law, and whether the rings were found empty since.
#[derive(Debug, Default)]
struct Settled {
    lanes: Vec<LaneCounters>,
    drained: bool,
}

/// What the rest of the agent asks of the probes; [`Sensor`] is the real thing, tests of later rooms bring their own.
pub trait Probes {
    /// Readable when a ring has records; for the agent's own epoll.
    fn epoll_fd(&self) -> BorrowedFd<'_>;
    /// Waits up to `timeout` for records and hands each to `each` as raw bytes (aligned to 8), priority lane first, at most a
    /// bounded number a call.
    ///
    /// Connects, watched opens and execs wake it at once, unless a record of the same lane and CPU did so within the last 2 ms;
    /// forks and exits do not until their ring is a quarter full. After records it has to be called again within 2 ms.
    fn poll(&mut self, timeout: Duration, each: &mut dyn FnMut(&[u8])) -> Result<Polled, KernelError>;
    /// Labels a cgroup (id in the v2 hierarchy); children made later inherit it in the kernel.
    fn label_cgroup(&mut self, cgroup: u64, label: Label) -> Result<(), KernelError>;
    /// Removes a cgroup's label; no error if it has none.
    fn unlabel_cgroup(&mut self, cgroup: u64) -> Result<(), KernelError>;
    /// The label of a cgroup, as the probes see it (also those inherited in the kernel).
    fn cgroup_label(&self, cgroup: u64) -> Result<Option<Label>, KernelError>;
    /// The same, unless the cgroup is gone and its label with it.
    fn relabel_cgroup(&mut self, cgroup: u64, label: Label) -> Result<(), KernelError> {
        self.label_cgroup(cgroup, label)
    }
    /// From now on a cgroup that is made in this one is `PENDING` from its first moment on, and announced.
    fn hand_down(&mut self, cgroup: u64) -> Result<(), KernelError> {
        let Some(label) = self.cgroup_label(cgroup)? else {
            let state = label_state::FOLDER | label_state::HANDS_DOWN;
            return self.label_cgroup(cgroup, Label { id: 0, state });
        };
        let is = settled(label).unwrap_or(FOLDER);
        let handing = Label { state: is.state | label_state::HANDS_DOWN, ..is };
        if label == handing { Ok(()) } else { self.relabel_cgroup(cgroup, handing) }
    }
    /// The contrary of [`Probes::hand_down`].
    fn hand_down_no_more(&mut self, cgroup: u64) -> Result<(), KernelError> {
        match self.cgroup_label(cgroup)? {
            None => Ok(()),
            Some(label) if label.state & label_state::KIND == label_state::FOLDER => {
                self.unlabel_cgroup(cgroup)
            }
            Some(label) => {
                self.relabel_cgroup(cgroup, Label { state: label.state & !label_state::HANDS_DOWN, ..label })
            }
        }
    }
    /// A cgroup that was pending is no worker's: what runs there is not told any more, unless it was a worker's process when it came.
    fn settle_cgroup(&mut self, cgroup: u64) -> Result<(), KernelError> {
        match self.cgroup_label(cgroup)? {
            Some(label) if label.state & label_state::KIND == label_state::PENDING => match settled(label) {
                Some(visited) => self.relabel_cgroup(cgroup, visited),
                None => self.unlabel_cgroup(cgroup),
            },
            _ => Ok(()),
        }
    }
    /// A worker's process was moved into this cgroup, which turned out to be nobody's: what runs there is looked for among the
    /// workers' processes. The probes see to it themselves, unless the agent settled the cgroup at that very moment.
    fn follow_into(&mut self, cgroup: u64) -> Result<(), KernelError> {
        let label = match self.cgroup_label(cgroup)? {
            None => FOLDER,
            Some(label) => label,
        };
        if label.state & label_state::KIND != label_state::FOLDER {
            return Ok(());
        }
        let hands_down = label.state & label_state::HANDS_DOWN;
        self.label_cgroup(cgroup, Label { id: 0, state: label_state::CHECK_PROCESS | hands_down })
    }
    /// Forgets a process that was met in a cgroup nobody had looked at, unless a worker has claimed it since.
    fn forget_unclassified(&mut self, pid: u32) -> Result<(), KernelError>;
    /// Puts a process found in /proc into the process map; an entry made by a probe meanwhile stays: `false`.
    fn put_process(&mut self, pid: u32, state: &ProcState) -> Result<bool, KernelError>;
    /// The kernel's entry of a process.
    fn process(&self, pid: u32) -> Result<Option<ProcState>, KernelError>;
    /// Marks the image `exec_id` of a process as below the author root `root`; its children inherit the mark at fork. `false` if the
    /// process has another image by now or is gone.
    ///
    /// Reading and writing the entry are two calls: an exec of the process between them would keep the old image's number until its
    /// next exec. The agent's own lineage does not depend on the mark.
    fn mark_author(&mut self, pid: u32, exec_id: u64, root: u64) -> Result<bool, KernelError>;
    /// Replaces the watched-path filter as a whole: the probes see the old set or the new one, never a mixture.
    fn set_filter(&mut self, filter: &KernelFilter) -> Result<(), KernelError>;
    /// Names of the environment variables whose values are taken at exec.
    fn set_env_names(&mut self, names: &[String]) -> Result<(), KernelError>;
    /// Changes the workers' budgets.
    fn set_rates(&mut self, rates: Rates) -> Result<(), KernelError>;
    /// A snapshot of the counters.
    fn counters(&self) -> Result<Counters, KernelError>;
    /// The same, cheaper, for each second: where there are many workers, of those that sent no record the counters may be as they
    /// were some seconds ago (see `rolling`).
    fn counters_soon(&mut self) -> Result<Counters, KernelError> {
        self.counters()
    }
    /// Checks the law (see `law`), a share of the workers at a time; meant to be called each second. What else the sensor has to
    /// look after now and then, it does on the way.
    fn check_law(&mut self) -> Result<LawReport, KernelError>;
    /// The port on 127.0.0.1 that the canary of a running agent connects to; `None`: there is no such canary.
    fn canary_port(&self) -> Option<u16> {
        None
    }
    /// Asks that canary for an act; its records come like any.
    fn canary_acts(&mut self, _act: Act) -> Result<(), KernelError> {
        Ok(())
    }
    /// Losses that are certain by now: each is returned once.
    fn gaps(&mut self) -> Vec<Gap>;
}

/// The label of a folder.
const FOLDER: Label = Label { id: 0, state: label_state::FOLDER };

/// What the label of a cgroup is once it is known to be no worker's by itself; `None`: none.
fn settled(label: Label) -> Option<Label> {
    match label.state & label_state::KIND {
        label_state::PENDING if label.state & label_state::VISITED == 0 => None,
        label_state::PENDING => Some(Label { id: 0, state: label_state::CHECK_PROCESS }),
        _ => Some(label),
    }
}

impl Sensor {
    /// Loads the probes, takes for each signal the best rung through which a canary was seen, and leaves the rings open. No
    /// cgroup is labelled and no path is watched yet.
    ///
    /// # Errors
    /// When nothing can be watched here ([`KernelError::is_host`]), or a pinned rung does not exist. A rung or program that fails
    /// while others work is no error: it is in [`Sensor::coverage`].
    pub fn start(options: &SensorOptions) -> Result<Self, KernelError> {
        super::start::start(options)
    }

    pub(crate) fn assemble(
        coverage: Coverage,
        programs: Programs,
        maps: Maps,
        rings: Rings,
        tracker: SequenceTracker,
        canary: Option<(Kept, u32)>,
        overlay_known: bool,
    ) -> Self {
        let (canary, label) = canary.unzip();
        Self {
            coverage,
            programs,
            rings,
            maps,
            tracker,
            canary,
            labels: label.into_iter().collect(),
            next_label: 0,
            rolling: Rolling::default(),
            settled: Settled::default(),
            overlay_known,
        }
    }

    /// What is watched, and what is not.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// Mount point of the cgroup2 hierarchy: labels are ids (inode numbers) of folders below it.
    pub fn cgroup_root(&self) -> &Path {
        self.coverage.host.cgroup2.as_deref().unwrap_or(Path::new("/sys/fs/cgroup"))
    }

    /// Age of the newest record read of a lane: how far the reader is behind while records come in, and how long it has been
    /// quiet otherwise.
    pub fn lag(&self, lane: Lane) -> Duration {
        match self.rings.last_time(lane) {
            0 => Duration::ZERO,
            last => Duration::from_nanos(boot_time().saturating_sub(last)),
        }
    }

    /// Records received since the start, the canary's included.
    pub fn received(&self) -> u64 {
        self.tracker.received_total()
    }

    /// Looks whether the overlay module was loaded meanwhile, and tells the probes where it keeps its layers. Cheap when there is
    /// nothing new.
    fn refresh_overlay(&mut self) -> Result<(), KernelError> {
        if self.overlay_known || !overlay::has_module() {
            return Ok(());
        }
        // Whatever comes of it, once: a module whose BTF lacks the fields will not get them.
        self.overlay_known = true;
        let bytes =
            std::fs::read(VMLINUX).map_err(|source| KernelError::NoBtf { path: VMLINUX.into(), source })?;
        let btf =
            Btf::parse(&bytes).map_err(|source| KernelError::BadBtf { path: VMLINUX.into(), source })?;
        match overlay::find(&btf) {
            Some(offsets) => self.maps.set_overlay(offsets),
            None => {
                tracing::warn!(
                    "the overlay module's BTF lacks ovl_inode: the layer of overlay files stays unknown"
                );
                Ok(())
            }
        }
    }

    /// A window of the labels, going round.
    fn labels_to_check(&mut self) -> Vec<u32> {
        let ahead = self.labels.range(self.next_label..).chain(self.labels.range(..self.next_label));
        let window: Vec<u32> = ahead.take(LABELS_PER_CHECK).copied().collect();
        self.next_label = window.last().map_or(0, |last| last.wrapping_add(1));
        window
    }

    /// Losses at the end of a stream have no later record to show them: the probes' own numbers do, once the rings were empty.
    fn close_streams(&mut self) {
        if !self.settled.drained {
            return;
        }
        let now = boot_time();
        for lane in &self.settled.lanes {
            self.tracker.close(lane.lane, lane.cpu, lane.tally.next_seq, now);
        }
    }
}

impl Probes for Sensor {
    fn epoll_fd(&self) -> BorrowedFd<'_> {
        self.rings.epoll_fd()
    }

    fn poll(&mut self, timeout: Duration, each: &mut dyn FnMut(&[u8])) -> Result<Polled, KernelError> {
        if !timeout.is_zero() {
            self.rings.wait(timeout)?;
        }
        let rolling = &mut self.rolling;
        let polled = self.rings.drain(&mut self.tracker, &mut |record| {
            rolling.hear(record);
            each(record);
        });
        self.settled.drained |= polled.drained;
        Ok(polled)
    }

    fn label_cgroup(&mut self, cgroup: u64, label: Label) -> Result<(), KernelError> {
        if label.id != 0 {
            self.labels.insert(label.id);
        }
        if label.state & label_state::HANDS_DOWN != 0 {
            self.labels.insert(UNCLASSIFIED);
        }
        self.maps.label(cgroup, label)
    }

    fn relabel_cgroup(&mut self, cgroup: u64, label: Label) -> Result<(), KernelError> {
        if label.state & label_state::HANDS_DOWN != 0 {
            self.labels.insert(UNCLASSIFIED);
        }
        self.maps.relabel(cgroup, label)
    }

    fn unlabel_cgroup(&mut self, cgroup: u64) -> Result<(), KernelError> {
        self.maps.unlabel(cgroup)
    }

    fn cgroup_label(&self, cgroup: u64) -> Result<Option<Label>, KernelError> {
        self.maps.label_of(cgroup)
    }

    fn forget_unclassified(&mut self, pid: u32) -> Result<(), KernelError> {
        self.maps.forget_unclassified(pid)
    }

    fn put_process(&mut self, pid: u32, state: &ProcState) -> Result<bool, KernelError> {
        self.maps.put_process(pid, state)
    }

    fn process(&self, pid: u32) -> Result<Option<ProcState>, KernelError> {
        self.maps.process(pid)
    }

    fn mark_author(&mut self, pid: u32, exec_id: u64, root: u64) -> Result<bool, KernelError> {
        if self.maps.process(pid)?.is_none_or(|state| state.exec_id != exec_id) {
            return Ok(false);
        }
        self.maps.mark_author(exec_id, root)?;
        Ok(true)
    }

    fn set_filter(&mut self, filter: &KernelFilter) -> Result<(), KernelError> {
        self.maps.set_filter(filter)
    }

    fn set_env_names(&mut self, names: &[String]) -> Result<(), KernelError> {
        self.maps.set_env_names(names)
    }

    fn set_rates(&mut self, rates: Rates) -> Result<(), KernelError> {
        self.maps.set_rates(rates)
    }

    fn counters(&self) -> Result<Counters, KernelError> {
        let labels: Vec<u32> = self.labels.iter().copied().collect();
        self.maps.counters(&self.programs, &labels)
    }

    fn counters_soon(&mut self) -> Result<Counters, KernelError> {
        let labels = self.rolling.take_heard(&self.labels);
        let mut counters = self.maps.counters(&self.programs, &labels)?;
        self.rolling.read(&labels, &counters.workers);
        counters.workers = self.rolling.all();
        Ok(counters)
    }

    fn check_law(&mut self) -> Result<LawReport, KernelError> {
        self.refresh_overlay()?;
        let labels = self.labels_to_check();
        let first = self.maps.law_terms(&self.programs, &labels)?;
        let second = self.maps.law_terms(&self.programs, &labels)?;
        let settled = if self.settled.drained { self.settled.lanes.as_slice() } else { &[] };
        let report = law::check(&first, &second, settled, &self.tracker, self.coverage.host.cpus);
        self.rolling.read(&labels, &second.workers);
        self.close_streams();
        self.settled = Settled { lanes: second.lanes, drained: false };
        Ok(report)
    }

    fn canary_port(&self) -> Option<u16> {
        self.canary.as_ref().map(Kept::port)
    }

    fn canary_acts(&mut self, act: Act) -> Result<(), KernelError> {
        match &mut self.canary {
            Some(canary) => canary.act(act),
            None => Ok(()),
        }
    }

    fn gaps(&mut self) -> Vec<Gap> {
        self.tracker.take_gaps(boot_time().saturating_sub(SETTLE.as_nanos() as u64))
    }
}

/// `CLOCK_BOOTTIME`, ns: the clock of the records.
fn boot_time() -> u64 {
    match nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME) {
        Ok(now) => (now.tv_sec() as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec() as u64),
        Err(_) => 0,
    }
}

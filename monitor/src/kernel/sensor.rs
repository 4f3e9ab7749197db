//! The sensor: everything of the kernel side behind one value.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

use monitor_common::map::{Label, ProcState};

use super::counters::Counters;
use super::coverage::Coverage;
use super::error::KernelError;
use super::filter::KernelFilter;
use super::law::LawReport;
use super::options::{Rates, SensorOptions};
use super::sequence::Gap;

/// The loaded and attached probes. Dropping it detaches them all.
#[derive(Debug)]
pub struct Sensor {
    coverage: Coverage,
}

/// What one [`Sensor::poll`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// Records handed over.
    pub records: u64,
    /// Both rings were found empty at the end.
    pub drained: bool,
}

impl Sensor {
    /// Loads the probes, takes for each signal the best rung through which a canary was seen, and leaves the rings open. No
    /// cgroup is labelled and no path is watched yet.
    ///
    /// # Errors
    /// When nothing can be watched here ([`KernelError::is_host`]), or a pinned rung does not exist. A rung or program that fails
    /// while others work is no error: it is in [`Sensor::coverage`].
    pub fn start(_options: &SensorOptions) -> Result<Self, KernelError> {
        Err(KernelError::ObjectMismatch { reason: "no probes are built in".into() })
    }

    /// What is watched, and what is not.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// Mount point of the cgroup2 hierarchy: labels are ids of folders below it.
    pub fn cgroup_root(&self) -> &Path {
        self.coverage.host.cgroup2.as_deref().unwrap_or(Path::new("/sys/fs/cgroup"))
    }
}

/// What the rest of the agent asks of the probes; [`Sensor`] is the real thing, tests of later rooms bring their own.
pub trait Probes {
    /// Readable when a ring has records; for the agent's own epoll.
    fn epoll_fd(&self) -> BorrowedFd<'_>;
    /// Waits up to `timeout` for records and hands each to `each` as raw bytes (aligned to 8), priority lane first, at most a
    /// bounded number a call.
    fn poll(&mut self, timeout: Duration, each: &mut dyn FnMut(&[u8])) -> Result<Polled, KernelError>;
    /// Labels a cgroup (id in the v2 hierarchy); children made later inherit it in the kernel.
    fn label_cgroup(&mut self, cgroup: u64, label: Label) -> Result<(), KernelError>;
    /// Removes a cgroup's label; no error if it has none.
    fn unlabel_cgroup(&mut self, cgroup: u64) -> Result<(), KernelError>;
    /// The label of a cgroup, as the probes see it (also those inherited in the kernel).
    fn cgroup_label(&self, cgroup: u64) -> Result<Option<Label>, KernelError>;
    /// Puts a process found in /proc into the process map; an entry made by a probe meanwhile stays: `false`.
    fn put_process(&mut self, pid: u32, state: &ProcState) -> Result<bool, KernelError>;
    /// The kernel's entry of a process.
    fn process(&self, pid: u32) -> Result<Option<ProcState>, KernelError>;
    /// Marks the image `exec_id` of a process as an author root; its children inherit the mark at fork. `false` if the process
    /// has another image by now or is gone.
    fn mark_author(&mut self, pid: u32, exec_id: u64, root: u64) -> Result<bool, KernelError>;
    /// Replaces the watched-path filter as a whole: the probes see the old set or the new one, never a mixture.
    fn set_filter(&mut self, filter: &KernelFilter) -> Result<(), KernelError>;
    /// Names of the environment variables whose values are taken at exec.
    fn set_env_names(&mut self, names: &[String]) -> Result<(), KernelError>;
    /// Changes the workers' budgets.
    fn set_rates(&mut self, rates: Rates) -> Result<(), KernelError>;
    /// A snapshot of the counters.
    fn counters(&self) -> Result<Counters, KernelError>;
    /// Checks the law (see `law`).
    fn check_law(&mut self) -> Result<LawReport, KernelError>;
    /// Losses that are certain by now: each is returned once.
    fn gaps(&mut self) -> Vec<Gap>;
}

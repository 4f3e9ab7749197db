//! No probes: the agent's own discovery and scan, without the kernel side, for looking only.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use monitor_common::map::{Label, ProcState};
use nix::sys::eventfd::EventFd;

use crate::kernel::{Counters, Gap, KernelError, KernelFilter, LawReport, Polled, Probes, Rates};

/// Takes every order and sees nothing.
pub(super) struct NoProbes {
    never: EventFd,
}

impl NoProbes {
    pub(super) fn new() -> Result<Self, KernelError> {
        let never = EventFd::new()
            .map_err(|errno| KernelError::Os { action: "create an eventfd", source: errno.into() })?;
        Ok(Self { never })
    }
}

impl Probes for NoProbes {
    fn epoll_fd(&self) -> BorrowedFd<'_> {
        self.never.as_fd()
    }

    fn poll(&mut self, _: Duration, _: &mut dyn FnMut(&[u8])) -> Result<Polled, KernelError> {
        Ok(Polled { drained: true, ..Polled::default() })
    }

    fn label_cgroup(&mut self, _: u64, _: Label) -> Result<(), KernelError> {
        Ok(())
    }

    fn unlabel_cgroup(&mut self, _: u64) -> Result<(), KernelError> {
        Ok(())
    }

    fn cgroup_label(&self, _: u64) -> Result<Option<Label>, KernelError> {
        Ok(None)
    }

    fn forget_unclassified(&mut self, _: u32) -> Result<(), KernelError> {
        Ok(())
    }

    fn put_process(&mut self, _: u32, _: &ProcState) -> Result<bool, KernelError> {
        Ok(true)
    }

    fn process(&self, _: u32) -> Result<Option<ProcState>, KernelError> {
        Ok(None)
    }

    fn mark_author(&mut self, _: u32, _: u64, _: u64) -> Result<bool, KernelError> {
        Ok(true)
    }

    fn set_filter(&mut self, _: &KernelFilter) -> Result<(), KernelError> {
        Ok(())
    }

    fn set_env_names(&mut self, _: &[String]) -> Result<(), KernelError> {
        Ok(())
    }

    fn set_rates(&mut self, _: Rates) -> Result<(), KernelError> {
        Ok(())
    }

    fn counters(&self) -> Result<Counters, KernelError> {
        Ok(Counters::default())
    }

    fn check_law(&mut self) -> Result<LawReport, KernelError> {
        Ok(LawReport::default())
    }

    fn gaps(&mut self) -> Vec<Gap> {
        Vec::new()
    }
}

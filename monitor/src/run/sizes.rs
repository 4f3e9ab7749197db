//! How full the agent's tables and its spool are.

use super::Agent;
use crate::control::{ClassSize, SpoolState, TableSize};
use crate::delivery::SpoolStats;
use crate::event::BootNs;
use crate::kernel::{MapSizes, Probes};

impl<P: Probes> Agent<P> {
    /// The tables that have a bound. What is in the kernel's is known from what the agent put there.
    pub(super) fn tables(&self, now: BootNs) -> Vec<TableSize> {
        let processes = self.pipeline.processes();
        let (labels, most_labels) = self.discovery.labels(now);
        let (waiting, most_waiting) = self.pipeline.waiting_events();
        let most_cgroups = MapSizes { cgroups: self.max_cgroups, ..MapSizes::default() }.labelled();
        let size = |table: &str, entries: u64, capacity: u64| TableSize {
            table: table.to_owned(),
            entries,
            capacity,
        };
        vec![
            size("processes", processes.len() as u64, processes.capacity() as u64),
            size("workers", labels.into(), most_labels.into()),
            size("cgroups", self.discovery.labelled() as u64, most_cgroups.into()),
            size("waiting_events", waiting as u64, most_waiting as u64),
        ]
    }
}

/// The spool, as it is told.
pub(super) fn spool(stats: &SpoolStats) -> SpoolState {
    let class = |(class, bytes, capacity): &(crate::delivery::Class, u64, u64)| ClassSize {
        class: class.name().to_owned(),
        bytes: *bytes,
        capacity: *capacity,
    };
    SpoolState {
        classes: stats.classes.iter().map(class).collect(),
        memory_bytes: stats.memory,
        memory_capacity_bytes: stats.memory_most,
        disk_nearly_full: stats.disk_nearly_full,
    }
}

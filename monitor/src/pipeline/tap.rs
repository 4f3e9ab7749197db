//! Listening to what the pipeline takes, in the order in which it takes it: how a recording is made.

use crate::detect::GapReport;
use crate::event::{BootNs, Event};
use crate::worker::Worker;

/// Told of everything the pipeline takes.
pub trait Tap {
    /// A worker was found, and what runs in it read. `fresh`: its cgroup was made while the agent watched.
    fn found(&mut self, worker: &Worker, fresh: bool);

    /// What a worker's pod is became known.
    fn pod(&mut self, worker: &Worker, now: BootNs);

    /// The events of a worker do not wait any more: they follow.
    fn waited(&mut self, label: u32, now: BootNs);

    /// An event was taken: after its lane was put into order, and after everything that was read for it.
    fn event(&mut self, event: &Event);

    /// A worker's root was looked at again.
    fn looked(&mut self, label: u32, now: BootNs);

    /// What the process with which an incident began could reach was looked up.
    fn reached(&mut self, label: u32, pid: u32, now: BootNs);

    /// How a worker is set up was looked at through this process.
    fn set_up(&mut self, label: u32, pid: u32, now: BootNs);

    /// A worker's cgroup went away.
    fn gone(&mut self, label: u32, now: BootNs);

    /// Someone else found a gap.
    fn gap(&mut self, gap: &GapReport);
}

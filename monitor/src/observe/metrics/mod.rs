//! `/metrics`: the agent's [`Snapshot`] as OpenMetrics (or Prometheus text), for whoever scrapes it.
//!
//! `families`, `sizes` and `delivery` name what there is, `http` answers the scrape from a thread of its own, `own` asks the kernel what the agent itself costs.
//! No label names a process, a pod, a container or a path: those are in gap alerts and in `sandwatch status`.
//!
//! [`Snapshot`]: crate::control::Snapshot

mod delivery;
mod families;
mod http;
mod own;
mod sizes;

pub use families::{Text, render};
pub use http::{ListenError, Listener};

#[cfg(test)]
mod tests;

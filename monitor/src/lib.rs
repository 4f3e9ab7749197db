//! sandwatch: watches workflow workers from the kernel and raises escape alerts.
//!
//! The rooms, in the order an event walks through them:
//! `kernel` (probes, rungs, rings) → `event` (decode) → `process` (lineage, roles) → `worker` (cgroup to worker) →
//! `profile` (compiled rules) → `detect` (findings, incidents) → `alert` (the alert and its formats) → `sink` (where it
//! goes); `observe` looks at the agent itself and `cli` is the command line.

pub mod alert;
pub mod cli;
pub mod config;
pub mod control;
pub mod delivery;
pub mod demo;
pub mod detect;
pub mod event;
mod frugal;
pub mod kernel;
pub mod ledger;
pub mod metadata;
pub mod observe;
pub mod oncall;
pub mod pipeline;
pub mod privilege;
pub mod process;
pub mod profile;
pub mod recording;
pub mod run;
pub mod sink;
pub mod state_dir;
pub mod worker;

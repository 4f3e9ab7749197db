//! Real workflow engines on the live kernel, each in worker cgroups of its own, watched by the real `sandwatch run` with
//! the shipped rules.
//!
//! Each test runs a normal workflow, of which nothing of tier boundary or above may come, and then one that leaves the
//! sandbox by a documented feature of the engine, which must be exactly one incident. Everything runs in a network
//! namespace that has only a loopback interface, so that no packet can leave the machine.
//!
//! Needs root; `SANDWATCH_BIN` and `SANDWATCH_RULES` as for the other live tests, and a variable per engine that names its
//! installation (`cargo xtask test --engines` installs them and sets it).
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod airflow;
mod incidents;
mod lab;
mod net;
mod node_red;
mod prefect;
mod recorder;
mod temporal;

//! Pods of a real node of Kubernetes, watched by a real agent on this kernel: by the shipped chart with the image that is shipped, and by an
//! agent of this build beside the node.
//!
//! The node is one of 1.20 (`node.rs`). Needs root; `SANDWATCH_KUBERNETES` is the folder of its programs, `SANDWATCH_BIN` the
//! agent, `SANDWATCH_IMAGE` the archive of the image, `SANDWATCH_CHART` the chart's folder, `SANDWATCH_HELM` Helm,
//! `SANDWATCH_COMMANDS` what the document has typed. `cargo xtask test --only kubernetes` builds and names them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::time::Duration;

mod access;
mod beside;
mod chart;
mod client;
mod document;
mod image;
#[path = "../lab/mod.rs"]
mod lab;
mod node;
mod pause;
mod pods;
mod privileges;
mod release;
mod rules;

/// Waits for what a busy node of two cores does in its own time.
const PATIENCE: Duration = Duration::from_secs(120);

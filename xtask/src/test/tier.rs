//! What a tier is.

use super::deadline::Deadline;
use super::outcome::Outcome;
use anyhow::Result;
use std::time::Duration;

/// Which option turns a tier on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Default,
    Full,
    Engines,
    Kubernetes,
    Kafka,
    Soak,
}

/// A group of tests that is run, counted and reported together.
pub(crate) struct Tier {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) group: Group,
    /// What it usually takes on 2 cores, what only it has built included; less time than this before the deadline and it
    /// is not started.
    pub(crate) usual: Duration,
    pub(crate) run: fn(&Deadline) -> Result<Outcome>,
}

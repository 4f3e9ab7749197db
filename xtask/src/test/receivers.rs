//! The tiers that need receivers of alerts.

use super::deadline::Deadline;
use super::outcome::Outcome;
use super::tiers::programs;
use crate::setup;
use anyhow::Result;

/// The test programs of the default tier begin with this.
const DELIVERY: &str = "delivery";

/// Whether a test program needs receivers.
pub(super) fn has(name: &str) -> bool {
    name.starts_with(DELIVERY)
}

/// With those of Debian, and fakes.
pub(super) fn delivery(deadline: &Deadline) -> Result<Outcome> {
    setup::peer_packages()?;
    programs("delivery", |name| name.starts_with(DELIVERY), deadline)
}

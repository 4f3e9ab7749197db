//! A rung counts when it fires: tried on kernels where BPF LSM loads, attaches and never runs.

use anyhow::{Context as _, Result};
use monitor::event::{Rung, Signal};
use monitor::kernel::{self, Sensor, SensorOptions};

use super::{ensure_same, ensure_that};
use crate::{Case, Verdict, World};

pub(super) const CASES: &[Case] = &[("ladder_lsm_is_taken_only_where_it_was_seen_to_fire", lsm)];

fn lsm(_: &mut World) -> Result<Verdict> {
    // Pinned by name the rung is tried whatever the list of active LSMs says: the canary decides.
    let options = SensorOptions { hooks: "open=lsm".parse()?, ..SensorOptions::default() };
    let sensor = Sensor::start(&options)?;
    let open = sensor.coverage().signal(Signal::Open).context("doctor knows the signal")?;
    let attempt = open.attempts.iter().find(|attempt| attempt.rung == Rung::Lsm).context("it was tried")?;
    let active = std::fs::read_to_string("/sys/kernel/security/lsm").context("the active LSMs")?;
    if active.trim().split(',').any(|name| name == "bpf") {
        // A kernel may list it and refuse its programs.
        ensure_that!(attempt.verdict != kernel::Verdict::NotSeen, "an active LSM fires: {}", attempt.reason);
    } else {
        ensure_that!(attempt.verdict != kernel::Verdict::Taken, "an LSM that is not active is not taken");
    }
    ensure_same!(open.rung.is_some(), attempt.verdict == kernel::Verdict::Taken, "taken");
    if attempt.verdict != kernel::Verdict::Taken {
        ensure_that!(!attempt.reason.is_empty(), "and the reason is told");
        ensure_that!(open.gaps.iter().any(|gap| gap.name == "unwatched"), "and the gap is named");
    }
    Ok(Verdict::Holds)
}

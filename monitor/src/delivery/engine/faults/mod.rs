//! Receivers that are away, slow, picky or lying, and what of each alert becomes: accepted ids against received ids.

use std::collections::BTreeSet;
use std::time::Duration;

use super::testing::{Manner, Rig, retry};
use crate::config::{Bytes, SpoolConfig};
use crate::delivery::spool::testing::{TestClock, alert, small_alert};
use crate::delivery::{Class, Item, Outcome, Promise};

mod blame;
mod breaks;
mod figures;
mod filtered;
mod flood;
mod letters;
mod piled_up;

const SECOND: Duration = Duration::from_secs(1);

fn unique(ids: &[u64]) -> Vec<u64> {
    ids.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
}

/// Everything is refused.
fn refuse(rig: &Rig, sink: usize) {
    rig.far(sink).answer = Box::new(|_| Some(Outcome::Rejected { reason: "400 mapping".into() }));
}

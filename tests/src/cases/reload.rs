//! The filter is exchanged again and again while a worker is at work: what each of two sets lets through is seen throughout.

use std::time::{Duration, Instant};

use anyhow::Result;
use monitor::event::{Body, Event};
use monitor::kernel::{KernelFilter, Probes as _};
use monitor_common::filter::access;

use super::loss::{lost, settled};
use super::{ensure_same, ensure_that};
use crate::child::{Child, open};
use crate::files::{WATCHED_NAME, folder, secret};
use crate::{Case, Verdict, World};

pub(super) const CASES: &[Case] = &[("reload_under_a_steady_load_loses_no_open_and_keeps_the_law", exchange)];

/// A name that only every other set has.
const SOMETIMES: &str = "sw-other-token";
/// Opens of each file: a few seconds' work, and below any budget.
const OPENS: u32 = 2500;
const EACH: Duration = Duration::from_millis(1);
/// Between two exchanges. Whoever edits rules is slower by far; so many make it likely that an open falls into one.
const KEPT: Duration = Duration::from_millis(2);
/// Most time for all of it, however slow the processor.
const PATIENCE: Duration = Duration::from_secs(120);

fn with_the_other() -> KernelFilter {
    let mut filter = World::filter();
    filter.names.push((SOMETIMES.into(), access::ANY));
    filter
}

fn exchange(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let always = secret(folder.path(), WATCHED_NAME)?;
    let sometimes = secret(folder.path(), SOMETIMES)?;
    let (lost_before, skipped_before) = (lost(world)?, world.skipped()?);
    let child = Child::spawn(world.cgroup(), || {
        for _ in 0..OPENS {
            if open(&always, libc::O_RDONLY) < 0 || open(&sometimes, libc::O_RDONLY) < 0 {
                return 1;
            }
            std::thread::sleep(EACH);
        }
        0
    })?;
    let pid = child.pid;
    let exit = |event: &Event| matches!(event.body, Body::Exit { .. }) && event.subject.key.pid == pid;
    let until = Instant::now() + PATIENCE;
    let (mut events, mut exchanges, mut last): (Vec<Event>, u32, _) = (Vec::new(), 0, Instant::now());
    let mut ended = false;
    while !ended {
        world.poll(Duration::from_millis(10))?;
        let fresh = world.take();
        ended = fresh.iter().any(exit);
        events.extend(fresh);
        if last.elapsed() >= KEPT {
            let filter = if exchanges % 2 == 0 { with_the_other() } else { World::filter() };
            world.sensor().set_filter(&filter)?;
            (exchanges, last) = (exchanges + 1, Instant::now());
        }
        ensure_that!(Instant::now() < until, "the worker ends");
    }
    world.sensor().set_filter(&World::filter())?;
    ensure_same!(child.wait()?, 0, "exit code of the worker");
    settled(world)?;
    events.extend(world.take());
    ensure_that!(exchanges >= 10, "the filter was exchanged {exchanges} times");
    ensure_same!(lost(world)?, lost_before, "records that the rings lost");
    let named = |name: &str| {
        let of = |event: &&Event| matches!(&event.body, Body::Open(open) if open.path.view.ends_with(name));
        events.iter().filter(of).count()
    };
    let (seen, others) = (named(WATCHED_NAME), named(SOMETIMES));
    // Where the rung has that gap, a run that interrupts another is skipped, and the kernel counts it.
    let skipped = world.skipped()? - skipped_before;
    ensure_that!(
        seen <= OPENS as usize && OPENS as u64 <= seen as u64 + skipped,
        "{seen} of {OPENS} opens arrived that every set lets through, and the kernel skipped {skipped} runs"
    );
    ensure_that!(
        others > 0 && others < OPENS as usize,
        "both sets were in force: {others} of the others arrived"
    );
    Ok(Verdict::Holds)
}

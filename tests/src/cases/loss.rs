//! Loss is counted exactly, and one worker's flood is not another's loss.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Result;
use monitor::event::{Body, Lane};
use monitor::kernel::{Probes as _, Rates};
use monitor_common::map::{Label, label_state};

use super::{ensure_same, ensure_that};
use crate::child::{Child, open, pin};
use crate::files::{WATCHED_NAME, folder, secret};
use crate::world::{cgroup_id, remove_cgroups};
use crate::{Case, Verdict, World};

pub(super) const CASES: &[Case] = &[
    ("loss_law_is_exact_when_quiet", law),
    ("loss_flooding_worker_costs_the_quiet_one_nothing", flood),
    ("loss_of_a_fork_burst_is_counted_exactly_and_stays_in_its_lane", fork_burst),
];

/// Waits for the rings to be empty and asks the law.
pub(super) fn settled(world: &mut World) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        world.poll(Duration::from_millis(20))?;
        let report = world.sensor().check_law()?;
        if report.breaches.is_empty() && report.exact {
            return Ok(());
        }
        if Instant::now() > until {
            anyhow::bail!("the law does not hold: {report:#?}");
        }
    }
}

fn law(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = secret(folder.path(), WATCHED_NAME)?;
    world.run(|| {
        for _ in 0..1000 {
            if open(&path, libc::O_RDONLY) < 0 || open("/dev/null", libc::O_RDONLY) < 0 {
                return 1;
            }
        }
        0
    })?;
    settled(world)?;
    Ok(Verdict::Holds)
}

/// Most opens of the flooder: bounded in count and in time.
const FLOOD: u32 = 400_000;

fn flood(world: &mut World) -> Result<Verdict> {
    const QUIET: u32 = 200;
    let folder = folder()?;
    let path = secret(folder.path(), WATCHED_NAME)?;
    let flooder = world.cgroup().with_extension("flooder");
    fs::create_dir(&flooder)?;
    let flooder_label = world.label() + 1000;
    let id = cgroup_id(&flooder)?;
    world.sensor().label_cgroup(id, Label { id: flooder_label, state: label_state::WORKER })?;
    let skipped_before = world.skipped()?;
    let noise = Child::spawn(&flooder, || {
        let until = Instant::now() + Duration::from_secs(4);
        for _ in 0..FLOOD {
            open(&path, libc::O_RDONLY);
            if Instant::now() > until {
                break;
            }
        }
        0
    })?;
    let quiet = Child::spawn(world.cgroup(), || {
        for _ in 0..QUIET {
            open(&path, libc::O_RDONLY);
            std::thread::sleep(Duration::from_millis(5));
        }
        0
    })?;
    let quiet_pid = quiet.pid;
    let events = world.until_exit(quiet_pid)?;
    quiet.wait()?;
    // The flooder may have filled the pipe of this very program: keep reading until it ends.
    let noise_pid = noise.pid;
    let until = Instant::now() + Duration::from_secs(60);
    let mut flooded = Vec::new();
    while !flooded.iter().any(|e: &monitor::event::Event| {
        matches!(e.body, Body::Exit { .. }) && e.subject.key.pid == noise_pid
    }) {
        world.poll(Duration::from_millis(20))?;
        flooded.extend(world.take_of(flooder_label));
        ensure_that!(Instant::now() < until, "the flooder ends");
    }
    noise.wait()?;
    settled(world)?;
    remove_cgroups(&flooder)?;
    let seen = events.iter().filter(|event| matches!(event.body, Body::Open(_))).count();
    // A flooder that is interrupted in the probe closes it to the others of its CPU, on rungs that have the gap; the kernel counts that.
    let skipped = world.skipped()? - skipped_before;
    ensure_that!(
        seen == QUIET as usize || (seen < QUIET as usize && (QUIET as u64 - seen as u64) <= skipped),
        "{seen} of {QUIET} opens of the quiet worker arrived, and the kernel skipped {skipped} runs"
    );
    Ok(Verdict::Holds)
}

/// Forks of the burst, and in the VMs, where each costs a hundred times as much; either overflows the ring many times.
const BURST: u32 = 100_000;
const BURST_IN_VM: u32 = 10_000;

/// Makes a child that ends at once, and waits for it; the process stands still meanwhile.
#[cfg(target_arch = "x86_64")]
fn short_child() {
    let mut pid = libc::SYS_vfork;
    // SAFETY: the child touches no memory: it shares ours, and the parent's return address with it.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test eax, eax",
            "jnz 2f",
            "mov eax, {exit}",
            "xor edi, edi",
            "syscall",
            "2:",
            exit = const libc::SYS_exit_group,
            inout("rax") pid,
            out("rcx") _, out("rdi") _, out("r11") _,
        );
        libc::waitpid(pid as i32, std::ptr::null_mut(), 0);
    }
}

/// The same where there is no such short way.
#[cfg(not(target_arch = "x86_64"))]
fn short_child() {
    // SAFETY: the child ends at once.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::_exit(0);
        }
        libc::waitpid(pid, std::ptr::null_mut(), 0);
    }
}

fn fork_burst(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = secret(folder.path(), WATCHED_NAME)?;
    world.sensor().gaps();
    let lost_before = lost(world)?;
    // Without a budget, so that it is the ring that loses.
    world.sensor().set_rates(Rates { lifecycle: 0, ..Rates::default() })?;
    let burst = if std::env::var_os("SANDWATCH_VM").is_some() { BURST_IN_VM } else { BURST };
    let child = Child::spawn(world.cgroup(), || {
        let until = Instant::now() + Duration::from_secs(60);
        let mut opened = 0;
        for round in 0..burst {
            short_child();
            if round % 1000 == 0 {
                opened += i32::from(open(&path, libc::O_RDONLY) >= 0);
            }
            if Instant::now() > until {
                break;
            }
        }
        opened
    })?;
    // Nobody reads meanwhile: the lane must overflow.
    let opened = child.wait()?;
    world.sensor().set_rates(Rates::default())?;
    settled(world)?;
    let events = world.take();
    // A hole shows when something comes after it, on its own CPU.
    let cpus = std::thread::available_parallelism()?.get();
    world.run(|| {
        for cpu in 0..cpus {
            pin(cpu);
            short_child();
        }
        0
    })?;
    settled(world)?;
    let opens = events.iter().filter(|event| matches!(event.body, Body::Open(_))).count();
    ensure_same!(opens, opened as usize, "opens that arrived");
    let lost_now = lost(world)?;
    ensure_same!(lost_now.0 - lost_before.0, 0, "records lost in the priority lane");
    let counted = lost_now.1 - lost_before.1;
    ensure_that!(counted > 0, "the lane overflowed");
    // A hole is a gap once nothing can fill it any more.
    let until = Instant::now() + Duration::from_secs(60);
    let mut holes = 0;
    while holes < counted && Instant::now() < until {
        world.poll(Duration::from_millis(50))?;
        let gaps = world.sensor().gaps();
        holes += gaps.iter().filter(|gap| gap.lane == Lane::Lifecycle).map(|gap| gap.count).sum::<u64>();
    }
    ensure_same!(holes, counted, "records lost in the lifecycle lane, by sequence numbers and by counter");
    Ok(Verdict::Holds)
}

/// Records refused by a full ring: priority, lifecycle.
pub(super) fn lost(world: &mut World) -> Result<(u64, u64)> {
    let counters = world.sensor().counters()?;
    let of = |lane: Lane| {
        counters.lanes.iter().filter(|tally| tally.lane == lane).map(|tally| tally.tally.lost).sum()
    };
    Ok((of(Lane::Priority), of(Lane::Lifecycle)))
}

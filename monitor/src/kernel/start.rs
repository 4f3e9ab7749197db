//! From nothing to a running sensor: the steps in their order.

use std::fs;
use std::time::Instant;

use monitor_common::hook::Signal;
use monitor_common::map::Settings;
use monitor_common::offset::Group;
use monitor_common::program::PROGRAMS;
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

use super::btf::Btf;
use super::canary::{Canary, Kept};
use super::coverage::{Coverage, Level, SignalCoverage};
use super::error::KernelError;
use super::gaps;
use super::host::Host;
use super::ladder::{self, Climb, Climbed};
use super::load::{Programs, loader};
use super::maps::Maps;
use super::offsets::Offsets;
use super::options::SensorOptions;
use super::overlay;
use super::rings::Rings;
use super::sensor::{Sensor, VMLINUX};
use super::sequence::SequenceTracker;

/// See [`Sensor::start`].
pub(crate) fn start(options: &SensorOptions) -> Result<Sensor, KernelError> {
    let began = Instant::now();
    ladder::check_hooks(&options.hooks)?;
    let mut warnings = Vec::new();
    let host = Host::inspect(&mut warnings)?;
    let memlock = raise_memlock(&host);
    warnings.extend(memlock.clone());
    let (mut programs, overlay) = open(&host, options).map_err(|error| match (error, memlock) {
        // The limit is what refuses the maps then, and the kernel's "not permitted" does not say so.
        (KernelError::Object { reason }, Some(hint)) => {
            KernelError::Object { reason: format!("{reason}; {hint}") }
        }
        (error, _) => error,
    })?;
    let mut maps = Maps::take(&mut programs)?;
    let mut rings = Rings::take(&mut programs)?;
    // Rates stay 0 (no limit) until the rungs are chosen: the canary is not throttled.
    maps.set_settings(Settings {
        agent_pid: std::process::id(),
        ring_bits: options.sizes.ring_bits(),
        ..Settings::ZERO
    })?;
    maps.set_env_names(&options.env_names)?;
    if let Some(offsets) = overlay {
        maps.set_overlay(offsets)?;
    }
    let inherits = attach_upkeep(&mut programs, &mut warnings);

    let mut tracker = SequenceTracker::default();
    let root = host.cgroup2.clone().unwrap_or_default();
    let canary = Canary::prepare(&root, options.sizes.canary_label())?;
    warnings.extend(canary.warning());
    maps.set_filter(&Canary::filter())?;
    let climbed = Climb {
        host: &host,
        hooks: &options.hooks,
        programs: &mut programs,
        maps: &mut maps,
        rings: &mut rings,
        tracker: &mut tracker,
        canary: &canary,
    }
    .climb()?;
    let canary = if options.canary { keep(canary, options, &mut maps, &mut warnings) } else { None };
    programs.close_ladder();
    // Of what reading BTF took.
    crate::frugal::trim();
    maps.set_filter(&super::filter::KernelFilter::default())?;
    maps.set_rates(options.rates)?;

    let coverage = state(host, &climbed, &programs, inherits, warnings, began);
    if coverage.level == Level::None {
        return Err(KernelError::NothingWatched { coverage: Box::new(coverage) });
    }
    Ok(Sensor::assemble(coverage, programs, maps, rings, tracker, canary, overlay.is_some()))
}

/// The canary of the running agent, with its label.
fn keep(
    canary: Canary,
    options: &SensorOptions,
    maps: &mut Maps,
    warnings: &mut Vec<String>,
) -> Option<(Kept, u32)> {
    match Kept::start(canary, maps) {
        Ok(kept) => Some((kept, options.sizes.canary_label())),
        Err(error) => {
            warnings
                .push(format!("no canary can be kept, so nothing shows that the probes still fire: {error}"));
            None
        }
    }
}

/// Reads the kernel's type information, keeps what is needed of it, and creates the maps.
fn open(
    host: &Host,
    options: &SensorOptions,
) -> Result<(Programs, Option<monitor_common::map::OverlayOffsets>), KernelError> {
    let loader = loader();
    let bytes = fs::read(VMLINUX).map_err(|source| KernelError::NoBtf { path: VMLINUX.into(), source })?;
    let btf = Btf::parse(&bytes).map_err(|source| KernelError::BadBtf { path: VMLINUX.into(), source })?;
    drop(bytes);
    let offsets = Offsets::resolve(&btf);
    if let Some(missing) = offsets.missing(Group::Core) {
        return Err(KernelError::MissingOffsets { missing });
    }
    Ok((Programs::open(host, &btf, offsets, &options.sizes, loader)?, overlay::find(&btf)))
}

/// Kernels before 5.11 count BPF memory against this limit (kernel/bpf/syscall.c, `bpf_charge_memlock`). Says what failed.
fn raise_memlock(host: &Host) -> Option<String> {
    if host.at_least(5, 11) {
        return None;
    }
    let refused = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).err()?;
    Some(format!(
        "RLIMIT_MEMLOCK cannot be raised ({refused}) and this kernel counts maps against it: raise it for the service (LimitMEMLOCK=infinity, or CAP_SYS_RESOURCE)"
    ))
}

/// The programs that keep labels right. Returns whether all of them run.
fn attach_upkeep(programs: &mut Programs, warnings: &mut Vec<String>) -> bool {
    let mut all = true;
    let upkeep: Vec<u32> =
        PROGRAMS.iter().filter(|(_, spec)| spec.signal.is_none()).map(|(number, _)| *number).collect();
    programs.load_ahead(&upkeep);
    for (number, spec) in PROGRAMS.iter().filter(|(number, _)| upkeep.contains(number)) {
        if let Err(failure) = programs.attach(*number, spec) {
            warnings.push(format!("{} could not be attached: {}", spec.name, failure.reason));
            all = false;
        }
    }
    all
}

fn state(
    host: Host,
    climbed: &[Climbed],
    programs: &Programs,
    inherits: bool,
    warnings: Vec<String>,
    began: Instant,
) -> Coverage {
    let attached = |number| programs.is_attached(number);
    let neighbours = programs.neighbours();
    let facts = gaps::Facts { host: &host, attached: &attached, inherits, neighbours: &neighbours };
    let entry = |entry: &Climbed| {
        let mut attempts = entry.attempts.clone();
        let order = ladder::rungs(entry.signal);
        attempts.sort_by_key(|attempt| order.iter().position(|rung| *rung == attempt.rung));
        SignalCoverage { signal: entry.signal, rung: entry.rung, attempts, gaps: gaps::of(entry, &facts) }
    };
    let signals: Vec<SignalCoverage> = climbed.iter().map(entry).collect();
    debug_assert_eq!(signals.len(), Signal::ALL.len());
    Coverage {
        level: Level::of(&signals),
        signals,
        host,
        warnings,
        programs: programs.reports(),
        start: began.elapsed(),
    }
}

//! Loads the BPF object once, and its programs one by one.
//!
//! A program that the kernel refuses is a recorded reason, never the end: the ladder goes on with the next rung.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use aya::maps::Map;
use aya::programs::{Program, ProgramFd};
use aya::{Ebpf, EbpfLoader};
use monitor_common::program::{Attach, ENTRY_ONLY, EXIT_ONLY, PROGRAMS, ProgramSpec};

use super::btf::{Btf, Target};
use super::coverage::{ProgramReport, Verdict};
use super::dispatch::{Link, attach_program, describe, load_program, target, unload};
use super::error::KernelError;
use super::host::Host;
use super::neighbours;
use super::object::{Variant, object};
use super::offsets::Offsets;
use super::options::MapSizes;
use super::prealloc::preallocated;

/// Lines of the verifier's log kept with a program that was refused.
const LOG_TAIL: usize = 12;
/// Most programs loaded at once.
const LOADERS_MAX: usize = 4;

/// The object's programs.
pub(crate) struct Programs {
    /// What attaches them, by name. Goes before what is attached.
    links: BTreeMap<&'static str, Link>,
    /// The library's programs with all their instructions; only needed until the ladder is climbed.
    ebpf: Option<Ebpf>,
    /// What is left of them then: descriptors of those that are attached, by name, and maps that nobody has taken.
    running: BTreeMap<&'static str, ProgramFd>,
    maps: Vec<Map>,
    /// Their ids.
    own: Vec<u32>,
    /// Ids of the functions and tracepoints to attach to; only needed until the ladder is climbed.
    table: Option<aya::Btf>,
    targets: Vec<Target>,
    offsets: Offsets,
    cgroup: Option<File>,
    /// Programs that were loaded ahead: how long it took, and what came of it.
    ahead: BTreeMap<u32, (Duration, Result<(), Failure>)>,
    reports: BTreeMap<u32, ProgramReport>,
}

/// Why a program is not running.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) verdict: Verdict,
    pub(crate) reason: String,
}

impl Failure {
    fn new(verdict: Verdict, reason: String) -> Self {
        Self { verdict, reason }
    }
}

impl Programs {
    /// Creates the maps and readies the programs; none is loaded yet.
    pub(crate) fn open(
        host: &Host,
        btf: &Btf<'_>,
        offsets: Offsets,
        sizes: &MapSizes,
        loader: EbpfLoader<'static>,
    ) -> Result<Self, KernelError> {
        // Fetch-and-add is refused before 5.12 (kernel/bpf/verifier.c, `check_atomic`), pointers to functions before 5.13.
        let variant = if host.at_least(5, 13) { Variant::Atomics } else { Variant::Plain };
        let bytes = object(variant).ok_or_else(|| KernelError::ObjectMismatch {
            reason: "none are built in (it was built with SANDWATCH_SKIP_BPF=1)".into(),
        })?;
        let ebpf = if host.at_least(6, 1) {
            load(loader, bytes, &offsets, sizes)?
        } else {
            load(loader, &preallocated(bytes)?, &offsets, sizes)?
        };
        let all: Vec<Target> = PROGRAMS.iter().filter_map(|(_, spec)| target(spec.attach)).collect();
        let targets: Vec<Target> = all.iter().filter(|target| btf.has_target(target)).cloned().collect();
        let source = |source| KernelError::BadBtf { path: super::sensor::VMLINUX.into(), source };
        let table = Some(btf.attach_table(&targets).map_err(source)?);
        let cgroup =
            host.cgroup2.as_deref().filter(|_| host.cgroup2_is_root).and_then(|root| File::open(root).ok());
        Ok(Self {
            links: BTreeMap::new(),
            ebpf: Some(ebpf),
            running: BTreeMap::new(),
            maps: Vec::new(),
            own: Vec::new(),
            table,
            targets,
            offsets,
            cgroup,
            ahead: BTreeMap::new(),
            reports: BTreeMap::new(),
        })
    }

    /// Takes a map out; it must be kept open as long as programs are loaded.
    pub(crate) fn take_map(&mut self, name: &'static str) -> Result<Map, KernelError> {
        let missing = || KernelError::ObjectMismatch { reason: format!("they have no map {name}") };
        self.ebpf.as_mut().and_then(|ebpf| ebpf.take_map(name)).ok_or_else(missing)
    }

    /// Whether this kernel does without a program of a rung: either it gives a system call's arguments when the call ends, or a
    /// program at its entry has to keep them.
    pub(crate) fn is_needless(&self, number: u32) -> bool {
        if self.offsets.arguments_at_exit() {
            ENTRY_ONLY.contains(&number)
        } else {
            EXIT_ONLY.contains(&number)
        }
    }

    /// Loads programs side by side: the verifier runs for privileged callers in parallel (kernel/bpf/verifier.c, `bpf_check`), and
    /// it is most of the start-up time. What fails is told by [`Programs::attach`].
    pub(crate) fn load_ahead(&mut self, wanted: &[u32]) {
        let (Some(table), Some(ebpf)) = (&self.table, &mut self.ebpf) else { return };
        let specs = PROGRAMS.iter().filter(|(number, spec)| {
            wanted.contains(number) && obstacle(spec, &self.offsets, &self.targets).is_none()
        });
        let mut specs: BTreeMap<&str, &(u32, ProgramSpec)> =
            specs.map(|entry| (entry.1.name, entry)).collect();
        let mut jobs: Vec<(u32, Attach, &mut Program)> = Vec::new();
        for (name, program) in ebpf.programs_mut() {
            if let Some((number, spec)) = specs.remove(name) {
                jobs.push((*number, spec.attach, program));
            }
        }
        // Rungs of one signal lie side by side and cost alike: deal them out.
        jobs.sort_by_key(|(number, ..)| *number);
        let queue = Mutex::new(jobs);
        let done = Mutex::new(&mut self.ahead);
        let workers = std::thread::available_parallelism().map_or(1, |cpus| cpus.get().min(LOADERS_MAX));
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some((number, attach, program)) = take(&queue) {
                        let started = Instant::now();
                        let result = load_program(program, attach, table);
                        let result = result.map_err(|error| Failure::new(Verdict::LoadFailed, words(&error)));
                        if let Ok(mut done) = done.lock() {
                            done.insert(number, (started.elapsed(), result));
                        }
                    }
                });
            }
        });
    }

    /// Loads (if it is not yet) and attaches a program.
    pub(crate) fn attach(&mut self, number: u32, spec: &ProgramSpec) -> Result<(), Failure> {
        let (load, result) = self.try_attach(number, spec);
        let report = self.report(spec, load, result.as_ref().err());
        self.reports.insert(number, report);
        result
    }

    fn try_attach(&mut self, number: u32, spec: &ProgramSpec) -> (Duration, Result<(), Failure>) {
        let refused = |reason: String| (Duration::ZERO, Err(Failure::new(Verdict::Unavailable, reason)));
        if let Some(reason) = obstacle(spec, &self.offsets, &self.targets) {
            return refused(reason);
        }
        let (Some(table), Some(ebpf)) = (&self.table, &mut self.ebpf) else {
            return refused("the ladder is closed".into());
        };
        let Some(program) = ebpf.program_mut(spec.name) else {
            return refused(format!("no program {} is built in for this kernel", spec.name));
        };
        let (load, loaded) = self.ahead.remove(&number).unwrap_or_else(|| {
            let started = Instant::now();
            let result = load_program(program, spec.attach, table);
            let result = result.map_err(|error| Failure::new(Verdict::LoadFailed, words(&error)));
            (started.elapsed(), result)
        });
        let attached = loaded.and_then(|()| {
            attach_program(program, spec.attach, self.cgroup.as_ref()).map_err(|error| {
                unload(program);
                Failure::new(Verdict::AttachFailed, words(&error))
            })
        });
        (load, attached.map(|link| drop(self.links.insert(spec.name, link))))
    }

    /// Detaches and unloads a program, and says why.
    pub(crate) fn detach(&mut self, number: u32, spec: &ProgramSpec, reason: &str) {
        self.links.remove(spec.name);
        if let Some(program) = self.ebpf.as_mut().and_then(|ebpf| ebpf.program_mut(spec.name)) {
            unload(program);
        }
        if let Some(report) = self.reports.get_mut(&number) {
            report.attached = false;
            report.error = Some(reason.to_owned());
        }
    }

    /// Whether a program is attached now.
    pub(crate) fn is_attached(&self, number: u32) -> bool {
        self.reports.get(&number).is_some_and(|report| report.attached)
    }

    /// Frees what only attaching needs, and unloads what was loaded ahead and not attached.
    pub(crate) fn close_ladder(&mut self) {
        let ahead = std::mem::take(&mut self.ahead);
        let Some(ebpf) = &mut self.ebpf else { return };
        for (_, spec) in PROGRAMS.iter().filter(|(number, _)| ahead.contains_key(number)) {
            if let Some(program) = ebpf.program_mut(spec.name) {
                unload(program);
            }
        }
        self.table = None;
        self.targets = Vec::new();
        self.own = ids(ebpf);
        let descriptor =
            |name: &&'static str| Some((*name, ebpf.program(name)?.fd().ok()?.try_clone().ok()?));
        // Without its descriptor nothing could be asked of a program: then the library's part stays.
        let Some(running) = self.links.keys().map(descriptor).collect() else { return };
        self.running = running;
        let names: Vec<String> = ebpf.maps().map(|(name, _)| name.to_owned()).collect();
        self.maps = names.iter().filter_map(|name| ebpf.take_map(name)).collect();
        self.ebpf = None;
    }

    /// Other people's programs on the cgroup hooks.
    pub(crate) fn neighbours(&self) -> Vec<String> {
        let Some(cgroup) = &self.cgroup else { return Vec::new() };
        match &self.ebpf {
            Some(ebpf) => neighbours::find(cgroup, &ids(ebpf)),
            None => neighbours::find(cgroup, &self.own),
        }
    }

    /// Every program that was tried.
    pub(crate) fn reports(&self) -> Vec<ProgramReport> {
        self.reports.values().cloned().collect()
    }

    /// What the kernel counts of a program (kernel/bpf/syscall.c, `bpf_prog_show_fdinfo`).
    pub(crate) fn costs(&self, spec: &ProgramSpec) -> Costs {
        let fd = self.fd(spec.name).map(|fd| fd.as_raw_fd());
        let text = fd.and_then(|fd| short_file(&format!("/proc/self/fdinfo/{fd}")).ok());
        Costs::of(&text.unwrap_or_default())
    }

    /// The descriptor of a loaded program.
    fn fd(&self, name: &str) -> Option<BorrowedFd<'_>> {
        match &self.ebpf {
            Some(ebpf) => Some(ebpf.program(name)?.fd().ok()?.as_fd()),
            None => Some(self.running.get(name)?.as_fd()),
        }
    }

    fn report(&self, spec: &ProgramSpec, load: Duration, failure: Option<&Failure>) -> ProgramReport {
        let program = self.ebpf.as_ref().and_then(|ebpf| ebpf.program(spec.name));
        let info = program.and_then(|program| program.info().ok());
        ProgramReport {
            name: spec.name,
            rung: spec.rung,
            attached: failure.is_none(),
            load,
            verified_instructions: info
                .as_ref()
                .and_then(aya::programs::ProgramInfo::verified_instruction_count),
            translated_bytes: info.as_ref().and_then(aya::programs::ProgramInfo::size_translated),
            jited_bytes: info.as_ref().map_or(0, aya::programs::ProgramInfo::size_jitted),
            error: failure.map(|failure| failure.reason.clone()),
        }
    }
}

/// Ids of those programs that are loaded.
fn ids(ebpf: &Ebpf) -> Vec<u32> {
    ebpf.programs().filter_map(|(_, program)| Some(program.info().ok()?.id())).collect()
}

/// Reads a short file with one call, where `read_to_string` makes half a dozen: this is done for each program each second.
fn short_file(path: &str) -> std::io::Result<String> {
    let mut buffer = [0; 2048];
    let read = std::io::Read::read(&mut File::open(path)?, &mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..read]).into_owned())
}

/// What the kernel counts of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Costs {
    /// Runs skipped because the program was active on that CPU already (kernels >= 5.12).
    pub(crate) missed: Option<u64>,
    /// Runs and their ns; `None`: none were counted, as is usual (`kernel.bpf_stats_enabled`).
    pub(crate) runs: Option<(u64, u64)>,
}

impl Costs {
    fn of(fdinfo: &str) -> Self {
        let number =
            |key: &str| fdinfo.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok());
        let runs = number("run_cnt:").filter(|count| *count > 0).zip(number("run_time_ns:"));
        Self { missed: number("recursion_misses:"), runs }
    }
}

impl std::fmt::Debug for Programs {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Programs").field("reports", &self.reports).finish_non_exhaustive()
    }
}

/// Why a program need not be tried on this kernel.
fn obstacle(spec: &ProgramSpec, offsets: &Offsets, targets: &[Target]) -> Option<String> {
    if let Some(reason) = offsets.missing(spec.group) {
        return Some(reason);
    }
    let target = target(spec.attach).filter(|target| !targets.contains(target))?;
    Some(format!("this kernel has no {}", describe(&target)))
}

fn take<T>(queue: &Mutex<Vec<T>>) -> Option<T> {
    queue.lock().ok()?.pop()
}

/// A loader of programs. It comes before anything else reads the kernel's BTF: the library does, too, and takes most of what the
/// agent ever takes for it. The probes carry no CO-RE relocations, so it goes again at once.
pub(crate) fn loader() -> EbpfLoader<'static> {
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    crate::frugal::trim();
    loader
}

fn load<'a>(
    mut loader: EbpfLoader<'a>,
    bytes: &[u8],
    offsets: &'a Offsets,
    sizes: &MapSizes,
) -> Result<Ebpf, KernelError> {
    for (symbol, value) in offsets.values() {
        // A global that no program reads is not in the object.
        loader.override_global(symbol, value, false);
    }
    for (map, entries) in sizes.entries() {
        loader.map_max_entries(map, entries);
    }
    loader.load(bytes).map_err(|error| KernelError::Object { reason: words(&error) })
}

/// An error with its causes, and of the verifier's log only the end.
pub(crate) fn words(error: &dyn Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = tail(error.to_string().trim_end().trim_end_matches("Verifier output:").trim_end());
        // Wrappers repeat what they wrap.
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        next = error.source();
    }
    parts.join(": ")
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.len() <= LOG_TAIL + 1 {
        return lines.join("\n");
    }
    let head = lines.first().copied().unwrap_or_default();
    format!("{head}\n  …\n{}", lines[lines.len() - LOG_TAIL..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_error_keeps_the_first_line_and_the_end_of_a_long_log() {
        let log = (0..100).map(|n| format!("line {n}")).collect::<Vec<_>>().join("\n");
        let kept = tail(&log);
        assert!(kept.starts_with("line 0\n") && kept.ends_with("line 99"), "{kept}");
        assert_eq!(kept.lines().count(), LOG_TAIL + 2);
    }
}

//! What this host offers to probes.
//!
//! Found once at start. `mounts` finds (or makes) the mounts that are needed; what is missing and stops everything is an error
//! here, what costs a rung only is left to the ladder.

mod mounts;

pub(crate) use mounts::unescape as unescape_mount;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::KernelError;

/// Facts about the host.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Host {
    /// `uname -r`.
    pub kernel: String,
    /// Version as numbers.
    #[serde(skip)]
    pub version: (u32, u32, u32),
    /// Where cgroup v2 is mounted.
    pub cgroup2: Option<PathBuf>,
    /// Whether that mount shows the root of the hierarchy (else the agent lives in a cgroup namespace of its own).
    pub cgroup2_is_root: bool,
    /// Where tracefs is mounted.
    pub tracefs: Option<PathBuf>,
    /// Active LSMs; `None` if they could not be read.
    pub lsm: Option<Vec<String>>,
    /// Lockdown mode in force; `None` if the kernel has none.
    pub lockdown: Option<String>,
    /// `kernel.perf_event_paranoid`.
    pub perf_event_paranoid: Option<i32>,
    /// Effective capabilities, as bits.
    pub capabilities: u64,
    /// Whether the kernel runs 32-bit system calls; `None` if it cannot be told.
    pub ia32: Option<bool>,
    /// Whether a task may lose its CPU inside the kernel; `None` if it cannot be told.
    pub preemptible: Option<bool>,
    /// Number of possible CPUs.
    pub cpus: u32,
}

/// Capabilities by number (include/uapi/linux/capability.h).
mod cap {
    pub(super) const DAC_READ_SEARCH: u32 = 2;
    pub(super) const NET_ADMIN: u32 = 12;
    pub(super) const SYS_PTRACE: u32 = 19;
    pub(super) const SYS_ADMIN: u32 = 21;
    pub(super) const PERFMON: u32 = 38;
    pub(super) const BPF: u32 = 39;
}

/// Inode of the initial pid namespace (include/linux/proc_ns.h: `PROC_PID_INIT_INO`).
const INIT_PID_NS: u64 = 0xefff_fffc;

impl Host {
    /// Finds out about this host; mounts tracefs and securityfs at their usual places if they are missing and that is allowed.
    /// Warnings go to `warnings`.
    ///
    /// # Errors
    /// What makes running here impossible: too old a kernel, missing capabilities, no cgroup2, lockdown, a pid namespace.
    pub(crate) fn inspect(warnings: &mut Vec<String>) -> Result<Self, KernelError> {
        let kernel = read("/proc/sys/kernel/osrelease")?.trim().to_owned();
        let version = version(&kernel);
        if version < (5, 8, 0) {
            return Err(KernelError::KernelTooOld { release: kernel });
        }
        let capabilities = capabilities(&read("/proc/self/status")?);
        check_capabilities(capabilities, warnings)?;
        if fs::metadata("/proc/self/ns/pid").is_ok_and(|ns| ns.ino() != INIT_PID_NS) {
            return Err(KernelError::PidNamespace);
        }
        if bpf_is_refused() {
            return Err(KernelError::BpfRefused { filtered: is_filtered(&read("/proc/self/status")?) });
        }
        let mounted = mounts::parse(&read("/proc/self/mountinfo")?);
        let (cgroup2, cgroup2_is_root) = mounts::cgroup2(&mounted).ok_or(KernelError::NoCgroup2)?;
        let tracefs = mounts::find_or_mount(&mounted, "tracefs", Path::new("/sys/kernel/tracing"), "events");
        let tracefs = noted(tracefs, "tracefs", "system call tracepoints cannot be attached", warnings);
        let security =
            mounts::find_or_mount(&mounted, "securityfs", Path::new("/sys/kernel/security"), "lsm");
        let security = noted(security, "securityfs", "the canary alone decides on the LSM rung", warnings);
        let of_security =
            |name: &str| security.as_ref().and_then(|at| fs::read_to_string(at.join(name)).ok());
        let lockdown = of_security("lockdown").and_then(|text| in_brackets(&text));
        if lockdown.as_deref() == Some("confidentiality") {
            return Err(KernelError::Lockdown);
        }
        Ok(Self {
            kernel,
            version,
            cgroup2: Some(cgroup2),
            cgroup2_is_root,
            tracefs,
            lsm: of_security("lsm").map(|text| text.trim().split(',').map(str::to_owned).collect()),
            lockdown,
            perf_event_paranoid: fs::read_to_string("/proc/sys/kernel/perf_event_paranoid")
                .ok()
                .and_then(|text| text.trim().parse().ok()),
            capabilities,
            ia32: ia32(&fs::read_to_string("/proc/cmdline").unwrap_or_default()),
            preemptible: preemptible(
                &read("/proc/sys/kernel/version").unwrap_or_default(),
                &fs::read_to_string("/proc/cmdline").unwrap_or_default(),
            ),
            cpus: possible_cpus(&fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default()),
        })
    }

    /// Whether the kernel is at least this version.
    pub fn at_least(&self, major: u32, minor: u32) -> bool {
        self.version >= (major, minor, 0)
    }

    /// Whether `bpf` is an active LSM; `None` if that could not be read.
    pub fn has_bpf_lsm(&self) -> Option<bool> {
        self.lsm.as_ref().map(|active| active.iter().any(|name| name == "bpf"))
    }

    /// Whether perf events, which kprobes and system call tracepoints are, may want more than CAP_PERFMON: Debian and Ubuntu
    /// know levels of `kernel.perf_event_paranoid` above 2, from which on they want CAP_SYS_ADMIN.
    pub fn perf_needs_admin(&self) -> bool {
        self.perf_event_paranoid.is_some_and(|level| level > 2) && !has(self.capabilities, cap::SYS_ADMIN)
    }

    /// Whether the agent may load cgroup programs.
    pub fn has_net_admin(&self) -> bool {
        has(self.capabilities, cap::NET_ADMIN) || has(self.capabilities, cap::SYS_ADMIN)
    }
}

/// Mount point of the cgroup2 hierarchy; needs no privilege.
///
/// # Errors
/// There is none, or /proc cannot be read.
pub(crate) fn cgroup2_mount() -> Result<PathBuf, KernelError> {
    let mounted = mounts::parse(&read("/proc/self/mountinfo")?);
    mounts::cgroup2(&mounted).map(|(path, _)| path).ok_or(KernelError::NoCgroup2)
}

/// Whether the system call is stopped before the kernel looks at what is asked: no command has this number, and who may use bpf is
/// told so.
fn bpf_is_refused() -> bool {
    // SAFETY: no memory is given; the kernel reads none for a size of zero.
    let result = unsafe { libc::syscall(libc::SYS_bpf, i32::MAX, std::ptr::null::<u8>(), 0u32) };
    result == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// Whether a seccomp filter is in force, by /proc/self/status.
fn is_filtered(status: &str) -> bool {
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

fn read(path: &str) -> Result<String, KernelError> {
    fs::read_to_string(path).map_err(|source| KernelError::File { path: path.into(), source })
}

fn noted(
    found: Result<(PathBuf, bool), std::io::Error>,
    what: &str,
    consequence: &str,
    warnings: &mut Vec<String>,
) -> Option<PathBuf> {
    match found {
        Ok((point, false)) => Some(point),
        Ok((point, true)) => {
            tracing::info!("{what} was not mounted: mounted it at {}", point.display());
            Some(point)
        }
        Err(reason) => {
            warnings.push(format!("{what} is not mounted and cannot be: {reason}; {consequence}"));
            None
        }
    }
}

/// `6.18.44` → (6, 18, 44).
/// From the build's version line ("#1 SMP PREEMPT_DYNAMIC Debian …"; init/version-timestamp.c) and the command line, which
/// chooses the mode of a PREEMPT_DYNAMIC kernel (kernel/sched/core.c, `setup_preempt_mode`) whose default is not told.
fn preemptible(version: &str, cmdline: &str) -> Option<bool> {
    if !version.contains("PREEMPT") {
        return Some(false);
    }
    let chosen = cmdline.split_whitespace().filter_map(|word| word.strip_prefix("preempt=")).next_back();
    match (version.contains("PREEMPT_DYNAMIC"), chosen) {
        (false, _) => Some(true),
        (true, Some("full" | "lazy")) => Some(true),
        (true, Some("none" | "voluntary")) => Some(false),
        (true, _) => None,
    }
}

fn version(release: &str) -> (u32, u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

fn capabilities(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0)
}

fn has(bits: u64, capability: u32) -> bool {
    bits >> capability & 1 == 1
}

fn check_capabilities(bits: u64, warnings: &mut Vec<String>) -> Result<(), KernelError> {
    let admin = has(bits, cap::SYS_ADMIN);
    let needed = [(cap::BPF, "CAP_BPF"), (cap::PERFMON, "CAP_PERFMON")];
    let missing: Vec<&str> =
        needed.iter().filter(|(bit, _)| !has(bits, *bit) && !admin).map(|(_, name)| *name).collect();
    if !missing.is_empty() {
        return Err(KernelError::MissingCapabilities { missing: missing.join(", ") });
    }
    let useful = [
        (
            cap::SYS_PTRACE,
            "CAP_SYS_PTRACE",
            "processes of other users are seen without their exe, cwd and environment",
        ),
        (cap::DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", "files of workers may not be resolved to inodes"),
    ];
    for (bit, name, consequence) in useful {
        if !has(bits, bit) {
            warnings.push(format!("{name} is missing: {consequence}"));
        }
    }
    Ok(())
}

/// The word in brackets of `none [integrity] confidentiality`.
fn in_brackets(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(word, _)| word.to_owned())
}

/// The 32-bit vDSO's sysctl exists exactly where 32-bit system calls are compiled in (arch/x86/entry/vdso/vdso32-setup.c), and
/// kernels >= 6.7 can switch them off at boot.
fn ia32(command_line: &str) -> Option<bool> {
    if !cfg!(target_arch = "x86_64") {
        return None;
    }
    let off = ["ia32_emulation=0", "ia32_emulation=off", "ia32_emulation=false", "ia32_emulation=n"];
    Some(
        Path::new("/proc/sys/abi/vsyscall32").exists()
            && !command_line.split_whitespace().any(|word| off.contains(&word)),
    )
}

/// `0-3,8` → 9: arrays are indexed by CPU number, so the highest counts.
fn possible_cpus(list: &str) -> u32 {
    let highest = list.trim().split([',', '-']).filter_map(|number| number.parse::<u32>().ok()).max();
    highest.map_or(1, |number| number.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

    use super::*;

    #[test]
    fn host_preemption_is_told_by_build_and_command_line() {
        assert_eq!(preemptible("#1 SMP Debian 5.10.1", "preempt=full"), Some(false));
        assert_eq!(preemptible("#1 SMP PREEMPT_RT Debian", ""), Some(true));
        assert_eq!(preemptible("#1 SMP PREEMPT_DYNAMIC Debian", "quiet preempt=full"), Some(true));
        assert_eq!(preemptible("#1 SMP PREEMPT_DYNAMIC Debian", "preempt=voluntary"), Some(false));
        assert_eq!(preemptible("#1 SMP PREEMPT_DYNAMIC Debian", "quiet"), None);
    }

    #[test]
    fn host_version_of_distribution_kernels_is_read() {
        assert_eq!(version("5.10.0-30-cloud-amd64"), (5, 10, 0));
        assert_eq!(version("6.18.44"), (6, 18, 44));
        assert_eq!(version("7.2"), (7, 2, 0));
    }

    #[test]
    fn host_without_bpf_capability_names_it() {
        let error = check_capabilities(1 << cap::PERFMON, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, KernelError::MissingCapabilities { missing } if missing == "CAP_BPF"));
    }

    #[test]
    fn host_filter_that_stops_bpf_is_told_from_the_kernels_own_answer() {
        assert!(is_filtered("Name:\tsandwatch\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(!is_filtered("Seccomp:\t0\nSeccomp_filters:\t0\n"));
        // The filter is that thread's alone.
        let refused = std::thread::spawn(|| {
            let rules = [(libc::SYS_bpf, Vec::new())].into();
            let (allowed, stopped) = (SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32));
            let target = std::env::consts::ARCH.try_into().unwrap();
            let filter = SeccompFilter::new(rules, allowed, stopped, target).unwrap();
            let program: BpfProgram = filter.try_into().unwrap();
            seccompiler::apply_filter(&program).unwrap();
            bpf_is_refused()
        });
        assert!(refused.join().unwrap());
        let says = KernelError::BpfRefused { filtered: true }.to_string();
        assert!(says.contains("seccompProfile: { type: Unconfined }"), "{says}");
        assert!(!KernelError::BpfRefused { filtered: false }.to_string().contains("Unconfined"));
    }

    #[test]
    fn host_sys_admin_stands_for_bpf_and_perfmon_and_lacks_are_warned_of() {
        let mut warnings = Vec::new();
        check_capabilities(1 << cap::SYS_ADMIN, &mut warnings).unwrap();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
    }

    #[test]
    fn host_perf_events_want_more_above_level_two_and_only_of_those_who_lack_it() {
        let host = |level, capabilities| Host { perf_event_paranoid: level, capabilities, ..Host::default() };
        assert!(host(Some(3), 1 << cap::PERFMON).perf_needs_admin());
        assert!(!host(Some(3), 1 << cap::SYS_ADMIN).perf_needs_admin());
        assert!(!host(Some(2), 1 << cap::PERFMON).perf_needs_admin());
        assert!(!host(None, 0).perf_needs_admin());
    }

    #[test]
    fn host_lockdown_and_cpus_are_read() {
        assert_eq!(in_brackets("none [integrity] confidentiality\n").as_deref(), Some("integrity"));
        assert_eq!(possible_cpus("0-1\n"), 2);
        assert_eq!(possible_cpus("0,4-7"), 8);
        assert_eq!(possible_cpus(""), 1);
    }
}

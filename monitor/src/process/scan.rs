//! What /proc says of a process that ran before the agent saw it.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use monitor_common::record::ENV_VALUE_MAX;

use super::table::TICK;
use crate::event::{BootNs, FileId, Path, ProcessKey, Stdio};
use crate::profile::{Pin, Setup, Trust};

use super::model::{Program, Stamp};
use super::setup::WantedVariables;

/// A process as /proc shows it. What cannot be read is unknown, never an error.
#[derive(Clone, Debug)]
pub struct Scanned {
    /// Pid, and start time in whole ticks.
    pub key: ProcessKey,
    /// Parent as /proc shows it; after a reparenting this is not the creator.
    pub ppid: u32,
    /// Pid in its innermost namespace.
    pub ns_pid: Option<u32>,
    /// Effective uid.
    pub uid: u32,
    /// Effective gid.
    pub gid: u32,
    /// The program.
    pub program: Program,
}

/// As whom a process reads files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// User id for file access.
    pub uid: u32,
    /// Group ids, the first for file access.
    pub groups: Vec<u32>,
    /// Effective capabilities, a bit each.
    pub capabilities: u64,
}

/// Reads a process.
pub trait ProcReader {
    /// The process of this pid; `None` if there is none (any more).
    fn read(&self, pid: u32) -> Option<Scanned>;

    /// The variables of its environment that `wanted` asks for, as the process's memory shows them now; none if it cannot be read.
    fn environment(&self, pid: u32, wanted: &dyn Fn(&str) -> bool) -> Vec<(Arc<str>, Arc<str>)>;

    /// The names of the variables with a value that `wanted` asks for, never their values; `None` if its environment cannot
    /// be read (any more).
    fn variable_names(&self, pid: u32, wanted: &dyn Fn(&str) -> bool) -> Option<Vec<Arc<str>>> {
        let _ = (pid, wanted);
        None
    }

    /// What its standard descriptors are now; one that it does not have, and those of a process that is over, are closed.
    fn stdio(&self, pid: u32) -> [Stdio; 3] {
        let _ = pid;
        [Stdio::Unknown; 3]
    }

    /// As whom the process reads files; `None` if that cannot be read.
    fn credentials(&self, pid: u32) -> Option<Credentials> {
        let _ = pid;
        None
    }

    /// How the process is set up; `None` if there is none of this pid (any more).
    fn setup(&self, pid: u32, wanted: &WantedVariables<'_>) -> Option<Setup> {
        let _ = (pid, wanted);
        None
    }

    /// The mount namespace of the init process, as an inode number; 0 if it cannot be told.
    fn init_mounts(&self) -> u32 {
        0
    }
}

/// Most of an environment that is looked through, bytes.
const ENVIRONMENT_MAX: u64 = 64 * 1024;

/// Longer names of variables are nobody's.
const NAME_MAX: usize = 128;

fn environ(pid: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(format!("/proc/{pid}/environ"))
        .and_then(|file| file.take(ENVIRONMENT_MAX).read_to_end(&mut bytes));
    // What a process that ends meanwhile leaves half read is no environment.
    read.map(|_| bytes).unwrap_or_default()
}

/// The real /proc.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemProc;

impl ProcReader for SystemProc {
    fn variable_names(&self, pid: u32, wanted: &dyn Fn(&str) -> bool) -> Option<Vec<Arc<str>>> {
        let environ = environ(pid);
        if environ.is_empty() {
            return None;
        }
        let mut names: Vec<Arc<str>> = environ
            .split(|byte| *byte == 0)
            .filter_map(|pair| {
                std::str::from_utf8(pair.split(|byte| *byte == b'=').next()?).ok().zip(Some(pair))
            })
            .filter(|(name, pair)| pair.len() > name.len() + 1 && name.len() <= NAME_MAX && wanted(name))
            .map(|(name, _)| name.into())
            .collect();
        names.sort_unstable();
        names.dedup();
        Some(names)
    }

    fn stdio(&self, pid: u32) -> [Stdio; 3] {
        super::stdio::read(pid)
    }

    fn credentials(&self, pid: u32) -> Option<Credentials> {
        let status = procfs::process::Process::new(i32::try_from(pid).ok()?).ok()?.status().ok()?;
        let mut groups = vec![status.fgid];
        groups.extend(status.groups);
        Some(Credentials { uid: status.fuid, groups, capabilities: status.capeff })
    }

    fn environment(&self, pid: u32, wanted: &dyn Fn(&str) -> bool) -> Vec<(Arc<str>, Arc<str>)> {
        environ(pid)
            .split(|byte| *byte == 0)
            .filter_map(|pair| std::str::from_utf8(pair).ok()?.split_once('='))
            .filter(|(name, value)| wanted(name) && value.len() <= ENV_VALUE_MAX)
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    fn setup(&self, pid: u32, wanted: &WantedVariables<'_>) -> Option<Setup> {
        super::setup::read(pid, wanted)
    }

    fn init_mounts(&self) -> u32 {
        static MOUNTS: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
        let read = || Some(std::fs::metadata("/proc/1/ns/mnt").ok()?.ino());
        *MOUNTS.get_or_init(|| read().and_then(|ino| u32::try_from(ino).ok()).unwrap_or(0))
    }

    fn read(&self, pid: u32) -> Option<Scanned> {
        let process = procfs::process::Process::new(i32::try_from(pid).ok()?).ok()?;
        let stat = process.stat().ok()?;
        let status = process.status().ok();
        let ticks: BootNs = stat.starttime;
        let path = |read: procfs::ProcResult<std::path::PathBuf>| match read {
            Ok(path) => {
                let text = path.to_string_lossy();
                let deleted = text.ends_with(" (deleted)");
                Path { view: text.trim_end_matches(" (deleted)").into(), deleted, ..Path::default() }
            }
            Err(_) => Path { unreadable: true, ..Path::default() },
        };
        let argv = process.cmdline().ok();
        let exe = std::fs::metadata(format!("/proc/{pid}/exe")).ok();
        Some(Scanned {
            key: ProcessKey { pid, start: ticks.saturating_mul(TICK) },
            ppid: u32::try_from(stat.ppid).unwrap_or(0),
            ns_pid: status
                .as_ref()
                .and_then(|status| status.nspid.as_ref()?.last().copied())
                .and_then(|ns_pid| u32::try_from(ns_pid).ok()),
            uid: status.as_ref().map_or(u32::MAX, |status| status.euid),
            gid: status.as_ref().map_or(u32::MAX, |status| status.egid),
            program: Program {
                exe: path(process.exe()),
                exe_id: exe.as_ref().map(file_id).unwrap_or_default(),
                given: None,
                argv_truncated: argv.is_none(),
                argv_known: argv.is_some(),
                argv: argv.unwrap_or_default().iter().map(|arg| Arc::from(arg.as_str())).collect(),
                cwd: path(process.cwd()),
                trust: Trust::Scanned,
                stamp: exe.as_ref().map(stamp).unwrap_or_default(),
                pin: Pin::None,
                loader_env: None,
            },
        })
    }
}

fn file_id(meta: &std::fs::Metadata) -> FileId {
    FileId { dev: kernel_dev(meta.dev()), ino: meta.ino() }
}

fn stamp(meta: &std::fs::Metadata) -> Stamp {
    let ns = i128::from(meta.ctime()) * 1_000_000_000 + i128::from(meta.ctime_nsec());
    Stamp { size: meta.len(), ctime: u64::try_from(ns).unwrap_or(0) }
}

/// A device number of stat(2) in the kernel's own encoding (`MKDEV`).
pub(crate) fn kernel_dev(dev: u64) -> u32 {
    (libc::major(dev) << 20) | (libc::minor(dev) & 0xf_ffff)
}

/// The number the agent gives the image of a scanned process: unlike any number the probes give (boot-time ns at fork, the
/// same with the highest bit set at exec), and unlike that of any other process.
pub fn scanned_exec_id(key: ProcessKey) -> u64 {
    // Pids have at most 22 bits (PID_MAX_LIMIT, 4 Mi); boot-time ns reach the second-highest bit after 146 years.
    (1 << 62) | (key.start / TICK) << 22 | u64::from(key.pid & 0x3f_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process_is_read_with_its_program_and_start() {
        let own = SystemProc.read(std::process::id()).unwrap();
        assert_eq!(own.ppid, std::os::unix::process::parent_id());
        assert!(own.key.start > 0 && own.key.start.is_multiple_of(TICK));
        assert!(own.program.exe.view.contains("monitor"), "{:?}", own.program.exe);
        assert_eq!(own.program.argv.len(), std::env::args().count());
        let exe = std::fs::metadata("/proc/self/exe").unwrap();
        assert_eq!(own.program.exe_id, FileId { dev: kernel_dev(exe.dev()), ino: exe.ino() });
    }

    #[test]
    fn only_the_wanted_variables_of_an_environment_are_read() {
        let mut child = std::process::Command::new("sleep")
            .arg("5")
            .env("RUN_ID", "42")
            .env("OTHER", "x")
            .spawn()
            .unwrap();
        // Between fork and exec /proc still shows the parent's.
        let mut read = Vec::new();
        for _ in 0..100 {
            read = SystemProc.environment(child.id(), &|name| name == "RUN_ID");
            if !read.is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(read, [("RUN_ID".into(), "42".into())]);
    }

    #[test]
    fn missing_process_is_none() {
        assert!(SystemProc.read(u32::MAX).is_none());
        assert!(SystemProc.read(0).is_none());
    }

    #[test]
    fn scanned_images_of_one_tick_have_different_numbers() {
        let id = |pid, start| scanned_exec_id(ProcessKey { pid, start });
        assert_ne!(id(1, 10 * TICK), id(2, 10 * TICK));
        assert_ne!(id(1, 10 * TICK), id(1, 11 * TICK));
        assert_eq!(id(1, 10 * TICK) >> 62, 1);
    }
}

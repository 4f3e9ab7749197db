//! The host that a worker's set-up is held against, read now and then.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::mounts::{HostMount, parse};
use super::{NAMESPACES, mountinfo, namespace};

/// What was read is good for so long: mounts of the host come and go.
const FRESH: Duration = Duration::from_secs(30);
/// The first process.
const INIT: u32 = 1;
/// The parent of the kernel's threads, which are in the first namespaces of every kind and stay there.
const KERNEL: u32 = 2;

/// What the host's first process has.
pub(super) struct Host {
    /// Numbers of its namespaces, in the order of [`NAMESPACES`]; `None`: it cannot be told.
    pub(super) namespaces: [Option<u64>; NAMESPACES.len()],
    /// The capabilities there are.
    pub(super) capabilities: u64,
    /// Its mounts; `None` if they cannot be read.
    pub(super) mounts: Option<Vec<HostMount>>,
}

impl Host {
    /// As it is now, or was a moment ago.
    pub(super) fn now() -> Arc<Self> {
        static LAST: Mutex<Option<(Instant, Arc<Host>)>> = Mutex::new(None);
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, host)) = &*last
            && read.elapsed() < FRESH
        {
            return host.clone();
        }
        let host = Arc::new(Self::read());
        *last = Some((Instant::now(), host.clone()));
        host
    }

    fn read() -> Self {
        let table = mountinfo(INIT).ok().map(|(text, _)| parse(&text));
        Self {
            namespaces: namespaces(),
            capabilities: capabilities(),
            mounts: table.filter(|table| !table.is_empty()),
        }
    }
}

/// Those of the kernel's own threads, where the agent sees them; else those of the first process that it does see.
fn namespaces() -> [Option<u64>; NAMESPACES.len()] {
    let name = std::fs::read_to_string(format!("/proc/{KERNEL}/comm"));
    let sees_kernel = name.is_ok_and(|name| name.trim() == "kthreadd");
    NAMESPACES.map(|(_, name)| {
        let of_kernel = if sees_kernel { namespace(KERNEL, name) } else { None };
        of_kernel.or_else(|| namespace(INIT, name))
    })
}

/// Those the first process may have; where that cannot be read, all that the kernel knows.
fn capabilities() -> u64 {
    let of_init = || procfs::process::Process::new(1).ok()?.status().ok()?.capbnd;
    let last = || std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").ok()?.trim().parse::<u32>().ok();
    let known = || last().filter(|last| *last < 63).map(|last| (1 << (last + 1)) - 1);
    of_init().or_else(known).unwrap_or(0)
}

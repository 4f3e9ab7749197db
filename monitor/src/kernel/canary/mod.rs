//! The canary: a tiny process that does one of everything the probes watch, so that a rung counts only when it was seen to fire.
//!
//! Loading and attaching prove nothing: BPF LSM programs load and attach where `bpf` is not an active LSM, and never run (seen on
//! 5.10 and 6.12). The canary runs in a cgroup of its own below the cgroup2 root, which carries a label; where no cgroup can be
//! made (read-only mount), its process is labelled instead. Everything it connects to is a listener of the agent on loopback.
//!
//! `child` is what the process does between fork and exec, `image` what it executes, `seen` what came back. `kept` is the canary of
//! a running agent, `helper` its process.

mod child;
pub(crate) mod helper;
mod image;
mod kept;
mod seen;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use monitor_common::map::{Label, ProcState, label_state, proc_flags};

use super::error::KernelError;
use super::filter::KernelFilter;
use super::maps::Maps;
pub(crate) use kept::Kept;
pub use kept::{Act, MARKER as KEPT_MARKER};
pub(crate) use seen::{Facts, Seen};

/// File that the canary opens: always there, and read back for the self-check.
const MARKER: &str = "stat";

/// Name of the canary's cgroup, before the process id of its agent.
const PREFIX: &str = "sandwatch-canary-";

/// Everything the canary needs, made once; dropping it removes the cgroup.
pub(crate) struct Canary {
    label: u32,
    home: Home,
    image: Option<OwnedFd>,
    unix_name: Vec<u8>,
    tcp: Vec<TcpListener>,
    udp: Vec<UdpSocket>,
    _unix: Option<UnixListener>,
}

/// Where the canary lives.
#[derive(Debug)]
enum Home {
    /// A cgroup of its own.
    Own { path: PathBuf, procs: File, id: u64 },
    /// The agent's cgroup; the process itself is labelled.
    Shared { id: u64, why: String },
}

impl Canary {
    /// Makes the cgroup and the listeners.
    pub(crate) fn prepare(cgroup_root: &Path, label: u32) -> Result<Self, KernelError> {
        let loopback = ["127.0.0.1:0", "[::1]:0"];
        let unix_name = format!("sandwatch-canary-{}-{label}", std::process::id()).into_bytes();
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&unix_name);
        Ok(Self {
            label,
            home: Home::find(cgroup_root)?,
            image: image::make().ok(),
            tcp: loopback.iter().filter_map(|at| TcpListener::bind(at).ok()).collect(),
            udp: loopback.iter().filter_map(|at| UdpSocket::bind(at).ok()).collect(),
            _unix: address.and_then(|address| UnixListener::bind_addr(&address)).ok(),
            unix_name,
        })
    }

    /// Why it has no cgroup of its own; `None` if it has.
    pub(crate) fn warning(&self) -> Option<String> {
        match &self.home {
            Home::Own { .. } => None,
            Home::Shared { why, .. } => Some(format!(
                "no cgroup can be made below the cgroup2 mount ({why}): rungs are tried with a labelled process instead"
            )),
        }
    }

    /// The filter under which the canary's open is of interest.
    pub(crate) fn filter() -> KernelFilter {
        KernelFilter {
            names: vec![(MARKER.as_bytes().to_vec(), monitor_common::filter::access::ANY)],
            ..KernelFilter::default()
        }
    }

    /// Runs the canary once. Afterwards everything it did is in the rings.
    pub(crate) fn run(&self, maps: &mut Maps) -> Result<Facts, KernelError> {
        let (id, state) = match self.home {
            Home::Own { id, .. } => (id, label_state::WORKER),
            Home::Shared { id, .. } => (id, label_state::CHECK_PROCESS),
        };
        let before = maps.label_of(id)?;
        maps.label(id, Label { id: self.label, state })?;
        let result = self.run_labelled(maps);
        match before {
            Some(label) => maps.label(id, label)?,
            None => maps.unlabel(id)?,
        }
        result
    }

    fn run_labelled(&self, maps: &mut Maps) -> Result<Facts, KernelError> {
        let (go_out, go_in) = pipe()?;
        let (facts_out, facts_in) = pipe()?;
        let plan = child::Plan {
            cgroup_procs: match &self.home {
                Home::Own { procs, .. } => Some(procs.as_raw_fd()),
                Home::Shared { .. } => None,
            },
            go: go_out.as_raw_fd(),
            facts: facts_in.as_raw_fd(),
            image: self.image.as_ref().map_or(-1, AsRawFd::as_raw_fd),
            tcp: addresses(self.tcp.iter().map(TcpListener::local_addr)),
            udp: addresses(self.udp.iter().map(UdpSocket::local_addr)),
            unix: child::UnixAddress::new(&self.unix_name),
        };
        let pid =
            child::spawn(&plan).map_err(|source| KernelError::Os { action: "start the canary", source })?;
        drop((go_out, facts_in));
        if matches!(self.home, Home::Shared { .. }) {
            label_process(maps, self.label, pid)?;
        }
        // Dropping the pipe's end would do, but a byte says that the label is there.
        write_byte(go_in.as_raw_fd());
        let mut text = Vec::new();
        File::from(facts_out)
            .take(8192)
            .read_to_end(&mut text)
            .map_err(|source| KernelError::Os { action: "read what the canary says", source })?;
        wait(pid);
        let image = self.image.as_ref().and_then(image_identity);
        let ipv6 = self.tcp.iter().filter_map(|at| at.local_addr().ok()).any(|at| at.is_ipv6());
        Ok(Facts::parse(&text, ipv6, image))
    }
}

fn label_process(maps: &mut Maps, label: u32, pid: u32) -> Result<(), KernelError> {
    let start = start_of(pid).unwrap_or(0);
    let state = ProcState { start, exec_id: start, label, flags: proc_flags::SCANNED, ..ProcState::ZERO };
    maps.put_process(pid, &state).map(drop)
}

impl Home {
    fn find(root: &Path) -> Result<Self, KernelError> {
        remove_leftovers(root);
        let path = root.join(format!("{PREFIX}{}", std::process::id()));
        let made = fs::create_dir(&path).or_else(|error| match error.kind() {
            // Left by an agent that was killed and had our process id.
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        });
        let open = || OpenOptions::new().write(true).open(path.join("cgroup.procs"));
        match made.and_then(|()| Ok((open()?, fs::metadata(&path)?.ino()))) {
            Ok((procs, id)) => Ok(Self::Own { path, procs, id }),
            Err(error) => Ok(Self::Shared { id: own_cgroup(root)?, why: error.to_string() }),
        }
    }
}

/// Cgroups of agents that were killed: nobody is in them, and their process is no more.
fn remove_leftovers(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            // One that is not empty is somebody's after all.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Self::Own { path, .. } = self {
            // The last canary may still be on its way out of the cgroup after it was reaped.
            for _ in 0..50 {
                match fs::remove_dir(&*path) {
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                        std::thread::sleep(std::time::Duration::from_millis(1));
                    }
                    Err(error) if error.kind() != io::ErrorKind::NotFound => break,
                    _ => return,
                }
            }
            tracing::warn!(
                "the canary's cgroup {} could not be removed; the next agent does it",
                path.display()
            );
        }
    }
}

/// Id of the cgroup this process is in.
fn own_cgroup(root: &Path) -> Result<u64, KernelError> {
    let file = |source| KernelError::File { path: "/proc/self/cgroup".into(), source };
    let text = fs::read_to_string("/proc/self/cgroup").map_err(file)?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let path = home_of(std::process::id(), root, own).unwrap_or_else(|| root.join(own));
    fs::metadata(&path).map(|folder| folder.ino()).map_err(|source| KernelError::File { path, source })
}

/// The folder of a process's cgroup. In a cgroup namespace, as containers have one, its path is told from there and not from the
/// root of the hierarchy: then the folder is the one that lists the process.
fn home_of(pid: u32, root: &Path, told: &str) -> Option<PathBuf> {
    let pid = pid.to_string();
    let lists = |folder: &Path| {
        fs::read_to_string(folder.join("cgroup.procs")).is_ok_and(|text| text.lines().any(|line| line == pid))
    };
    let mut queue = vec![root.to_owned(), root.join(told)];
    while let Some(folder) = queue.pop() {
        if lists(&folder) {
            return Some(folder);
        }
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        queue.extend(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    None
}

/// Start of a process in boot-time ns, from /proc (10 ms ticks).
fn start_of(pid: u32) -> Option<u64> {
    seen::start_ticks(&fs::read(format!("/proc/{pid}/stat")).ok()?)
        .map(|ticks| ticks.saturating_mul(seen::TICK))
}

fn image_identity(image: &OwnedFd) -> Option<(u32, u64)> {
    let file = fs::metadata(format!("/proc/self/fd/{}", image.as_raw_fd())).ok()?;
    Some((kernel_dev(file.dev()), file.ino()))
}

/// `st_dev` in the kernel's own encoding.
fn kernel_dev(dev: u64) -> u32 {
    libc::major(dev) << 20 | libc::minor(dev)
}

fn addresses(bound: impl Iterator<Item = io::Result<SocketAddr>>) -> Vec<child::InetAddress> {
    bound.flatten().map(child::InetAddress::new).collect()
}

fn pipe() -> Result<(OwnedFd, OwnedFd), KernelError> {
    let mut ends: [RawFd; 2] = [-1; 2];
    // SAFETY: `ends` has room for two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(KernelError::Os { action: "make a pipe", source: io::Error::last_os_error() });
    }
    // SAFETY: both are open and nobody else's.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

fn write_byte(to: RawFd) {
    // SAFETY: one byte of a static; a reader that is gone is seen by `wait`.
    unsafe { libc::write(to, b"g".as_ptr().cast(), 1) };
}

fn wait(pid: u32) {
    let mut status = 0;
    loop {
        // SAFETY: `status` is ours. The child has an alarm, so this ends.
        let result = unsafe { libc::waitpid(pid as i32, &raw mut status, 0) };
        if result != -1 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchy() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (folder, processes) in
            [("", "1\n"), ("kubepods", ""), ("kubepods/pod1", ""), ("kubepods/pod1/c1", "41\n4711\n")]
        {
            fs::create_dir_all(root.path().join(folder)).unwrap();
            fs::write(root.path().join(folder).join("cgroup.procs"), processes).unwrap();
        }
        root
    }

    #[test]
    fn own_cgroup_is_the_one_that_is_told() {
        let root = hierarchy();
        let expected = root.path().join("kubepods/pod1/c1");
        assert_eq!(home_of(4711, root.path(), "kubepods/pod1/c1"), Some(expected));
    }

    #[test]
    fn own_cgroup_in_a_namespace_is_the_one_that_lists_the_process() {
        let root = hierarchy();
        let expected = root.path().join("kubepods/pod1/c1");
        assert_eq!(home_of(4711, root.path(), ""), Some(expected));
        assert_eq!(home_of(471, root.path(), ""), None);
    }
}

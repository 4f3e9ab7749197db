//! How a process is set up, as /proc shows it: namespaces, capabilities, mounts, names of variables.
//!
//! Asked seldom and never while an event is judged. What cannot be read is left out: not to know is not to be fine. The host
//! it is held against (`host`) is what the kernel's own threads and the first process have.

mod host;
mod mounts;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::Arc;

use monitor_common::record::ENV_VALUE_MAX;

use crate::profile::{Capabilities, Environment, Mounts, NamespaceName, Setup};

use host::Host;

/// Most of a table of mounts that is read, bytes.
const MOUNTINFO_MAX: u64 = 1 << 20;
/// Most mounts told of one process.
const MOUNTS_MAX: usize = 512;
/// Most of an environment that is looked through, bytes.
const ENVIRONMENT_MAX: u64 = 64 * 1024;
/// Most variables told.
const VARIABLES_MAX: usize = 64;
/// Longer names of variables are nobody's.
const NAME_MAX: usize = 128;
/// Most entries of `/dev` looked at.
const DEVICES_MAX: usize = 512;

/// Every kind of namespace, with its file below `/proc/PID/ns`.
const NAMESPACES: [(NamespaceName, &str); 6] = [
    (NamespaceName::Pid, "pid"),
    (NamespaceName::Net, "net"),
    (NamespaceName::Ipc, "ipc"),
    (NamespaceName::Uts, "uts"),
    (NamespaceName::User, "user"),
    (NamespaceName::Mnt, "mnt"),
];

/// What of an environment is of interest.
pub struct WantedVariables<'a> {
    /// Names that look like those of credentials; their values are not kept.
    pub credential: &'a dyn Fn(&str) -> bool,
    /// Names whose values are asked for.
    pub setting: &'a dyn Fn(&str) -> bool,
}

/// How a process is set up; `None` if there is no such process (any more).
pub(super) fn read(pid: u32, wanted: &WantedVariables<'_>) -> Option<Setup> {
    let process = procfs::process::Process::new(i32::try_from(pid).ok()?).ok()?;
    let status = process.status().ok();
    let host = Host::now();
    let mounts = mounts_of(pid, &host);
    let capabilities = status.as_ref().map(|status| Capabilities {
        held: status.capeff | status.capprm,
        bounding: status.capbnd.unwrap_or(u64::MAX) & host.capabilities,
        no_new_privileges: status.nonewprivs.is_some_and(|set| set != 0),
        host: host.capabilities,
    });
    Some(Setup {
        container: mounts.as_ref().and_then(in_container),
        shares: shares(pid, &host),
        uid: status.as_ref().map(|status| status.euid),
        capabilities,
        seccomp: status.as_ref().and_then(|status| status.seccomp).map(|mode| mode != 0),
        mounts,
        block_devices: block_devices(pid),
        environment: environment(pid, wanted),
    })
}

/// It is, if what it takes for the root is not the host's.
fn in_container(mounts: &Mounts) -> Option<bool> {
    if mounts.host_unknown {
        return None;
    }
    let root = mounts.all.iter().rev().find(|mount| &*mount.point == "/")?;
    Some(root.host.as_deref() != Some("/"))
}

fn shares(pid: u32, host: &Host) -> BTreeMap<NamespaceName, bool> {
    let all = NAMESPACES.into_iter().zip(&host.namespaces);
    all.filter_map(|((kind, name), of_host)| Some((kind, namespace(pid, name)? == (*of_host)?))).collect()
}

/// The number of a process's namespace.
fn namespace(pid: u32, name: &str) -> Option<u64> {
    std::fs::metadata(format!("/proc/{pid}/ns/{name}")).ok().map(|namespace| namespace.ino())
}

fn mounts_of(pid: u32, host: &Host) -> Option<Mounts> {
    let (text, cut) = mountinfo(pid).ok()?;
    let mut all = mounts::parse(&text);
    // A process that has just ended has none.
    all.first()?;
    let more = all.len() > MOUNTS_MAX;
    all.truncate(MOUNTS_MAX);
    let table = host.mounts.as_deref();
    Some(Mounts {
        all: all.iter().map(|mount| mount.told(table.unwrap_or_default())).collect(),
        cut: cut || more,
        host_unknown: table.is_none(),
    })
}

/// The table of mounts of a process, and whether there is more of it.
fn mountinfo(pid: u32) -> io::Result<(String, bool)> {
    let mut bytes = Vec::new();
    std::fs::File::open(format!("/proc/{pid}/mountinfo"))?.take(MOUNTINFO_MAX).read_to_end(&mut bytes)?;
    let cut = bytes.len() as u64 >= MOUNTINFO_MAX;
    Ok((String::from_utf8_lossy(&bytes).into_owned(), cut))
}

fn block_devices(pid: u32) -> Option<Vec<Arc<str>>> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/root/dev"));
    let entries = match entries {
        Ok(entries) => entries,
        // No `/dev` at all is none in it, as long as its root can be looked into.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return std::fs::metadata(format!("/proc/{pid}/root/.")).ok().map(|_| Vec::new());
        }
        Err(_) => return None,
    };
    let is_block = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_block_device());
    let blocks = entries.flatten().take(DEVICES_MAX).filter(is_block);
    let mut names: Vec<Arc<str>> =
        blocks.map(|entry| Arc::from(&*entry.file_name().to_string_lossy())).collect();
    names.sort_unstable();
    Some(names)
}

fn environment(pid: u32, wanted: &WantedVariables<'_>) -> Option<Environment> {
    let mut bytes = Vec::new();
    std::fs::File::open(format!("/proc/{pid}/environ"))
        .ok()?
        .take(ENVIRONMENT_MAX)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(environment_of(&bytes, wanted))
}

fn environment_of(bytes: &[u8], wanted: &WantedVariables<'_>) -> Environment {
    let mut found = Environment { cut: bytes.len() as u64 >= ENVIRONMENT_MAX, ..Environment::default() };
    let pairs =
        bytes.split(|byte| *byte == 0).filter_map(|pair| std::str::from_utf8(pair).ok()?.split_once('='));
    for (name, value) in pairs.filter(|(name, _)| name.len() <= NAME_MAX) {
        if found.credentials.len() + found.settings.len() >= VARIABLES_MAX {
            found.cut = true;
            break;
        }
        // The first of a name counts, as for getenv(3).
        if (wanted.setting)(name) {
            if value.len() <= ENV_VALUE_MAX && found.settings.iter().all(|(known, _)| &**known != name) {
                found.settings.push((name.into(), value.into()));
            }
        } else if !value.is_empty() && (wanted.credential)(name) {
            found.credentials.push(name.into());
        }
    }
    found.credentials.sort_unstable();
    found.credentials.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &str) -> bool {
        false
    }

    #[test]
    fn own_process_shares_its_namespaces_with_itself_and_has_mounts_and_capabilities() {
        // One that is not too long to be kept, whatever the machine has.
        let (short, _) = std::env::vars().find(|(_, value)| (1..64).contains(&value.len())).unwrap();
        let wanted = WantedVariables { credential: &nothing, setting: &|name| name == short };
        let own = read(std::process::id(), &wanted).unwrap();
        assert_eq!(own.shares.len(), NAMESPACES.len(), "{:?}", own.shares);
        let mounts = own.mounts.unwrap();
        assert!(mounts.all.iter().any(|mount| &*mount.point == "/"), "{mounts:?}");
        assert!(own.capabilities.is_some() && own.uid.is_some() && own.seccomp.is_some());
        assert!(own.environment.unwrap().settings.iter().any(|(name, _)| **name == *short));
        assert!(own.block_devices.is_some());
    }

    #[test]
    fn missing_process_is_none() {
        let wanted = WantedVariables { credential: &nothing, setting: &nothing };
        assert_eq!(read(u32::MAX, &wanted), None);
    }

    #[test]
    fn of_credentials_the_names_are_told_and_of_settings_the_first_value() {
        let wanted =
            WantedVariables { credential: &|name| name.ends_with("_TOKEN"), setting: &|name| name == "MODE" };
        let found =
            environment_of(b"A_TOKEN=x\0MODE=one\0EMPTY_TOKEN=\0MODE=two\0OTHER=y\0broken\0", &wanted);
        assert_eq!(found.credentials, [Arc::from("A_TOKEN")]);
        assert_eq!(found.settings, [("MODE".into(), "one".into())]);
        assert!(!found.cut && !format!("{found:?}").contains("\"x\""));
    }

    #[test]
    fn environment_that_is_too_long_is_said_to_be_cut() {
        let wanted = WantedVariables { credential: &nothing, setting: &nothing };
        assert!(environment_of(&vec![b'a'; ENVIRONMENT_MAX as usize], &wanted).cut);
    }
}

//! The capabilities: which are kept, and giving up all others in every set.

use caps::{CapSet, Capability, CapsHashSet};
use serde::Serialize;

/// What the agent needs as long as it runs, and what for.
const NEEDED: [(Capability, &str); 3] = [
    (Capability::CAP_BPF, "the probes' maps: labels, filters, counters"),
    (Capability::CAP_SYS_PTRACE, "/proc/PID/{exe,root,cwd,environ,ns} of other users' processes"),
    (Capability::CAP_DAC_READ_SEARCH, "files of workers, whoever owns them, to know them by inode"),
];

/// What becomes of the capabilities that the process has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    kept: Vec<Kept>,
    given_up: Vec<&'static str>,
}

/// A capability that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Name.
    pub name: &'static str,
    /// What the agent does with it.
    pub purpose: &'static str,
    #[serde(skip)]
    capability: Capability,
}

impl Plan {
    /// Of these effective capabilities (bits by number).
    pub fn of(held: u64) -> Self {
        let has = |capability: Capability| held & capability.bitmask() != 0;
        let mut kept: Vec<(Capability, &'static str)> = NEEDED.to_vec();
        // What stands in for one that is not there is kept in its place: the agent goes on as it began.
        if !has(Capability::CAP_BPF) {
            kept.push((Capability::CAP_SYS_ADMIN, "stands in for CAP_BPF, which it was not given"));
        }
        if !has(Capability::CAP_SYS_PTRACE) {
            // From Linux 6.14 (kernel/fork.c, `may_access_mm`).
            kept.push((Capability::CAP_PERFMON, "/proc/PID/environ, as CAP_SYS_PTRACE was not given"));
        }
        kept.retain(|(capability, _)| has(*capability));
        let is_kept = |capability: &Capability| kept.iter().any(|(kept, _)| kept == capability);
        let mut given_up: Vec<Capability> =
            caps::all().into_iter().filter(|capability| has(*capability) && !is_kept(capability)).collect();
        given_up.sort_by_key(Capability::index);
        Self {
            given_up: given_up.into_iter().map(name).collect(),
            kept: kept
                .into_iter()
                .map(|(capability, purpose)| Kept { name: name(capability), purpose, capability })
                .collect(),
        }
    }

    /// Names of those kept.
    pub fn kept(&self) -> Vec<&'static str> {
        self.kept.iter().map(|kept| kept.name).collect()
    }

    /// Those kept, each with its purpose.
    pub fn purposes(&self) -> &[Kept] {
        &self.kept
    }

    /// Names of those given up.
    pub fn given_up(&self) -> &[&'static str] {
        &self.given_up
    }
}

/// Effective capabilities of this thread, as bits.
pub(super) fn held() -> Result<u64, String> {
    let held = caps::read(None, CapSet::Effective).map_err(|error| error.to_string())?;
    Ok(held.iter().fold(0, |bits, capability| bits | capability.bitmask()))
}

/// Leaves this thread with what is kept, permitted and effective, and nothing to inherit or to get back by executing something.
pub(super) fn keep_only(plan: &Plan) -> Result<(), String> {
    let kept: CapsHashSet = plan.kept.iter().map(|kept| kept.capability).collect();
    let failed = |error: caps::errors::CapsError| error.to_string();
    // Without CAP_SETPCAP the bounding set stays as it was given. It bounds what executing a program can gain, which
    // no_new_privs rules out anyway.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).map_err(failed)? {
        for capability in caps::all().difference(&kept) {
            // One that this kernel does not know is not there to be dropped.
            if caps::has_cap(None, CapSet::Bounding, *capability).unwrap_or(false) {
                caps::drop(None, CapSet::Bounding, *capability).map_err(failed)?;
            }
        }
    }
    caps::clear(None, CapSet::Ambient).map_err(failed)?;
    caps::clear(None, CapSet::Inheritable).map_err(failed)?;
    caps::set(None, CapSet::Effective, &kept).map_err(failed)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(failed)
}

/// `CAP_BPF`.
fn name(capability: Capability) -> &'static str {
    NAMES.iter().find(|(known, _)| *known == capability).map_or("CAP_?", |(_, name)| name)
}

macro_rules! names {
    ($($name:ident)*) => { &[$((Capability::$name, stringify!($name))),*] };
}

const NAMES: &[(Capability, &str)] = names![
    CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID CAP_SETPCAP
    CAP_LINUX_IMMUTABLE CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_ADMIN CAP_NET_RAW CAP_IPC_LOCK CAP_IPC_OWNER
    CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_PACCT CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_NICE
    CAP_SYS_RESOURCE CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_MKNOD CAP_LEASE CAP_AUDIT_WRITE CAP_AUDIT_CONTROL CAP_SETFCAP
    CAP_MAC_OVERRIDE CAP_MAC_ADMIN CAP_SYSLOG CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_AUDIT_READ CAP_PERFMON CAP_BPF
    CAP_CHECKPOINT_RESTORE
];

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(capabilities: &[Capability]) -> u64 {
        capabilities.iter().fold(0, |bits, capability| bits | capability.bitmask())
    }

    #[test]
    fn plan_of_root_keeps_three() {
        let plan = Plan::of(u64::MAX);
        assert_eq!(plan.kept(), ["CAP_BPF", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
        assert_eq!(plan.given_up().len(), 41 - 3);
        assert!(plan.given_up().contains(&"CAP_NET_ADMIN") && plan.given_up().contains(&"CAP_PERFMON"));
        assert!(!plan.given_up().contains(&"CAP_?"));
    }

    #[test]
    fn plan_keeps_nothing_that_was_not_given() {
        assert_eq!(Plan::of(0).kept(), [] as [&str; 0]);
        let given = bits(&[Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_NET_ADMIN]);
        let plan = Plan::of(given);
        assert_eq!(plan.kept(), ["CAP_BPF", "CAP_PERFMON"], "environments without SYS_PTRACE");
        assert_eq!(plan.given_up(), ["CAP_NET_ADMIN"]);
    }

    #[test]
    fn plan_keeps_what_stands_in_for_bpf() {
        let plan = Plan::of(bits(&[Capability::CAP_SYS_ADMIN, Capability::CAP_SYS_PTRACE]));
        assert_eq!(plan.kept(), ["CAP_SYS_PTRACE", "CAP_SYS_ADMIN"]);
    }

    #[test]
    fn thread_keeps_the_kept_and_nothing_in_any_other_set() {
        // Capabilities are a thread's own: the other tests go on as before.
        let sets = std::thread::spawn(|| {
            let plan = Plan::of(held().unwrap());
            keep_only(&plan).unwrap();
            let read = |set| caps::read(None, set).unwrap();
            let kept: CapsHashSet = plan.kept.iter().map(|kept| kept.capability).collect();
            assert_eq!(read(CapSet::Effective), kept);
            assert_eq!(read(CapSet::Permitted), kept);
            assert!(read(CapSet::Inheritable).is_empty() && read(CapSet::Ambient).is_empty());
        });
        sets.join().unwrap();
    }
}

//! What every alert carries, whatever it reports: host, agent, clock.

use std::collections::BTreeMap;
use std::fs;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::alert::{ALERT_SCHEMA, AgentInfo, Alert, AlertKind, HealthInfo, HostInfo, Refs, Severity, State};
use crate::event::BootNs;

/// Turns boot-time nanoseconds into wall-clock time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WallClock {
    /// Wall-clock time of boot, ns since the epoch.
    pub boot: i128,
}

impl WallClock {
    /// The host's clock now; to be asked again now and then, as the wall clock is set and the boot clock is not.
    pub fn now() -> Self {
        Self { boot: clock(libc::CLOCK_REALTIME) - clock(libc::CLOCK_BOOTTIME) }
    }

    /// A time of the boot clock in seconds since the epoch; `None` if that is before it.
    pub fn seconds(&self, time: BootNs) -> Option<u64> {
        u64::try_from(self.boot.saturating_add(i128::from(time)) / 1_000_000_000).ok()
    }

    /// A time of the boot clock, RFC 3339 in UTC with nanoseconds.
    pub fn format(&self, time: BootNs) -> String {
        let wall = self.boot.saturating_add(i128::from(time));
        let wall = Timestamp::from_nanosecond(wall).unwrap_or(Timestamp::UNIX_EPOCH);
        format!("{wall:.9}")
    }
}

/// The boot clock now, ns.
pub fn boot_now() -> BootNs {
    BootNs::try_from(clock(libc::CLOCK_BOOTTIME)).unwrap_or(0)
}

fn clock(which: libc::clockid_t) -> i128 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the call to fill in.
    if unsafe { libc::clock_gettime(which, &mut time) } != 0 {
        return 0;
    }
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

/// The host, as far as it can be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostFacts {
    /// Host name; of a pod the name of its node.
    pub name: String,
    /// /etc/machine-id.
    pub machine_id: Option<String>,
    /// Id of this boot.
    pub boot_id: String,
    /// Kernel release.
    pub kernel: String,
    /// Whether a time service keeps its clock; `None` if that is not known.
    pub clock_synced: Option<bool>,
}

impl HostFacts {
    /// Reads them from this host.
    pub fn read() -> Self {
        let line = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        Self {
            // A pod has a host name of its own, which is its name. Whoever makes the pod says which node it is on.
            name: std::env::var("NODE_NAME")
                .ok()
                .filter(|name| !name.is_empty())
                .or_else(|| line("/proc/sys/kernel/hostname"))
                .unwrap_or_default(),
            machine_id: line("/etc/machine-id").filter(|id| !id.is_empty()),
            boot_id: line("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
            kernel: line("/proc/sys/kernel/osrelease").unwrap_or_default(),
            clock_synced: clock_synced(),
        }
    }

    /// Asks the host's clock again.
    pub fn ask_clock(&mut self) {
        self.clock_synced = clock_synced();
    }
}

/// Whether the kernel's clock is disciplined by a time service.
fn clock_synced() -> Option<bool> {
    // SAFETY: all-zero is a valid timex (modes 0: read only); the call fills it in.
    let state = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        libc::adjtimex(&mut timex)
    };
    match state {
        -1 => None,
        libc::TIME_ERROR => Some(false),
        _ => Some(true),
    }
}

/// What the configuration and the host put on every alert.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Host.
    pub host: HostFacts,
    /// `cluster` of the configuration.
    pub cluster: Option<String>,
    /// `environment` of the configuration.
    pub environment: Option<String>,
    /// `labels` of the configuration.
    pub labels: BTreeMap<String, String>,
    /// Digest of the rules in force.
    pub rules: String,
    /// Clock.
    pub clock: WallClock,
    /// Where cgroup2 is mounted: commands that alerts propose name it.
    pub cgroup_root: String,
}

impl Envelope {
    /// An alert with everything but its subject filled in.
    pub fn alert(&self, kind: AlertKind, severity: Severity, time: BootNs, title: String) -> Alert {
        Alert {
            schema: ALERT_SCHEMA.to_owned(),
            id: String::new(),
            time: self.clock.format(time),
            kind,
            state: State::Open,
            closed_by: None,
            tier: None,
            severity,
            test: false,
            title,
            incident: None,
            finding: None,
            gap: None,
            health: None,
            posture: None,
            heartbeat: None,
            worker: None,
            attribution: None,
            process: None,
            file: None,
            network: None,
            blast_radius: None,
            evidence: None,
            refs: Refs::new(),
            respond: Vec::new(),
            allow_with: None,
            host: HostInfo {
                name: self.host.name.clone(),
                cluster: self.cluster.clone(),
                machine_id: self.host.machine_id.clone(),
                boot_id: Some(self.host.boot_id.clone()).filter(|id| !id.is_empty()),
                kernel: self.host.kernel.clone(),
                clock_synced: self.host.clock_synced,
            },
            environment: self.environment.clone(),
            labels: self.labels.clone(),
            agent: AgentInfo { version: env!("CARGO_PKG_VERSION").to_owned(), rules: self.rules.clone() },
            delivery: None,
            truncated: Vec::new(),
        }
    }

    /// An alert on the agent's own condition.
    pub fn health(
        &self,
        severity: Severity,
        state: State,
        time: BootNs,
        condition: &str,
        title: String,
        detail: String,
    ) -> Alert {
        let mut alert = self.alert(AlertKind::Health, severity, time, title);
        alert.id = self.id("health", &format!("{condition}:{time}"));
        alert.state = state;
        alert.health = Some(HealthInfo { condition: condition.to_owned(), subject: None, detail });
        alert
    }

    /// A stable id for an alert of this boot: UUIDv5 of what it is about.
    pub fn id(&self, what: &str, number: &str) -> String {
        let name = format!("{}:{what}:{number}", self.host.boot_id);
        uuid::Uuid::new_v5(&NAMESPACE, name.as_bytes()).to_string()
    }
}

/// Namespace of all alert ids (UUIDv5 of the DNS namespace and `alert.sandwatch`).
pub(super) const NAMESPACE: uuid::Uuid = uuid::uuid!("5a0a4f0e-2c0d-5a53-9a52-3a0d4d6b6f11");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_is_shown_as_wall_time_with_nanoseconds() {
        let clock = WallClock { boot: 1_700_000_000_000_000_000 };
        assert_eq!(clock.format(1_000_000_001), "2023-11-14T22:13:21.000000001Z");
    }

    #[test]
    fn the_hosts_boot_clock_gives_the_time_of_now() {
        let text = WallClock::now().format(boot_now());
        let then: Timestamp = text.parse().unwrap();
        assert!(Timestamp::now().duration_since(then).as_secs_f64().abs() < 5.0, "{text}");
    }

    #[test]
    fn absurd_time_does_not_panic() {
        assert!(WallClock { boot: i128::MAX }.format(u64::MAX).ends_with('Z'));
    }
}

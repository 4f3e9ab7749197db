//! Signs of life, so that a receiver notices a node that has gone silent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shrink::{ALL_BUT_CORE, cut_text};
use super::{Alert, json};

/// The largest heartbeat, in bytes of its JSON line.
pub const MAX_HEARTBEAT: usize = 600;

/// Numbers above this are said as this: no node gets there, and it holds any heartbeat to its size.
const MOST_COUNTED: u64 = 999_999_999_999;

/// What a heartbeat says; the rest (host, clock, version, rules) stands where it stands in every alert.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatInfo {
    /// Seconds until the next one, give or take a fifth. After three times as long without one the node is mute.
    pub every: u64,
    /// Seconds since the agent started.
    pub uptime: u64,
    /// How much is watched, and a digest of the hooks and gaps: `LEVEL:DIGEST`. It changes when what is seen changes.
    pub coverage: Option<String>,
    /// What was missed or not delivered since the agent started.
    pub lost: LostCounts,
    /// Newest entry of the local log, `NUMBER:HASH` with the first 32 digits of its hash: what `sandwatch log verify --head` takes.
    pub log: Option<String>,
}

/// What was missed or not delivered since the agent started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LostCounts {
    /// Events that the kernel could not hand over.
    pub events: u64,
    /// Events beyond a worker's budget.
    pub throttled: u64,
    /// Alerts that a sink dropped.
    pub alerts: u64,
}

/// Shortens a heartbeat to [`MAX_HEARTBEAT`]: it comes from every node, all day. What the node's other alerts say as well goes in
/// any case, then what is least needed to tell that the node is alive; the names of the node and its cluster are cut last.
pub(crate) fn shorten(alert: &mut Alert) {
    alert.host.kernel.clear();
    alert.host.boot_id = None;
    alert.labels.clear();
    alert.environment = None;
    // `sha256:` and 16 digits.
    alert.agent.rules = alert.agent.rules.chars().take(23).collect();
    cut_text(&mut alert.agent.version, 24);
    if let Some(heartbeat) = &mut alert.heartbeat {
        let LostCounts { events, throttled, alerts } = &mut heartbeat.lost;
        for number in [&mut heartbeat.every, &mut heartbeat.uptime, events, throttled, alerts] {
            *number = (*number).min(MOST_COUNTED);
        }
    }
    if fits(alert) {
        return;
    }
    alert.host.machine_id = None;
    for step in STEPS {
        if fits(alert) {
            return;
        }
        step(alert);
        alert.truncated = vec![ALL_BUT_CORE.to_owned()];
    }
    for most in [192, 128, 96, 64, 48, 32, 16, 8] {
        for cut in [cut_cluster, cut_name] {
            if fits(alert) {
                return;
            }
            cut(alert, most);
        }
    }
}

const STEPS: [fn(&mut Alert); 2] = [
    |alert| alert.agent.rules.clear(),
    |alert| {
        if let Some(heartbeat) = &mut alert.heartbeat {
            heartbeat.coverage = None;
        }
    },
];

fn fits(alert: &Alert) -> bool {
    json::compact(alert).len() <= MAX_HEARTBEAT
}

fn cut_cluster(alert: &mut Alert, most: usize) {
    if let Some(cluster) = &mut alert.host.cluster {
        cut_text(cluster, most);
    }
}

fn cut_name(alert: &mut Alert, most: usize) {
    cut_text(&mut alert.host.name, most);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{SafeAlert, fixture};
    use super::*;

    fn shortened(name: &str, cluster: Option<&str>) -> (Alert, usize) {
        let mut alert = fixture::heartbeat();
        alert.host.name = name.into();
        alert.host.cluster = cluster.map(str::to_owned);
        alert.host.machine_id = Some("5f1c9b0e5f1c9b0e5f1c9b0e5f1c9b0e".into());
        alert.host.clock_synced = Some(false);
        alert.agent.rules = format!("sha256:{}", "0".repeat(64));
        alert.environment = Some("production".into());
        shorten(&mut alert);
        let length = json::line(&SafeAlert::new(alert.clone()), None).len();
        (alert, length)
    }

    #[test]
    fn heartbeat_of_a_usual_node_loses_only_what_its_other_alerts_say() {
        let (alert, length) = shortened("ip-10-0-123-45.eu-central-1.compute.internal", Some("prod-eu"));
        assert!(length <= MAX_HEARTBEAT, "{length} bytes");
        assert!(alert.host.machine_id.is_some() && alert.truncated.is_empty());
        assert_eq!(alert.agent.rules.len(), 23);
    }

    #[test]
    fn names_are_cut_last() {
        let (alert, length) = shortened(&"n".repeat(64), Some("prod-eu"));
        assert!(length <= MAX_HEARTBEAT && alert.host.machine_id.is_none(), "{length} bytes");
        assert!(alert.host.name.len() == 64 && alert.heartbeat.unwrap().coverage.is_some());
        let (alert, length) = shortened(&"n".repeat(64), Some(&"c".repeat(30)));
        assert!(length <= MAX_HEARTBEAT && alert.agent.rules.is_empty(), "{length} bytes");
        assert_eq!((alert.host.name.len(), alert.host.cluster.unwrap().len()), (64, 30));
        assert_eq!(alert.truncated, [ALL_BUT_CORE]);
        let (alert, length) = shortened(&"n".repeat(253), Some(&"c".repeat(200)));
        assert!(length <= MAX_HEARTBEAT && alert.host.name.ends_with('…'), "{length} bytes");
        assert!(alert.host.name.len() > 45, "{}", alert.host.name);
    }

    proptest! {
        #[test]
        fn heartbeat_is_never_larger_whatever_the_names_and_numbers(
            name in ".{0,300}",
            cluster in prop::option::of(any::<String>()),
            machine_id in prop::option::of("[0-9a-f]{32}"),
            numbers in any::<[u64; 5]>(),
            log in prop::option::of((any::<u64>(), "[0-9a-f]{32}")),
            version in any::<String>(),
        ) {
            let mut alert = fixture::heartbeat();
            (alert.host.name, alert.host.cluster, alert.host.machine_id) = (name, cluster, machine_id);
            (alert.agent.version, alert.host.clock_synced) = (version, Some(false));
            let [every, uptime, events, throttled, alerts] = numbers;
            alert.heartbeat = Some(HeartbeatInfo {
                every,
                uptime,
                coverage: Some("partial:1f0c9b7a5d3e2810".into()),
                lost: LostCounts { events, throttled, alerts },
                log: log.map(|(number, hash)| format!("{number}:{hash}")),
            });
            shorten(&mut alert);
            let line = json::line(&SafeAlert::new(alert), None);
            prop_assert!(line.len() <= MAX_HEARTBEAT, "{} bytes: {line}", line.len());
        }
    }
}

//! Heartbeats: a receiver that gets none knows that this node has gone silent.

use std::time::Duration;

use super::{Agent, SECOND};
use crate::alert::{AlertKind, HeartbeatInfo, LostCounts, Severity, shorten_heartbeat};
use crate::detect::boot_now;
use crate::event::BootNs;
use crate::kernel::Probes;

/// How long a heartbeat waits for the disk that its log's head is written to.
const PATIENCE: BootNs = 10 * SECOND;

/// When the next one is due, and what it will say.
pub(super) struct Pulse {
    every: Duration,
    coverage: String,
    started: BootNs,
    due: BootNs,
}

impl<P: Probes> Agent<P> {
    /// From now on a heartbeat goes out about this often, the first within a second. `coverage` says how much is watched.
    pub fn beat(&mut self, every: Duration, coverage: String) {
        let now = boot_now();
        self.pulse = Some(Pulse { every, coverage, started: now, due: now });
    }

    /// From now on a heartbeat goes out about this often.
    pub(super) fn beat_every(&mut self, every: Duration) {
        if let Some(pulse) = self.pulse.as_mut().filter(|pulse| pulse.every != every) {
            pulse.every = every;
            pulse.due = boot_now();
        }
    }

    /// The duties of a second.
    pub(super) fn beat_if_due(&mut self, now: BootNs) {
        let Some(due) = self.pulse.as_ref().map(|pulse| pulse.due) else { return };
        if now < due {
            return;
        }
        // The head that leaves the node is one that a power cut does not take back.
        if !self.settle_log() && now < due.saturating_add(PATIENCE) {
            return;
        }
        let log = self.log_head().map(|head| head.to_string());
        let lost = LostCounts {
            events: self.duties.lost,
            throttled: self.duties.throttled,
            alerts: self
                .sinks
                .stats()
                .iter()
                .map(|(_, sink)| sink.evicted + sink.unreadable + sink.refused + sink.rejected)
                .sum(),
        };
        let Some(pulse) = &mut self.pulse else { return };
        pulse.due = now.saturating_add(jittered(pulse.every, random()));
        let info = HeartbeatInfo {
            every: pulse.every.as_secs(),
            uptime: now.saturating_sub(pulse.started) / SECOND,
            coverage: Some(pulse.coverage.clone()),
            lost,
            log,
        };
        let envelope = &self.pipeline.detector.envelope;
        let mut alert = envelope.alert(AlertKind::Heartbeat, Severity::Info, now, "Alive".to_owned());
        alert.id = envelope.id("heartbeat", &now.to_string());
        alert.heartbeat = Some(info);
        shorten_heartbeat(&mut alert);
        self.sinks.heartbeat(alert);
    }
}

/// Four to six fifths of the time, so that the nodes of a fleet do not speak all at once.
fn jittered(every: Duration, random: u64) -> BootNs {
    let every = BootNs::try_from(every.as_nanos()).unwrap_or(BootNs::MAX);
    let fifth = every / 5;
    let spread = fifth.saturating_mul(2).max(1);
    every.saturating_sub(fifth).saturating_add(random % spread)
}

fn random() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_between_heartbeats_is_within_a_fifth() {
        let every = Duration::from_secs(300);
        let all: Vec<u64> = (0..1000).map(|_| jittered(every, random())).collect();
        assert!(all.iter().all(|ns| (240 * SECOND..=360 * SECOND).contains(ns)));
        assert!(all.iter().any(|ns| *ns < 270 * SECOND) && all.iter().any(|ns| *ns > 330 * SECOND));
        assert_eq!(jittered(Duration::ZERO, 7), 0);
    }
}

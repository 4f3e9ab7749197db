//! How urgent an alert is, as each receiver says it. The one place where a severity becomes a number.

use super::{Alert, AlertKind, Severity};

/// One severity in the scales of all receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// OCSF `severity_id`: 1 informational … 5 critical.
    pub ocsf: u8,
    /// OCSF `severity`, the name of that number.
    pub ocsf_name: &'static str,
    /// ECS `event.severity`, on the scale of Elastic's own detections (0, 21, 47, 73, 99).
    pub ecs: u8,
    /// CEF severity, 0–10.
    pub cef: u8,
    /// PagerDuty `severity`.
    pub pagerduty: &'static str,
    /// OTLP `severityNumber`.
    pub otlp: u8,
    /// OTLP `severityText`.
    pub otlp_name: &'static str,
    /// Syslog severity, 0–7.
    pub syslog: u8,
}

const INFO: Level = Level {
    ocsf: 1,
    ocsf_name: "Informational",
    ecs: 0,
    cef: 1,
    pagerduty: "info",
    otlp: 9,
    otlp_name: "INFO",
    syslog: 6,
};
const LOW: Level = Level { ocsf: 2, ocsf_name: "Low", ecs: 21, cef: 3, ..INFO };
const MEDIUM: Level = Level {
    ocsf: 3,
    ocsf_name: "Medium",
    ecs: 47,
    cef: 5,
    pagerduty: "warning",
    otlp: 13,
    otlp_name: "WARN",
    syslog: 4,
};
const HIGH: Level = Level {
    ocsf: 4,
    ocsf_name: "High",
    ecs: 73,
    cef: 8,
    pagerduty: "error",
    otlp: 17,
    otlp_name: "ERROR",
    syslog: 3,
};
const CRITICAL: Level = Level {
    ocsf: 5,
    ocsf_name: "Critical",
    ecs: 99,
    cef: 10,
    pagerduty: "critical",
    otlp: 21,
    otlp_name: "FATAL",
    syslog: 2,
};

impl Level {
    /// The level of an alert.
    ///
    /// Gaps, posture and health are warnings everywhere, and only OCSF and ECS tell how bad they are: they must not look like an
    /// attack to a pager. What is only for the record (a condition that is over, a heartbeat) is information.
    pub const fn of(alert: &Alert) -> Self {
        Self::of_kind(alert.kind, alert.severity)
    }

    /// The level of an alert of this kind and severity.
    pub const fn of_kind(kind: AlertKind, severity: Severity) -> Self {
        let own = Self::of_severity(severity);
        match (kind, severity) {
            (AlertKind::Incident | AlertKind::Heartbeat, _) | (_, Severity::Info) => own,
            (AlertKind::Gap | AlertKind::Posture | AlertKind::Health, _) => {
                Self { ocsf: own.ocsf, ocsf_name: own.ocsf_name, ecs: own.ecs, ..MEDIUM }
            }
        }
    }

    /// The level of an incident of this severity.
    pub const fn of_severity(severity: Severity) -> Self {
        match severity {
            Severity::Info => INFO,
            Severity::Low => LOW,
            Severity::Medium => MEDIUM,
            Severity::High => HIGH,
            Severity::Critical => CRITICAL,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::alert::Tier;

    fn numbers(level: Level) -> (u8, &'static str, u8, u8, u8) {
        (level.ocsf, level.pagerduty, level.cef, level.otlp, level.syslog)
    }

    #[test]
    fn each_tier_has_the_numbers_of_the_table() {
        let of = |tier| {
            let alert = Alert { tier: Some(tier), severity: Severity::of(tier), ..fixture::incident() };
            numbers(Level::of(&alert))
        };
        assert_eq!(of(Tier::Deviation), (2, "info", 3, 9, 6));
        assert_eq!(of(Tier::Boundary), (4, "error", 8, 17, 3));
        assert_eq!(of(Tier::Identity), (5, "critical", 10, 21, 2));
        assert_eq!(of(Tier::Objective), (5, "critical", 10, 21, 2));
    }

    #[test]
    fn conditions_are_warnings_whatever_ocsf_says_of_them() {
        for kind in [AlertKind::Gap, AlertKind::Posture, AlertKind::Health] {
            for (severity, ocsf) in [(Severity::Low, 2), (Severity::Medium, 3), (Severity::High, 4)] {
                let alert = Alert { kind, severity, ..fixture::gap() };
                assert_eq!(numbers(Level::of(&alert)), (ocsf, "warning", 5, 13, 4), "{kind:?}");
            }
        }
    }

    #[test]
    fn a_condition_that_is_over_warns_nobody() {
        let alert = Alert { severity: Severity::Info, ..fixture::gap() };
        assert_eq!(numbers(Level::of(&alert)), (1, "info", 1, 9, 6));
    }
}

//! What the spool stores.

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, AlertKind, SafeAlert, Tier};

/// How much a record matters: what is sent first and evicted last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Deviations.
    Low,
    /// Boundary incidents, posture, health.
    Normal,
    /// Incidents of tier identity and objective, and gaps.
    High,
}

impl Class {
    /// From the one that is sent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The class of an alert.
    pub const fn of(alert: &Alert) -> Self {
        match (alert.kind, alert.tier) {
            (AlertKind::Gap, _) | (AlertKind::Incident, Some(Tier::Identity | Tier::Objective)) => Self::High,
            (AlertKind::Incident, Some(Tier::Deviation)) => Self::Low,
            _ => Self::Normal,
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    pub const fn order(self) -> usize {
        match self {
            Self::High => 0,
            Self::Normal => 1,
            Self::Low => 2,
        }
    }

    /// Its name in file names and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

/// An alert on its way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// Its class.
    pub class: Class,
    /// When it was accepted, ns since the epoch.
    pub accepted: i64,
    /// The alert, without `delivery`: that is each sink's own.
    pub alert: SafeAlert,
}

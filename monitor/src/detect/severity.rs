//! How urgent a finding is: by its tier, and by who acted.
//!
//! The table is the same for every format ([`Severity::of`]). Only who acted lowers it: a person who entered the worker to
//! look after it is no page below `identity`. What is known of a worker's set-up may only raise it: who leaves a sandbox that
//! reaches the host has the host.

use super::scene::Scene;
use crate::alert::Severity;
use crate::profile::{Finding, RoleKind, Tier};

/// The severity of a finding in its scene.
pub(super) fn of(finding: &Finding, scene: &Scene<'_>) -> Severity {
    let visitor = matches!(scene.role_kind(), RoleKind::Operator | RoleKind::Probe);
    if visitor && finding.tier < Tier::Identity {
        return Severity::Low;
    }
    let reaches_host = scene.worker.is_some_and(|worker| worker.reaches_host);
    raised(Severity::of(finding.tier), reaches_host)
}

/// The severity of what left the sandbox of a worker, if that reaches the host.
pub(super) fn raised(severity: Severity, reaches_host: bool) -> Severity {
    if reaches_host && severity == Severity::of(Tier::Boundary) { Severity::Critical } else { severity }
}

//! The paths behind the names in an explanation.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use monitor_common::filter::access;

use super::{place, worth_saying};
use crate::profile::model::{Detection, Profile};
use crate::profile::ruleset::RuleSet;

impl RuleSet {
    /// Of the identities that the profile speaks of, and of the detections that look at its roles.
    pub(super) fn write_watched(&self, spec: &Profile, out: &mut String) -> std::fmt::Result {
        let roles = || spec.roles.iter().filter(|role| worth_saying(role));
        let used = roles().flat_map(|role| role.expect.identities.rules.iter().flat_map(|rule| &rule.ids));
        let named: BTreeSet<u16> = used.chain(roles().flat_map(|role| &role.holds)).copied().collect();
        if !named.is_empty() {
            writeln!(out, "\nWhere these identities are:")?;
        }
        for at in &named {
            let identity = self.inner.identities.get(*at);
            let places = match &*identity.places {
                [] => "in memory only".to_owned(),
                places => places.join(", "),
            };
            writeln!(out, "  {}: {places} ({})", identity.id, place(&identity.rule))?;
        }
        let others = self.inner.identities.all.len() - named.len();
        if others > 0 {
            writeln!(
                out,
                "  Every other identity of the catalogue ({others}) is watched and refused alike; `sandwatch rules check \
                 --keys` lists all paths."
            )?;
        }
        let all: BTreeSet<u16> =
            roles().flat_map(|role| role.detections.iter().flatten().map(|(at, _)| *at)).collect();
        let with_paths: Vec<&Detection> = all
            .iter()
            .map(|at| &self.inner.detections[usize::from(*at)])
            .filter(|detection| !detection.paths.is_empty())
            .collect();
        if !with_paths.is_empty() {
            writeln!(out, "\nPaths that detections watch:")?;
        }
        for detection in with_paths {
            let to = if detection.matches.access == Some(access::WRITE) { "writing " } else { "" };
            let paths = detection.paths.join(", ");
            writeln!(out, "  {}: {to}{paths} ({})", detection.id, place(&detection.rule))?;
        }
        Ok(())
    }
}

//! The attribution of an incident: of each field the most trusted value that its findings had, of equals the first.

use crate::alert::{Attributed, Attribution};

/// Most values listed that could not be told apart.
const CANDIDATES_MAX: usize = 8;

/// What was known before together with what a newer finding's process has.
pub(super) fn merged(before: Option<Attribution>, newer: Option<Attribution>) -> Option<Attribution> {
    let (Some(mut all), newer) = (before.clone(), newer.clone()) else { return newer };
    let Some(newer) = newer else { return before };
    for (field, value) in [
        (&mut all.workflow, newer.workflow),
        (&mut all.run, newer.run),
        (&mut all.step, newer.step),
        (&mut all.actor, newer.actor),
        (&mut all.tenant, newer.tenant),
    ] {
        let better =
            |value: &Attributed| field.as_ref().is_none_or(|known| rank(&value.trust) > rank(&known.trust));
        if let Some(value) = value.filter(better) {
            *field = Some(value);
        }
    }
    for candidate in newer.candidates {
        if all.candidates.len() < CANDIDATES_MAX && !all.candidates.contains(&candidate) {
            all.candidates.push(candidate);
        }
    }
    Some(all)
}

fn rank(trust: &str) -> u8 {
    match trust {
        "engine" => 4,
        "controller" => 3,
        "scan" => 2,
        "author" => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(value: &str, trust: &str) -> Option<Attribution> {
        let run = Attributed { value: value.into(), source: "env RUN".into(), trust: trust.into() };
        Some(Attribution { run: Some(run), ..Attribution::default() })
    }

    fn value(attribution: Option<Attribution>) -> String {
        attribution.unwrap().run.unwrap().value
    }

    #[test]
    fn more_trusted_value_wins_and_the_first_of_equals_stays() {
        assert_eq!(value(merged(run("1", "engine"), run("2", "author"))), "1");
        assert_eq!(value(merged(run("1", "author"), run("2", "engine"))), "2");
        assert_eq!(value(merged(run("1", "engine"), run("2", "engine"))), "1");
    }

    #[test]
    fn finding_without_attribution_takes_nothing_away() {
        assert_eq!(value(merged(run("1", "engine"), None)), "1");
        assert_eq!(value(merged(None, run("1", "scan"))), "1");
        assert_eq!(merged(None, None), None);
    }
}

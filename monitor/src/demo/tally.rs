//! The alerts of the play, held against what has to be seen.

use crate::alert::{Alert, AlertKind};

/// What the play has to bring about, each with a word for people.
const EXPECTED: [(&str, &str); 3] = [
    ("shell", "a shell started by the engine (shell-from-engine)"),
    ("secret", "the planted secret read (identity demo-service-account-token)"),
    ("connect", "a connection to the attacker's collector (demo-exfiltration)"),
];
const IDENTITY: &str = "demo-service-account-token";

/// The alerts so far.
#[derive(Default)]
pub(super) struct Tally {
    seen: [bool; 3],
    /// Incidents that came before the escape.
    pub(super) early: Vec<String>,
    /// Gaps: events that were missed.
    pub(super) gaps: Vec<String>,
    last: Option<Alert>,
}

impl Tally {
    /// Takes an alert; `escaped` once the engine was told to leave its sandbox.
    pub(super) fn add(&mut self, alert: Alert, escaped: bool) {
        match alert.kind {
            AlertKind::Gap => self.gaps.push(alert.title),
            AlertKind::Incident if !escaped => self.early.push(alert.title),
            AlertKind::Incident => {
                let ids = findings(&alert);
                self.seen[0] |= ids.iter().any(|id| id == "shell-from-engine");
                self.seen[1] |= alert
                    .blast_radius
                    .as_ref()
                    .is_some_and(|radius| radius.taken.iter().any(|t| t.identity == IDENTITY));
                self.seen[2] |= ids.iter().any(|id| id == "demo-exfiltration");
                self.last = Some(alert);
            }
            _ => {}
        }
    }

    /// Whether everything was seen.
    pub(super) fn complete(&self) -> bool {
        self.seen.iter().all(|seen| *seen)
    }

    /// The newest incident alert.
    pub(super) fn last(&self) -> Option<&Alert> {
        self.last.as_ref()
    }

    /// The end of the play.
    pub(super) fn verdict(&self) -> Verdict {
        let list = |wanted: bool| {
            EXPECTED
                .iter()
                .zip(self.seen)
                .filter(|(_, seen)| *seen == wanted)
                .map(|((_, text), _)| (*text).to_owned())
                .collect()
        };
        Verdict { seen: list(true), missing: list(false), early: self.early.clone(), gaps: self.gaps.clone() }
    }
}

fn findings(alert: &Alert) -> Vec<String> {
    let chain =
        alert.incident.iter().flat_map(|incident| incident.chain.iter().map(|link| link.finding.clone()));
    chain.chain(alert.finding.iter().map(|finding| finding.id.clone())).collect()
}

/// How the play ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What was seen of what has to be.
    pub seen: Vec<String>,
    /// What was not.
    pub missing: Vec<String>,
    /// Alerts on the normal step: there must be none.
    pub early: Vec<String>,
    /// Gaps the agent reported.
    pub gaps: Vec<String>,
}

impl Verdict {
    /// Whether all was as it should be.
    pub fn good(&self) -> bool {
        self.missing.is_empty() && self.early.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{BlastRadius, Taken, fixture};

    fn alert(finding: &str, taken: Option<&str>) -> Alert {
        let mut alert = fixture::incident();
        alert.incident.as_mut().unwrap().chain.clear();
        alert.finding.as_mut().unwrap().id = finding.into();
        let taken = taken.map(|identity| Taken { identity: identity.into(), ..Taken::default() });
        alert.blast_radius =
            Some(BlastRadius { taken: taken.into_iter().collect(), ..BlastRadius::default() });
        alert
    }

    #[test]
    fn all_three_signs_are_needed() {
        let mut tally = Tally::default();
        tally.add(alert("shell-from-engine", None), true);
        tally.add(alert("demo-exfiltration", None), true);
        assert!(!tally.complete());
        assert!(tally.verdict().missing[0].contains("planted secret"));
        tally.add(alert("unexpected-identity", Some(IDENTITY)), true);
        assert!(tally.complete() && tally.verdict().good());
    }

    #[test]
    fn an_alert_on_the_normal_step_spoils_it() {
        let mut tally = Tally::default();
        tally.add(alert("shell-from-engine", Some(IDENTITY)), false);
        assert!(!tally.complete() && !tally.verdict().good());
        assert_eq!(tally.verdict().early.len(), 1);
    }
}

//! Which alerts a sink takes.

use globset::{Glob, GlobMatcher};

use crate::alert::{Alert, AlertKind, Tier};
use crate::config::SinkConfig;

/// `min_tier`, `kinds`, `workers` and `labels` of a sink.
#[derive(Clone, Debug)]
pub struct Filter {
    min_tier: Tier,
    kinds: Vec<AlertKind>,
    workers: Vec<GlobMatcher>,
    labels: Vec<(String, GlobMatcher)>,
}

impl Filter {
    /// The filter of a sink's configuration.
    ///
    /// # Errors
    /// A pattern that means nothing.
    pub fn new(config: &SinkConfig) -> Result<Self, globset::Error> {
        let glob = |pattern: &String| Glob::new(pattern).map(|glob| glob.compile_matcher());
        Ok(Self {
            min_tier: config.min_tier,
            kinds: config.kinds.clone(),
            workers: config.workers.iter().map(glob).collect::<Result<_, _>>()?,
            labels: config
                .labels
                .iter()
                .map(|(name, pattern)| Ok((name.clone(), glob(pattern)?)))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Whether the sink takes this alert. Tiers belong to incidents: other kinds pass whatever `min_tier` says; an alert
    /// about no worker passes whatever `workers` says.
    pub fn takes(&self, alert: &Alert) -> bool {
        self.kinds.contains(&alert.kind)
            && alert.tier.is_none_or(|tier| tier >= self.min_tier)
            && (self.workers.is_empty()
                || alert
                    .worker
                    .as_ref()
                    .is_none_or(|worker| self.workers.iter().any(|glob| glob.is_match(&worker.name))))
            && self.labels.iter().all(|(name, glob)| has_label(alert, name, glob))
    }
}

fn has_label(alert: &Alert, name: &str, glob: &GlobMatcher) -> bool {
    let pod = alert.worker.as_ref().and_then(|worker| worker.pod.as_ref());
    let values = [alert.labels.get(name), pod.and_then(|pod| pod.labels.get(name))];
    values.into_iter().flatten().any(|value| glob.is_match(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::fixture;

    fn takes(config: SinkConfig, alert: &Alert) -> bool {
        Filter::new(&config).unwrap().takes(alert)
    }

    #[test]
    fn tier_belongs_to_incidents_and_kinds_to_all() {
        let only = SinkConfig { min_tier: Tier::Objective, ..SinkConfig::stdout() };
        assert!(!takes(only.clone(), &fixture::incident()));
        assert!(takes(only, &fixture::gap()));
        let only = SinkConfig { kinds: vec![AlertKind::Health], ..SinkConfig::stdout() };
        assert!(!takes(only.clone(), &fixture::incident()));
        assert!(!takes(only, &fixture::gap()));
    }

    #[test]
    fn workers_are_globs_and_an_alert_about_none_passes() {
        let only = |glob: &str| SinkConfig { workers: vec![glob.into()], ..SinkConfig::stdout() };
        assert!(takes(only("lab-*"), &fixture::incident()));
        assert!(!takes(only("prod-*"), &fixture::incident()));
        let mut health = fixture::gap();
        health.worker = None;
        assert!(takes(only("prod-*"), &health));
    }

    #[test]
    fn labels_are_those_of_the_alert_or_the_pod_and_all_must_match() {
        let only = |pairs: &[(&str, &str)]| SinkConfig {
            labels: pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
            ..SinkConfig::stdout()
        };
        let mut alert = fixture::incident();
        alert.labels = [("team".to_owned(), "platform".to_owned())].into();
        assert!(takes(only(&[("team", "plat*")]), &alert));
        assert!(!takes(only(&[("team", "plat*"), ("stage", "*")]), &alert));
        assert!(Filter::new(&only(&[("team", "[")])).is_err());
    }
}

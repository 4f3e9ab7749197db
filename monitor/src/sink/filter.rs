//! Which alerts a sink takes.

use crate::alert::{Alert, AlertKind, Tier};
use crate::config::SinkConfig;

/// `min_tier` and `kinds` of a sink.
#[derive(Clone, Debug)]
pub struct Filter {
    min_tier: Tier,
    kinds: Vec<AlertKind>,
}

impl Filter {
    /// The filter of a sink's configuration.
    pub fn new(config: &SinkConfig) -> Self {
        Self { min_tier: config.min_tier, kinds: config.kinds.clone() }
    }

    /// Whether the sink takes this alert. Tiers belong to incidents: other kinds pass whatever `min_tier` says.
    pub fn takes(&self, alert: &Alert) -> bool {
        self.kinds.contains(&alert.kind) && alert.tier.is_none_or(|tier| tier >= self.min_tier)
    }
}

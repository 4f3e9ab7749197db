//! The receivers of an on-call sink.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::alertmanager::Alertmanager;
use super::net::{Answer, NetError, Verdict};
use super::pagerduty::PagerDuty;
use super::slack::Slack;
use crate::config::{SinkConfig, SinkKind};
use crate::delivery::Secret;
use crate::oncall::Pager;

/// The receivers of a sink that people are told through; none for every other type.
///
/// # Errors
/// Its configuration or its secrets cannot be used.
pub fn pagers(config: &SinkConfig) -> Result<Vec<Box<dyn Pager>>, NetError> {
    Ok(match config.kind {
        SinkKind::Pagerduty => vec![Box::new(PagerDuty::open(config)?)],
        SinkKind::Slack => vec![Box::new(Slack::open(config)?)],
        SinkKind::Alertmanager => {
            let replicas = Alertmanager::open(config)?;
            replicas.into_iter().map(|replica| Box::new(replica) as Box<dyn Pager>).collect()
        }
        _ => Vec::new(),
    })
}

/// What only a person can mend is tried again after this long.
const MISCONFIGURED: Duration = Duration::from_secs(300);

/// The answer is about the configuration and not about what was sent.
pub(super) fn misconfigured(answer: &Answer, what: &str) -> Verdict {
    Verdict::Again { reason: answer.reason(what), after: answer.retry_after.or(Some(MISCONFIGURED)) }
}

/// Tells two secrets apart without giving away either.
pub(super) fn fingerprint(secret: &Secret) -> String {
    let hash = Sha256::new().chain_update("sandwatch receiver\n").chain_update(secret.expose()).finalize();
    hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    const PAGE: &str = include_str!("../../../docs/on-call.md");

    #[test]
    fn every_configuration_of_the_page_is_understood_and_every_type_has_one() {
        let blocks = PAGE.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        let sinks: Vec<SinkConfig> = blocks
            .filter(|block| block.starts_with("schema: sandwatch/config/"))
            .flat_map(|block| {
                let config = config::parse(Path::new("on-call.md"), block);
                config.unwrap_or_else(|error| panic!("{error}\n{block}")).sinks
            })
            .collect();
        for kind in [SinkKind::Pagerduty, SinkKind::Alertmanager, SinkKind::Slack, SinkKind::Webhook] {
            assert!(sinks.iter().any(|sink| sink.kind == kind), "{} has no example", kind.name());
        }
        for sink in sinks.iter().filter(|sink| sink.kind.is_on_call()) {
            assert!(sink.runbook_url.is_some(), "{} links to no runbook", sink.name);
        }
    }
}

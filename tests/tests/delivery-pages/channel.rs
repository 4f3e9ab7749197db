//! Slack: one message when something opens, one when it becomes worse, one when it is closed.

use integration::fakes::Channel;

use crate::agent::{Agent, eventually, incident, secret};

pub(crate) const PATH: &str = "/services/T0000/B0000/s3cretXXXXXXXXXXXXXXXXXX";

/// The keys of a sink to a channel.
pub(crate) fn sink(folder: &std::path::Path, channel: &Channel) -> String {
    sink_to(folder, &channel.address())
}

/// The same to the webhook of this address.
pub(crate) fn sink_to(folder: &std::path::Path, address: &str) -> String {
    let address = secret(folder, "slack.webhook", address);
    format!(
        "type: slack, key_file: {address}, runbook_url: \"https://runbooks.example\", retry: 50ms, timeout: 500ms"
    )
}

#[test]
fn incident_that_rises_is_told_worse_and_closed_and_never_too_fast() {
    let folder = tempfile::tempdir().unwrap();
    let channel = Channel::start(PATH).unwrap();
    let agent = Agent::start(folder.path(), &sink(folder.path(), &channel));
    agent.raise(incident("i", 1, "boundary", "open"));
    eventually("it is told", || channel.texts().len() == 1);
    agent.raise(incident("i", 2, "identity", "update"));
    eventually("it is told again", || channel.texts().len() == 2);
    agent.raise(incident("i", 3, "identity", "closed"));
    eventually("its end is told", || channel.texts().len() == 3);
    agent.end();
    assert_eq!(
        channel.texts(),
        [
            "HIGH · boundary: Engine started a shell (lab-n8n on node-1, test)",
            "CRITICAL · identity: Worse: Engine started a shell (lab-n8n on node-1, test)",
            "Closed: Engine started a shell (lab-n8n on node-1, test)",
        ]
    );
    assert_eq!(channel.hurried(), 0);
}

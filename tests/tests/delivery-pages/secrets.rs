//! No secret of an on-call sink in what the agent logs, counts or keeps, whatever goes wrong, and even if the receiver repeats
//! it.

use std::path::Path;

use integration::fakes::leaks::{Log, everything, parrot};

use crate::agent::{Agent, eventually, incident, secret};

const PAGERDUTY: &str = "s3cret0000000000000000000000pd00";
const SLACK: &str = "/services/T0/B0/s3cret-of-slack";
const WEBHOOK: &str = "whsec_czNjcmV0LW9mLXRoZS13ZWJob29rLXRoYXQtaXMtbG9uZw==";
const ALERTMANAGER: &str = "s3cret-of-alertmanager";

/// Parts of them that must appear nowhere.
const MARKS: [&str; 2] = ["s3cret", "czNjcmV0LW9mLX"];

fn sinks(folder: &Path, url: &str) -> Vec<String> {
    let slack = secret(folder, "slack", &format!("{url}{SLACK}"));
    let (pagerduty, webhook) = (secret(folder, "pagerduty", PAGERDUTY), secret(folder, "webhook", WEBHOOK));
    let alertmanager = secret(folder, "alertmanager", ALERTMANAGER);
    let pace = "retry: 50ms, timeout: 500ms";
    vec![
        format!("type: pagerduty, url: \"{url}\", key_file: {pagerduty}, {pace}"),
        format!("type: slack, key_file: {slack}, {pace}"),
        format!("type: alertmanager, url: \"{url}\", key_file: {alertmanager}, {pace}"),
        format!("type: webhook, url: \"{url}/?token=s3cret-query\", key_file: {webhook}, {pace}"),
    ]
}

#[test]
fn no_secret_is_logged_counted_or_kept() {
    let log = Log::of_process().unwrap();
    let mut said = String::new();
    let secrets = tempfile::tempdir().unwrap();
    for status in [302, 400, 401, 403, 404, 429, 500] {
        let server = parrot(status).unwrap();
        for keys in sinks(secrets.path(), &server.url()) {
            let state = tempfile::tempdir().unwrap();
            let agent = Agent::start(state.path(), &keys);
            let before = server.seen().len();
            agent.raise(incident("i", 1, "identity", "open"));
            eventually("it was sent", || server.seen().len() > before);
            agent.reopen();
            eventually("it was answered", || agent.stats().retried + agent.stats().rejected > 0);
            said.push_str(&format!("{:?}\n", agent.end()));
            let kept = everything(state.path()).unwrap();
            assert_eq!(kept.lines().find(|line| MARKS.iter().any(|mark| line.contains(mark))), None);
        }
    }
    let logged = log.text();
    assert!(logged.contains("the log works") && logged.contains("does not take pages"), "{logged}");
    for text in [&said, &logged] {
        let line = text.lines().find(|line| MARKS.iter().any(|mark| line.contains(mark)));
        assert_eq!(line, None);
    }
}

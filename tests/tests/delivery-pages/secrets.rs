//! No secret of an on-call sink in what the agent logs, counts or keeps, whatever goes wrong, and even if the receiver repeats
//! it.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use integration::fakes::{Reply, Server};

use crate::agent::{Agent, eventually, incident, secret};

const PAGERDUTY: &str = "s3cret0000000000000000000000pd00";
const SLACK: &str = "/services/T0/B0/s3cret-of-slack";
const WEBHOOK: &str = "whsec_czNjcmV0LW9mLXRoZS13ZWJob29rLXRoYXQtaXMtbG9uZw==";
const ALERTMANAGER: &str = "s3cret-of-alertmanager";

/// Parts of them that must appear nowhere.
const MARKS: [&str; 2] = ["s3cret", "czNjcmV0LW9mLX"];

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A receiver that repeats everything it was told.
fn parrot(status: u16) -> Server {
    Server::start(move |request| {
        let headers: Vec<String> =
            request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        Reply::text(status, &format!("{} {} {}", headers.join("; "), request.path, request.text()))
    })
    .unwrap()
}

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

fn kept(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            kept(&path, found);
        } else {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            found.extend(
                MARKS
                    .iter()
                    .filter(|mark| text.contains(**mark))
                    .map(|mark| format!("{}: {mark}", path.display())),
            );
        }
    }
}

#[test]
fn no_secret_is_logged_counted_or_kept() {
    let log = Log::default();
    let writer = log.clone();
    // For every thread of this process: those of delivery are not the test's own.
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    tracing::trace!("the log works");
    let mut said = String::new();
    let secrets = tempfile::tempdir().unwrap();
    for status in [302, 400, 401, 403, 404, 429, 500] {
        let server = parrot(status);
        for keys in sinks(secrets.path(), &server.url()) {
            let state = tempfile::tempdir().unwrap();
            let agent = Agent::start(state.path(), &keys);
            let before = server.seen().len();
            agent.raise(incident("i", 1, "identity", "open"));
            eventually("it was sent", || server.seen().len() > before);
            agent.reopen();
            eventually("it was answered", || agent.stats().retried + agent.stats().rejected > 0);
            said.push_str(&format!("{:?}\n", agent.end()));
            let mut found = Vec::new();
            kept(state.path(), &mut found);
            assert_eq!(found, [""; 0]);
        }
    }
    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(logged.contains("the log works") && logged.contains("does not take pages"), "{logged}");
    for text in [&said, &logged] {
        let line = text.lines().find(|line| MARKS.iter().any(|mark| line.contains(mark)));
        assert_eq!(line, None);
    }
}

//! The signed webhook: every alert in order, each verified by an implementation that is not ours.

use std::sync::{Arc, Mutex};

use integration::fakes::{Fault, Reply, Request, Server};
use serde_json::Value;

use crate::agent::{Agent, eventually, incident, secret};

pub(crate) const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD1vGxlfXvYTg=";

pub(crate) type Received = Arc<Mutex<Vec<(String, Value)>>>;

/// A receiver that verifies; what it takes are the id of the message and its body.
pub(crate) fn receiver() -> (Server, Received) {
    let received = Received::default();
    let inner = Arc::clone(&received);
    let server = Server::start(move |request| {
        let Ok(verifier) = standardwebhooks::Webhook::new(KEY) else { return Reply::text(500, "") };
        if verifier.verify(&request.body, &headers(request)).is_err() {
            return Reply::text(401, "the signature is wrong");
        }
        let id = request.header("webhook-id").unwrap_or_default().to_owned();
        inner.lock().unwrap().push((id, serde_json::from_slice(&request.body).unwrap()));
        Reply::text(204, "")
    })
    .unwrap();
    (server, received)
}

fn headers(request: &Request) -> http::HeaderMap {
    let mut headers = http::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let value = request.header(name).unwrap_or_default().parse().unwrap();
        headers.insert(name, value);
    }
    headers
}

/// The keys of a sink to it.
pub(crate) fn sink(folder: &std::path::Path, server: &Server) -> String {
    let key = secret(folder, "webhook.key", KEY);
    format!("type: webhook, url: \"{}/hook\", key_file: {key}, retry: 50ms, timeout: 500ms", server.url())
}

#[test]
fn every_alert_arrives_signed_in_order_and_with_its_id_whatever_goes_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let (server, received) = receiver();
    server.fail(Fault::Answer(Reply::text(500, "")));
    server.fail(Fault::Answer(Reply::text(429, "").with("retry-after", "1")));
    server.fail(Fault::CutAfter);
    let agent = Agent::start(folder.path(), &sink(folder.path(), &server));
    for revision in 1..=5 {
        agent.raise(incident("i", revision, "identity", "update"));
    }
    eventually("all arrived", || {
        received.lock().unwrap().iter().any(|(_, body)| body["data"]["incident"]["revision"] == 5)
    });
    let stats = agent.end();
    assert_eq!((stats.acknowledged, stats.rejected), (5, 0), "{stats:?}");
    let received = received.lock().unwrap().clone();
    let mut revisions: Vec<u64> = Vec::new();
    for (id, body) in &received {
        assert_eq!(body["type"], "sandwatch.incident");
        assert_eq!(*id, body["data"]["id"], "the id of the message is the alert's");
        revisions.push(body["data"]["incident"]["revision"].as_u64().unwrap());
    }
    let mut distinct = revisions.clone();
    distinct.dedup();
    assert_eq!(distinct, [1, 2, 3, 4, 5], "{revisions:?}");
    assert_eq!(
        revisions.len(),
        6,
        "the one whose answer was lost came twice, under the same id: {revisions:?}"
    );
}

#[test]
fn receiver_that_wants_nothing_more_is_left_alone_until_the_agent_reloads() {
    let folder = tempfile::tempdir().unwrap();
    let (server, received) = receiver();
    server.fail(Fault::Answer(Reply::text(410, "gone")));
    let agent = Agent::start(folder.path(), &sink(folder.path(), &server));
    agent.raise(incident("i", 1, "identity", "open"));
    eventually("it failed", || agent.stats().failing);
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(server.seen().len(), 1, "it is not asked again");
    agent.reopen();
    eventually("it arrived", || received.lock().unwrap().len() == 1);
    agent.end();
}

//! The signed webhook: every alert in order, each verified by an implementation that is not ours.

use std::net::SocketAddr;
use std::time::Duration;

use integration::fakes::hook::{self, Received};
use integration::fakes::program::free_address;
use integration::fakes::server::ANY;
use integration::fakes::{Fault, Reply, Server};

use crate::agent::{Agent, eventually, incident, secret};

pub(crate) const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD1vGxlfXvYTg=";

/// A receiver that verifies; what it takes are the id of the message and its body.
pub(crate) fn receiver() -> (Server, Received) {
    hook::start_at(ANY, KEY).unwrap()
}

/// The keys of a sink to it.
pub(crate) fn sink(folder: &std::path::Path, server: &Server) -> String {
    sink_to(folder, server.address())
}

fn sink_to(folder: &std::path::Path, address: SocketAddr) -> String {
    let key = secret(folder, "webhook.key", KEY);
    format!("type: webhook, url: \"http://{address}/hook\", key_file: {key}, retry: 50ms, timeout: 500ms")
}

/// An agent whose sink has sent revision 1: what is there before its thread counts as piled up, and may be overtaken.
fn running(folder: &std::path::Path, server: &Server, received: &Received) -> Agent {
    let agent = Agent::start(folder, &sink(folder, server));
    agent.raise(incident("i", 1, "identity", "update"));
    eventually("the first arrived", || revisions(received) == [1]);
    agent
}

/// The revisions that came, in order.
fn revisions(received: &Received) -> Vec<u64> {
    let received = received.lock().unwrap();
    received.iter().map(|(_, body)| body["data"]["incident"]["revision"].as_u64().unwrap()).collect()
}

#[test]
fn every_alert_arrives_signed_in_order_and_with_its_id_whatever_goes_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let (server, received) = receiver();
    let agent = running(folder.path(), &server, &received);
    server.fail(Fault::Answer(Reply::text(500, "")));
    server.fail(Fault::Answer(Reply::text(429, "").with("retry-after", "1")));
    server.fail(Fault::CutAfter);
    for revision in 2..=5 {
        agent.raise(incident("i", revision, "identity", "update"));
    }
    eventually("all arrived", || revisions(&received).contains(&5));
    let stats = agent.end();
    assert_eq!((stats.acknowledged, stats.rejected), (5, 0), "{stats:?}");
    for (id, body) in received.lock().unwrap().iter() {
        assert_eq!(body["type"], "sandwatch.incident");
        assert_eq!(*id, body["data"]["id"], "the id of the message is the alert's");
    }
    let revisions = revisions(&received);
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
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(server.seen().len(), 1, "it is not asked again");
    agent.reopen();
    eventually("it arrived", || received.lock().unwrap().len() == 1);
    agent.end();
}

#[test]
fn receiver_that_is_down_at_start_has_every_alert_once_it_is_up() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address().unwrap();
    let agent = Agent::start(folder.path(), &sink_to(folder.path(), address));
    for revision in 1..=5 {
        agent.raise(incident("i", revision, "identity", "update"));
    }
    eventually("it fails", || agent.stats().failing && agent.stats().queued == 5);
    let (_server, received) = hook::start_at(address, KEY).unwrap();
    agent.wait_taken_in();
    let stats = agent.end();
    assert_eq!((stats.acknowledged, stats.rejected, stats.waiting), (5, 0, 0), "{stats:?}");
    // While it failed, some were tried in turn.
    let mut revisions = revisions(&received);
    revisions.sort_unstable();
    assert_eq!(revisions, [1, 2, 3, 4, 5]);
}

#[test]
fn connection_that_is_cut_or_hangs_before_an_alert_was_taken_costs_neither_alert_nor_order() {
    let folder = tempfile::tempdir().unwrap();
    let (server, received) = receiver();
    let agent = running(folder.path(), &server, &received);
    let faults = [Fault::Cut, Fault::Hang(Duration::from_secs(30)), Fault::CloseQuietly];
    for (revision, fault) in (2..).zip(faults) {
        let before = agent.stats().retried;
        server.fail(fault.clone());
        agent.raise(incident("i", revision, "identity", "update"));
        eventually("it arrived", || revisions(&received).len() as u64 == revision);
        let again = !matches!(fault, Fault::CloseQuietly);
        eventually("and was tried again, if it had to be", || {
            agent.stats().retried == before + u64::from(again)
        });
    }
    agent.wait_taken_in();
    let stats = agent.end();
    assert_eq!((stats.acknowledged, stats.rejected, stats.waiting), (4, 0, 0), "{stats:?}");
    assert_eq!(revisions(&received), [1, 2, 3, 4]);
}

#[test]
fn alert_that_is_refused_is_a_dead_letter_and_those_behind_it_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let (server, received) = receiver();
    let agent = running(folder.path(), &server, &received);
    server.fail(Fault::Answer(Reply::text(400, "what is this")));
    for revision in 2..=4 {
        agent.raise(incident("i", revision, "identity", "update"));
    }
    agent.wait_taken_in();
    let stats = agent.end();
    assert_eq!((stats.acknowledged, stats.rejected, stats.waiting), (3, 1, 0), "{stats:?}");
    assert_eq!(revisions(&received), [1, 3, 4]);
    assert!(folder.path().join("dead/t.jsonl").exists(), "it is kept for `sandwatch alerts replay`");
}

#[test]
fn redirect_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let ((server, received), (elsewhere, _)) = (receiver(), receiver());
    for status in [302, 307] {
        server.fail(Fault::Answer(Reply::text(status, "").with("location", &elsewhere.url())));
    }
    let agent = Agent::start(folder.path(), &sink(folder.path(), &server));
    agent.raise(incident("i", 1, "identity", "open"));
    agent.wait_taken_in();
    assert_eq!((agent.end().retried, revisions(&received)), (2, vec![1]));
    assert_eq!(elsewhere.connections(), 0, "nothing, and no signature, went there");
}

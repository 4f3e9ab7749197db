//! PagerDuty: each incident is one alert, which wakes somebody once.

use integration::fakes::authority::{Valid, server};
use integration::fakes::{Authority, Service};

use crate::agent::{Agent, eventually, incident, secret};

pub(crate) const KEY: &str = "0123456789abcdef0123456789abcdef";

/// The keys of a sink to a service.
pub(crate) fn sink(folder: &std::path::Path, service: &Service) -> String {
    sink_to(folder, &service.server.url())
}

/// The same to whoever is there.
pub(crate) fn sink_to(folder: &std::path::Path, url: &str) -> String {
    let key = secret(folder, "pagerduty.key", KEY);
    format!(
        "type: pagerduty, url: \"{url}\", key_file: {key}, runbook_url: \"https://runbooks.example\", retry: 50ms, timeout: 500ms"
    )
}

#[test]
fn incident_that_rises_pages_once_and_is_resolved_when_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(KEY).unwrap();
    let agent = Agent::start(folder.path(), &sink(folder.path(), &service));
    agent.raise(incident("i", 1, "boundary", "open"));
    eventually("a ticket is open", || service.open() == ["i/ticket"]);
    assert_eq!(service.alerts()["i/ticket"].payload["severity"], "error");
    agent.raise(incident("i", 2, "identity", "update"));
    eventually("the page is open and the ticket is not", || service.open() == ["i/page"]);
    let page = service.alerts()["i/page"].clone();
    assert_eq!(page.payload["severity"], "critical");
    assert_eq!(page.payload["class"], "unexpected-identity");
    let details = page.payload["custom_details"].to_string();
    assert!(
        details.contains("k8s-service-account-token") && details.contains("freeze the worker"),
        "{details}"
    );
    agent.raise(incident("i", 3, "identity", "ended"));
    agent.raise(incident("j", 1, "boundary", "open"));
    eventually("what came later is open", || service.open() == ["i/page", "j/ticket"]);
    agent.raise(incident("i", 4, "identity", "closed"));
    eventually("the page is resolved", || service.open() == ["j/ticket"]);
    let stats = agent.end();
    assert_eq!((stats.acknowledged, stats.rejected, stats.waiting), (5, 0, 0), "{stats:?}");
    let log = service.log();
    let of_i: Vec<&str> = log.iter().filter(|line| line.contains(" i/")).map(|line| &**line).collect();
    assert_eq!(of_i, ["trigger i/ticket", "trigger i/page", "resolve i/ticket", "resolve i/page"]);
    assert!(service.alerts().values().all(|alert| alert.notified == 1));
}

#[test]
fn flood_of_one_kind_is_capped_and_named_in_a_summary() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(KEY).unwrap();
    let agent = Agent::start(folder.path(), &sink(folder.path(), &service));
    for number in 0..100 {
        agent.raise(incident(&format!("i{number:02}"), 1, "boundary", "open"));
    }
    let summaries = || {
        let alerts = service.alerts();
        let of = |part: &str| alerts.keys().filter(|key| key.contains(part)).count();
        (of("/ticket"), of("/more/"))
    };
    eventually("a summary came", || summaries().1 == 1);
    let (tickets, _) = summaries();
    assert!((20..30).contains(&tickets), "{tickets} of 100 are told one by one");
    let alerts = service.alerts();
    let summary = alerts
        .iter()
        .find(|(key, _)| key.contains("/more/"))
        .map(|(_, alert)| alert.payload.clone())
        .unwrap();
    let said = summary["summary"].as_str().unwrap();
    assert!(said.contains("more alerts on node-1"), "{said}");
    agent.end();
}

#[test]
fn wrong_integration_key_loses_no_page_and_the_right_one_sends_it() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(KEY).unwrap();
    let keys = sink(folder.path(), &service);
    secret(folder.path(), "pagerduty.key", &"f".repeat(32));
    let agent = Agent::start(folder.path(), &keys);
    agent.raise(incident("i", 1, "identity", "open"));
    eventually("it is refused", || !service.server.seen().is_empty() && agent.stats().failing);
    assert!(service.open().is_empty());
    secret(folder.path(), "pagerduty.key", KEY);
    agent.reopen();
    eventually("it is open", || service.open() == ["i/page"]);
    agent.end();
}

#[test]
fn pages_go_over_tls_too() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca").unwrap();
    let pair = authority.sign("pager", &["127.0.0.1"], Valid::Now).unwrap();
    let service = Service::start_tls(server(&pair, None).unwrap(), KEY).unwrap();
    let tls = format!("tls: {{ ca_file: {} }}", authority.file("ca").display());
    // The threads that send have small stacks.
    let agent = Agent::start(folder.path(), &format!("{}, {tls}", sink(folder.path(), &service)));
    agent.raise(incident("i", 1, "identity", "open"));
    eventually("the page is open", || service.open() == ["i/page"]);
    agent.end();
}

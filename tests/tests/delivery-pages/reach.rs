//! What stands between the agent and a receiver (names, certificates, proxies), for each kind of receiver that this program is
//! about: said by `sandwatch alert test` in words that help, and nothing is sent that nobody may have.

use std::path::Path;

use integration::fakes::authority::{Authority, Valid};
use integration::fakes::tunnel::Proxy;
use integration::fakes::{Place, Server, without_network};

use crate::agent::secret;
use crate::test_alert::run;
use crate::{channel, pagerduty, webhook};

const NAMES: [&str; 4] = ["pager", "chat", "am", "hook"];

/// The sinks of [`NAMES`], all to this place, with further keys.
fn sinks(folder: &Path, url: &str, keys: &str) -> String {
    let pager = secret(folder, "pagerduty.key", pagerduty::KEY);
    let hook = secret(folder, "webhook.key", webhook::KEY);
    let chat = secret(folder, "slack.webhook", &format!("{url}{}", channel::PATH));
    let more = format!("timeout: 5s{}{keys}", if keys.is_empty() { "" } else { ", " });
    [
        format!("type: pagerduty, url: \"{url}\", key_file: {pager}"),
        format!("type: slack, key_file: {chat}"),
        format!("type: alertmanager, url: \"{url}\""),
        format!("type: webhook, url: \"{url}/hook\", key_file: {hook}"),
    ]
    .iter()
    .zip(NAMES)
    .map(|(sink, name)| format!("- {{ name: {name}, {sink}, {more} }}\n"))
    .collect()
}

/// Each of them says these words of what is wrong, and none takes the test for delivered.
fn each_says(folder: &Path, sinks: &str, words: &[&str]) {
    let (code, said) = run(folder, sinks, &[]);
    assert_eq!(code, Some(1), "{said}");
    for name in NAMES {
        let line = said.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        for word in ["not accepted now: "].iter().chain(words) {
            assert!(line.contains(word), "{name} says no {word:?}: {said}");
        }
    }
}

#[test]
fn name_that_does_not_resolve_is_said_for_each_receiver() {
    let folder = tempfile::tempdir().unwrap();
    let sinks = sinks(folder.path(), "https://receiver.invalid", "");
    without_network(|| each_says(folder.path(), &sinks, &["the name does not resolve"])).unwrap();
}

/// The sinks to this receiver, with these keys of TLS.
fn secured(place: &Place, server: &Server, tls: &str) -> String {
    let url = format!("https://localhost:{}", server.address().port());
    sinks(place.path(), &url, &format!("tls: {{ {tls} }}"))
}

#[test]
fn certificate_that_is_not_to_be_trusted_is_said_for_each_receiver_which_gets_nothing() {
    let place = Place::new().unwrap();
    let trusted = place.keys(None);
    let expired =
        place.server(&place.pair("expired", &["localhost"], Valid::Expired).unwrap(), false).unwrap();
    each_says(place.path(), &secured(&place, &expired, &trusted), &["expired on 20", "renewed"]);
    let other_name =
        place.server(&place.pair("other", &["siem.example"], Valid::Now).unwrap(), false).unwrap();
    each_says(place.path(), &secured(&place, &other_name, &trusted), &["siem.example", "tls.server_name"]);
    let good = place.server(&place.pair("good", &["localhost"], Valid::Now).unwrap(), false).unwrap();
    Authority::new(place.path(), "stranger").unwrap();
    let stranger = format!("ca_file: {}", place.path().join("stranger.pem").display());
    each_says(place.path(), &secured(&place, &good, &stranger), &["not trusted", "tls.ca_file"]);
    for server in [&expired, &other_name, &good] {
        assert!(server.seen().is_empty(), "no request, and no key in it, goes to one that is not trusted");
    }
    // With the right authority each of them comes through.
    run(place.path(), &secured(&place, &good, &trusted), &[]);
    assert_eq!(paths(&good), ["/api/v2/alerts", "/hook", channel::PATH, "/v2/enqueue"]);
}

#[test]
fn client_certificate_that_is_missing_or_refused_is_said_for_each_receiver() {
    let place = Place::new().unwrap();
    let server = place.server(&place.pair("server", &["localhost"], Valid::Now).unwrap(), true).unwrap();
    each_says(
        place.path(),
        &secured(&place, &server, &place.keys(None)),
        &["asks for a client certificate", "tls.cert_file"],
    );
    let old = place.pair("old", &["agent.example"], Valid::Expired).unwrap();
    each_says(
        place.path(),
        &secured(&place, &server, &place.keys(Some(&old))),
        &["refuses our certificate", "CertificateExpired"],
    );
    assert!(server.seen().is_empty());
    let client = place.pair("client", &["agent.example"], Valid::Now).unwrap();
    run(place.path(), &secured(&place, &server, &place.keys(Some(&client))), &[]);
    assert_eq!(paths(&server), ["/api/v2/alerts", "/hook", channel::PATH, "/v2/enqueue"]);
}

#[test]
fn proxy_that_refuses_is_named_for_each_receiver_and_one_that_does_not_is_gone_through_with_tls() {
    let place = Place::new().unwrap();
    let server = place.server(&place.pair("server", &["localhost"], Valid::Now).unwrap(), false).unwrap();
    let url = format!("https://localhost:{}", server.address().port());
    let through = |proxy: &Proxy| {
        let keys = format!("proxy: \"{}\", tls: {{ {} }}", proxy.url(), place.keys(None));
        sinks(place.path(), &url, &keys)
    };
    let closed = Proxy::start(false).unwrap();
    each_says(place.path(), &through(&closed), &["the proxy does not let us through"]);
    assert!(server.seen().is_empty());
    let open = Proxy::start(true).unwrap();
    run(place.path(), &through(&open), &[]);
    assert_eq!(paths(&server), ["/api/v2/alerts", "/hook", channel::PATH, "/v2/enqueue"]);
    // The proxy is asked for the way by name, and sees nothing else: what is said is the receiver's, in TLS.
    let mut asked = open.asked();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked, [url.trim_start_matches("https://")]);
}

/// Where requests went, each once, in order of their names.
fn paths(server: &Server) -> Vec<String> {
    let mut paths: Vec<String> = server.seen().into_iter().map(|request| request.path).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

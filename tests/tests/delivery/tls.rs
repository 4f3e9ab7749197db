//! Certificates: of the receiver, and our own.

use std::path::Path;

use integration::fakes::authority::{Authority, Pair, Valid};
use integration::fakes::{Place, Reply, Server};

use crate::deliver::{deliver, ids, open, retry};
use crate::rig::token_file;

fn sink(server: &Server, host: &str, tls: &str) -> Box<dyn monitor::delivery::Transport> {
    let port = server.address().port();
    open(&format!("type: http, url: \"https://{host}:{port}/\", tls: {{ {tls} }}"))
}

/// The same fault as a sink of syslog sees it.
fn syslog(server: &Server, host: &str, tls: &str) -> Box<dyn monitor::delivery::Transport> {
    let port = server.address().port();
    open(&format!("type: syslog, address: \"tls://{host}:{port}\", tls: {{ {tls} }}"))
}

/// Every kind of sink that can speak TLS says these words, and the receiver gets nothing.
fn says(server: &Server, host: &str, tls: &str, words: &[&str]) {
    let url = format!("url: \"https://{host}:{}/\", tls: {{ {tls} }}", server.address().port());
    let sinks = [
        sink(server, host, tls),
        open(&format!("type: elasticsearch, {url}")),
        open(&format!("type: splunk, key_file: {}, {url}", token_file())),
        open(&format!("type: otlp, {url}")),
        syslog(server, host, tls),
    ];
    for mut sink in sinks {
        let (reason, _) = retry(&mut *sink);
        for word in words {
            assert!(reason.contains(word), "{}: {reason}", sink.target());
        }
    }
    assert!(server.seen().is_empty(), "no request, and no secret in it, goes to one that is not trusted");
}

#[test]
fn a_certificate_of_the_configured_authority_is_accepted() {
    let place = Place::new().unwrap();
    let server =
        place.server(&place.pair("server", &["localhost", "127.0.0.1"], Valid::Now).unwrap(), false).unwrap();
    for host in ["localhost", "127.0.0.1"] {
        let mut sink = sink(&server, host, &place.keys(None));
        assert_eq!(deliver(&mut *sink, 1..=3).accepted, ids(1..=3), "{host}");
    }
}

#[test]
fn an_expired_certificate_is_said_with_the_date() {
    let place = Place::new().unwrap();
    let server = place.server(&place.pair("server", &["localhost"], Valid::Expired).unwrap(), false).unwrap();
    says(&server, "localhost", &place.keys(None), &["expired on 20", "renewed"]);
}

#[test]
fn a_certificate_for_another_name_is_said_with_both_names_unless_that_name_is_configured() {
    let place = Place::new().unwrap();
    let server = place.server(&place.pair("server", &["siem.example"], Valid::Now).unwrap(), false).unwrap();
    let tls = place.keys(None);
    says(&server, "localhost", &tls, &["siem.example", "localhost", "tls.server_name"]);
    let mut right = sink(&server, "127.0.0.1", &format!("{tls}, server_name: siem.example"));
    assert_eq!(deliver(&mut *right, 1..=3).accepted, ids(1..=3));
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let place = Place::new().unwrap();
    let server = place.server(&place.pair("server", &["localhost"], Valid::Now).unwrap(), false).unwrap();
    Authority::new(place.path(), "other").unwrap();
    let other = place.path().join("other.pem");
    says(&server, "localhost", &format!("ca_file: {}", other.display()), &["not trusted", "tls.ca_file"]);
}

#[test]
fn a_receiver_without_tls_is_said() {
    let server = Server::start(|_| Reply::text(200, "")).unwrap();
    let place = Place::new().unwrap();
    let mut sink = sink(&server, "localhost", &place.keys(None));
    let (reason, _) = retry(&mut *sink);
    assert!(reason.contains("does not speak TLS") || reason.contains("cut"), "{reason}");
}

#[test]
fn a_client_certificate_is_shown_where_one_is_asked_for() {
    let place = Place::new().unwrap();
    let server = place.server(&place.pair("server", &["localhost"], Valid::Now).unwrap(), true).unwrap();
    let client = place.pair("client", &["agent.example"], Valid::Now).unwrap();
    let tls = |pair: &Pair| place.keys(Some(pair));
    let mut with = sink(&server, "localhost", &tls(&client));
    assert_eq!(deliver(&mut *with, 1..=3).accepted, ids(1..=3));
}

#[test]
fn a_client_certificate_that_is_missing_or_refused_is_said() {
    let place = Place::new().unwrap();
    let server = place.server(&place.pair("server", &["localhost"], Valid::Now).unwrap(), true).unwrap();
    says(&server, "localhost", &place.keys(None), &["asks for a client certificate"]);
    let old = place.pair("old", &["agent.example"], Valid::Expired).unwrap();
    says(&server, "localhost", &place.keys(Some(&old)), &["refuses our certificate", "CertificateExpired"]);
}

#[test]
fn certificates_are_read_again_on_reload_and_stay_if_the_new_ones_are_broken() {
    let place = Place::new().unwrap();
    let server = place.server(&place.pair("server", &["localhost"], Valid::Now).unwrap(), true).unwrap();
    let client = place.pair("client", &["agent.example"], Valid::Expired).unwrap();
    let tls = place.keys(Some(&client));
    for mut sink in [sink(&server, "localhost", &tls), syslog(&server, "localhost", &tls)] {
        place.pair("client", &["agent.example"], Valid::Expired).unwrap();
        sink.reopen().unwrap();
        retry(&mut *sink);
        place.pair("client", &["agent.example"], Valid::Now).unwrap();
        sink.reopen().unwrap();
        deliver(&mut *sink, 1..=3);
        std::fs::write(&client.key, "no key").unwrap();
        let error = sink.reopen().unwrap_err();
        assert!(error.contains(&client.key.display().to_string()), "{error}");
        assert_eq!(deliver(&mut *sink, 4..=6).accepted, ids(4..=6), "the old ones still work");
    }
}

#[test]
fn files_that_cannot_be_used_are_named_at_start() {
    let place = Place::new().unwrap();
    let pair = place.pair("client", &["agent.example"], Valid::Now).unwrap();
    let other = place.pair("other", &["agent.example"], Valid::Now).unwrap();
    let refused = |tls: &str| {
        let keys = format!("type: http, url: \"https://h.example/\", tls: {{ {tls} }}");
        monitor::sink::network(&crate::deliver::config(&keys)).err().unwrap().to_string()
    };
    let show = |path: &Path| path.display().to_string();
    let mismatch =
        refused(&format!("cert_file: {}, key_file: {}", show(&pair.certificate), show(&other.key)));
    assert!(mismatch.contains("the key is not the certificate's"), "{mismatch}");
    let half = refused(&format!("cert_file: {}", show(&pair.certificate)));
    assert!(half.contains("no `key_file`"), "{half}");
    let swapped = refused(&format!("cert_file: {}, key_file: {}", show(&pair.key), show(&pair.certificate)));
    assert!(swapped.contains("holds no certificate in PEM form"), "{swapped}");
    let missing = refused("ca_file: /nonexistent/ca.pem");
    assert!(missing.contains("/nonexistent/ca.pem: cannot be read"), "{missing}");
    let name = refused("server_name: \"a b\"");
    assert!(name.contains("server_name"), "{name}");
}

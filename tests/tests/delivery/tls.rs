//! Certificates: of the receiver, and our own.

use std::path::Path;
use std::sync::Arc;

use integration::fakes::authority::{self, Authority, Pair, Valid};
use integration::fakes::{Reply, Server};

use crate::deliver::{deliver, ids, open, retry};

struct Place {
    folder: tempfile::TempDir,
    authority: Authority,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path(), "ca").unwrap();
        Self { folder, authority }
    }

    fn ca(&self) -> String {
        self.authority.file("ca").display().to_string()
    }

    fn pair(&self, file: &str, names: &[&str], valid: Valid) -> Pair {
        self.authority.sign(file, names, valid).unwrap()
    }

    /// A receiver of this certificate; with `clients`, it wants one from us too.
    fn server(&self, pair: &Pair, clients: bool) -> Server {
        let ca = self.authority.file("ca");
        let tls = authority::server(pair, clients.then_some(ca.as_path())).unwrap();
        Server::start_tls(tls, |_| Reply::text(200, "")).unwrap()
    }
}

fn sink(server: &Server, host: &str, tls: &str) -> Box<dyn monitor::delivery::Transport> {
    let port = server.address().port();
    open(&format!("type: http, url: \"https://{host}:{port}/\", tls: {{ {tls} }}"))
}

/// The same fault as a sink of syslog sees it.
fn syslog(server: &Server, host: &str, tls: &str) -> Box<dyn monitor::delivery::Transport> {
    let port = server.address().port();
    open(&format!("type: syslog, address: \"tls://{host}:{port}\", tls: {{ {tls} }}"))
}

fn says(server: &Server, host: &str, tls: &str, words: &[&str]) {
    for mut sink in [sink(server, host, tls), syslog(server, host, tls)] {
        let (reason, _) = retry(&mut *sink);
        for word in words {
            assert!(reason.contains(word), "{}: {reason}", sink.target());
        }
    }
}

#[test]
fn a_certificate_of_the_configured_authority_is_accepted() {
    let place = Place::new();
    let server = place.server(&place.pair("server", &["localhost", "127.0.0.1"], Valid::Now), false);
    for host in ["localhost", "127.0.0.1"] {
        let mut sink = sink(&server, host, &format!("ca_file: {}", place.ca()));
        assert_eq!(deliver(&mut *sink, 1..=3).accepted, ids(1..=3), "{host}");
    }
}

#[test]
fn an_expired_certificate_is_said_with_the_date() {
    let place = Place::new();
    let server = place.server(&place.pair("server", &["localhost"], Valid::Expired), false);
    says(&server, "localhost", &format!("ca_file: {}", place.ca()), &["expired on 20", "renewed"]);
}

#[test]
fn a_certificate_for_another_name_is_said_with_both_names_unless_that_name_is_configured() {
    let place = Place::new();
    let server = place.server(&place.pair("server", &["siem.example"], Valid::Now), false);
    let tls = format!("ca_file: {}", place.ca());
    says(&server, "localhost", &tls, &["siem.example", "localhost", "tls.server_name"]);
    let mut right = sink(&server, "127.0.0.1", &format!("{tls}, server_name: siem.example"));
    assert_eq!(deliver(&mut *right, 1..=3).accepted, ids(1..=3));
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let place = Place::new();
    let server = place.server(&place.pair("server", &["localhost"], Valid::Now), false);
    Authority::new(place.folder.path(), "other").unwrap();
    let other = place.folder.path().join("other.pem");
    says(&server, "localhost", &format!("ca_file: {}", other.display()), &["not trusted", "tls.ca_file"]);
}

#[test]
fn a_receiver_without_tls_is_said() {
    let server = Server::start(|_| Reply::text(200, "")).unwrap();
    let place = Place::new();
    let mut sink = sink(&server, "localhost", &format!("ca_file: {}", place.ca()));
    let (reason, _) = retry(&mut *sink);
    assert!(reason.contains("does not speak TLS") || reason.contains("cut"), "{reason}");
}

#[test]
fn a_client_certificate_is_shown_where_one_is_asked_for() {
    let place = Place::new();
    let server = place.server(&place.pair("server", &["localhost"], Valid::Now), true);
    let client = place.pair("client", &["agent.example"], Valid::Now);
    let tls = |pair: &Pair| {
        format!(
            "ca_file: {}, cert_file: {}, key_file: {}",
            place.ca(),
            pair.certificate.display(),
            pair.key.display()
        )
    };
    let mut with = sink(&server, "localhost", &tls(&client));
    assert_eq!(deliver(&mut *with, 1..=3).accepted, ids(1..=3));
    let mut without = sink(&server, "localhost", &format!("ca_file: {}", place.ca()));
    let (reason, _) = retry(&mut *without);
    assert!(reason.contains("asks for a client certificate"), "{reason}");
    let old = place.pair("old", &["agent.example"], Valid::Expired);
    says(&server, "localhost", &tls(&old), &["refuses our certificate", "CertificateExpired"]);
}

#[test]
fn certificates_are_read_again_on_reload_and_stay_if_the_new_ones_are_broken() {
    let place = Place::new();
    let server = place.server(&place.pair("server", &["localhost"], Valid::Now), true);
    let client = place.pair("client", &["agent.example"], Valid::Expired);
    let tls = format!(
        "ca_file: {}, cert_file: {}, key_file: {}",
        place.ca(),
        client.certificate.display(),
        client.key.display()
    );
    for mut sink in [sink(&server, "localhost", &tls), syslog(&server, "localhost", &tls)] {
        place.pair("client", &["agent.example"], Valid::Expired);
        sink.reopen().unwrap();
        retry(&mut *sink);
        place.pair("client", &["agent.example"], Valid::Now);
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
    let place = Place::new();
    let pair = place.pair("client", &["agent.example"], Valid::Now);
    let other = place.pair("other", &["agent.example"], Valid::Now);
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
    drop(Arc::new(place));
}

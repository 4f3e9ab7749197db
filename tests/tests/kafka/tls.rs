//! Certificates, of the broker and our own: at a gate with rustls before Tansu, whose own TLS cannot be switched on
//! (its program refuses the two options it needs together).

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use integration::fakes::authority::{self, Authority, Pair, Valid};
use monitor::delivery::Transport;

use crate::broker::{Broker, TOPIC};
use crate::deliver::{deliver, ids, open, retry};
use crate::gate::Gate;
use crate::login::Users;

/// An authority, and where its files lie.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    authority: Authority,
}

/// A broker behind a gate with TLS.
pub(crate) struct Secured {
    pub(crate) gate: Gate,
    _broker: Broker,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path(), "ca").unwrap();
        Self { folder, authority }
    }

    pub(crate) fn ca(&self) -> String {
        self.authority.file("ca").display().to_string()
    }

    pub(crate) fn pair(&self, file: &str, names: &[&str], valid: Valid) -> Pair {
        self.authority.sign(file, names, valid).unwrap()
    }

    /// A broker of this certificate; with `clients`, it wants one from us too.
    pub(crate) fn broker(&self, pair: &Pair, clients: bool, users: Option<Users>) -> Secured {
        let ca = self.authority.file("ca");
        let tls = authority::server(pair, clients.then_some(ca.as_path())).unwrap();
        let gate = Gate::new(Some(tls), users);
        let broker = Broker::behind(&format!("localhost:{}", gate.port()));
        gate.open_to(broker.address);
        Secured { gate, _broker: broker }
    }
}

impl Secured {
    pub(crate) fn sink(&self, host: &str, keys: &str) -> Box<dyn Transport> {
        let port = self.gate.port();
        open(&format!(
            "type: kafka, brokers: [\"tls://{host}:{port}\"], topic: {TOPIC}, timeout: 10s, {keys}"
        ))
    }

    fn says(&self, host: &str, tls: &str, words: &[&str]) {
        let begin = Instant::now();
        let mut sink = self.sink(host, &format!("tls: {{ {tls} }}"));
        let (reason, _) = retry(&mut *sink);
        for word in words {
            assert!(reason.contains(word), "{reason}");
        }
        assert!(!reason.contains("server_name"), "there is none: {reason}");
        assert!(begin.elapsed() < Duration::from_secs(6), "{:?}: {reason}", begin.elapsed());
    }
}

fn with(place: &Place, pair: &Pair) -> String {
    format!(
        "ca_file: {}, cert_file: {}, key_file: {}",
        place.ca(),
        pair.certificate.display(),
        pair.key.display()
    )
}

#[test]
fn a_certificate_of_the_configured_authority_is_accepted() {
    let place = Place::new();
    let broker = place.broker(&place.pair("server", &["localhost", "127.0.0.1"], Valid::Now), false, None);
    for host in ["localhost", "127.0.0.1"] {
        let mut sink = broker.sink(host, &format!("tls: {{ ca_file: {} }}", place.ca()));
        let done = deliver(&mut *sink, 1..=300);
        assert_eq!(done.accepted, ids(1..=300), "{host} {:?}", done.retries);
        assert!(sink.target().starts_with(&format!("tls://{host}:")), "{}", sink.target());
    }
}

#[test]
fn an_expired_certificate_is_said_with_the_date() {
    let place = Place::new();
    let broker = place.broker(&place.pair("server", &["localhost"], Valid::Expired), false, None);
    broker.says(
        "localhost",
        &format!("ca_file: {}", place.ca()),
        &["localhost:", "expired on 20", "renewed"],
    );
}

#[test]
fn a_certificate_for_another_name_is_refused_and_said_with_both_names() {
    let place = Place::new();
    let broker = place.broker(&place.pair("server", &["kafka.example"], Valid::Now), false, None);
    let tls = format!("ca_file: {}", place.ca());
    broker.says("localhost", &tls, &["kafka.example", "localhost"]);
    broker.says("127.0.0.1", &tls, &["kafka.example", "127.0.0.1"]);
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let place = Place::new();
    let broker = place.broker(&place.pair("server", &["localhost"], Valid::Now), false, None);
    Authority::new(place.folder.path(), "other").unwrap();
    let other = place.folder.path().join("other.pem");
    broker.says("localhost", &format!("ca_file: {}", other.display()), &["not trusted", "tls.ca_file"]);
    // The system's authorities do not know it either.
    let (reason, _) = retry(&mut *broker.sink("localhost", ""));
    assert!(reason.contains("not trusted"), "{reason}");
}

#[test]
fn a_client_certificate_is_shown_where_one_is_asked_for() {
    let place = Place::new();
    let broker = place.broker(&place.pair("server", &["localhost"], Valid::Now), true, None);
    let client = place.pair("client", &["agent.example"], Valid::Now);
    let mut sink = broker.sink("localhost", &format!("tls: {{ {} }}", with(&place, &client)));
    let done = deliver(&mut *sink, 1..=3);
    assert_eq!(done.accepted, ids(1..=3), "{:?}", done.retries);
    broker.says(
        "localhost",
        &format!("ca_file: {}", place.ca()),
        &["asks for a client certificate", "tls.cert_file"],
    );
    let old = place.pair("old", &["agent.example"], Valid::Expired);
    broker.says("localhost", &with(&place, &old), &["refuses our certificate", "expired"]);
    let strange = place.folder.path().join("strange");
    std::fs::create_dir(&strange).unwrap();
    let stranger =
        Authority::new(&strange, "ca").unwrap().sign("client", &["agent.example"], Valid::Now).unwrap();
    broker.says("localhost", &with(&place, &stranger), &["refuses our certificate"]);
}

#[test]
fn certificates_are_read_again_on_reload_and_stay_if_the_new_ones_are_broken() {
    let place = Place::new();
    let broker = place.broker(&place.pair("server", &["localhost"], Valid::Now), true, None);
    let client = place.pair("client", &["agent.example"], Valid::Expired);
    let mut sink = broker.sink("localhost", &format!("tls: {{ {} }}", with(&place, &client)));
    retry(&mut *sink);
    place.pair("client", &["agent.example"], Valid::Now);
    sink.reopen().unwrap();
    assert_eq!(deliver(&mut *sink, 1..=3).accepted, ids(1..=3));
    std::fs::write(&client.key, "no key").unwrap();
    let error = sink.reopen().unwrap_err();
    assert!(error.contains(&client.key.display().to_string()), "{error}");
    assert_eq!(deliver(&mut *sink, 4..=6).accepted, ids(4..=6), "the old ones still work");
}

#[test]
fn tls_on_one_side_only_is_said() {
    let place = Place::new();
    let secured = place.broker(&place.pair("server", &["localhost"], Valid::Now), false, None);
    let mut plain = open(&format!(
        "type: kafka, brokers: [\"localhost:{}\"], topic: {TOPIC}, timeout: 2s",
        secured.gate.port()
    ));
    let (reason, _) = retry(&mut *plain);
    assert!(reason.contains("if it wants TLS, write tls:// before its address"), "{reason}");
    let secure = |port: u16| {
        let brokers = format!("brokers: [\"tls://127.0.0.1:{port}\"]");
        retry(&mut *open(&format!("type: kafka, {brokers}, topic: {TOPIC}, timeout: 2s"))).0
    };
    // Tansu takes the beginning of TLS for that of something long.
    let reason = secure(Broker::start().address.port());
    assert!(reason.contains("does it speak TLS on this port?"), "{reason}");
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in other.incoming().flatten() {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let reason = secure(port);
    assert!(reason.contains("does not speak TLS on this port"), "{reason}");
}

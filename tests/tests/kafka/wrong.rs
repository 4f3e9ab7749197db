//! What cannot work as it is configured, and files that are not there yet.

use std::sync::Arc;

use integration::fakes::alerts;
use monitor::delivery::{Clock, Outcome, SystemClock};
use monitor::sink::{Place, Plug, network, plug};

use crate::deliver::config;

#[test]
fn what_cannot_work_is_refused_with_the_key_and_what_to_do_even_if_a_file_is_missing_too() {
    let tls = "brokers: [\"tls://h:1\"], topic: a";
    let plain = "brokers: [\"h:1\"], topic: a";
    for (keys, words) in [
        ("brokers: [h], topic: a".to_owned(), ["`brokers`", "tls://HOST:PORT"]),
        (
            "brokers: [\"h:1\", \"tls://h:2\"], topic: a".to_owned(),
            ["`brokers`", "all of them must, or none"],
        ),
        ("brokers: [\"h:1\"], topic: \"a b\"".to_owned(), ["`topic`", "not the name of a topic"]),
        (format!("{plain}, tls: {{ ca_file: /nonexistent }}"), ["`tls`", "begin with tls://"]),
        (format!("{tls}, tls: {{ server_name: h }}"), ["`tls.server_name`", "leave it out"]),
        (format!("{tls}, tls: {{ cert_file: /nonexistent }}"), ["`cert_file`", "needs both"]),
        (format!("{tls}, user: u, key_file: /nonexistent"), ["`sasl`", "scram-sha-512"]),
        (format!("{tls}, user: u, sasl: plain"), ["`user`", "`key_file` or `key_env`"]),
        (format!("{tls}, sasl: plain, key_file: /nonexistent"), ["`user`", "is missing"]),
        (format!("{tls}, key_env: NO_SUCH_VARIABLE"), ["`user`", "is missing"]),
        (format!("{plain}, user: u, sasl: plain, key_file: /nonexistent"), ["`sasl`", "write tls://"]),
    ] {
        let config = config(&format!("type: kafka, {keys}"));
        let error = network(&config).err().unwrap_or_else(|| panic!("{keys} is refused"));
        assert!(!error.may_pass(), "{keys}: {error}");
        for word in words {
            assert!(error.to_string().contains(word), "{keys}: {error}");
        }
    }
    for keys in [
        "brokers: [\"127.0.0.1:1\", \"localhost:2\", \"[::1]:3\"], topic: a, user: u, sasl: plain, key_env: PATH",
        "brokers: [\"h:1\"], topic: a, user: u, sasl: scram-sha-256, key_env: PATH",
    ] {
        network(&config(&format!("type: kafka, {keys}"))).unwrap();
    }
}

#[test]
fn a_long_timeout_is_none_that_librdkafka_refuses() {
    let mut sink =
        network(&config("type: kafka, brokers: [\"127.0.0.1:1\"], topic: a, timeout: 10m")).unwrap();
    let [Outcome::Retry { reason, .. }, ..] = &sink.send(&alerts::items(1..=1).unwrap())[..] else {
        panic!()
    };
    assert!(reason.contains("connection refused"), "{reason}");
}

#[test]
fn a_password_or_certificate_that_is_not_there_at_start_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (key, ca) = (dir.path().join("password"), dir.path().join("ca.pem"));
    let keys = format!(
        "type: kafka, brokers: [\"tls://h:1\"], topic: a, user: u, sasl: plain, key_file: {}, tls: {{ ca_file: {} }}",
        key.display(),
        ca.display()
    );
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let place = Place { state_dir: None, clock: &clock, goes_on: false };
    let Ok(Plug::Log(mut sink)) = plug(&config(&keys), &place) else { panic!("it waits") };
    let why = sink.prepare().unwrap_err();
    assert!(why.contains("ca.pem: cannot be read"), "{why}");
    integration::fakes::Authority::new(dir.path(), "ca").unwrap();
    let why = sink.prepare().unwrap_err();
    assert!(why.contains("password: the secret cannot be read"), "{why}");
    assert!(matches!(sink.send(&alerts::items(1..=1).unwrap())[..], [Outcome::Retry { .. }]));
    std::fs::write(&key, "s3cret\nof two lines").unwrap();
    let why = sink.prepare().unwrap_err();
    assert!(why.contains("one line") && !why.contains("s3cret"), "{why}");
    std::fs::write(&key, "s3cret\n").unwrap();
    sink.prepare().unwrap();
    assert_eq!(sink.target(), "tls://h:1 (a)");
}

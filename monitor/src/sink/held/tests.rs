use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::alert::{SafeAlert, fixture};
use crate::delivery::SystemClock;
use crate::profile::doc::OneOrMany;
use crate::sink::{Place, Plug, plug};

fn item(seq: u64) -> Item {
    Item { seq, alert: SafeAlert::new(fixture::gap()), text: format!("line {seq}").into_bytes() }
}

fn plugged(config: &SinkConfig) -> Result<Plug, SinkError> {
    let clock: Arc<dyn crate::delivery::Clock> = Arc::new(SystemClock::default());
    plug(config, &Place { state_dir: None, clock: &clock, goes_on: false })
}

fn of_kind(kind: SinkKind, dir: &Path) -> SinkConfig {
    SinkConfig {
        name: "a".to_owned(),
        kind,
        url: Some(OneOrMany(vec!["https://receiver.example/".to_owned()])),
        key_file: Some(dir.join("key")),
        ..SinkConfig::stdout()
    }
}

#[test]
fn file_whose_folder_is_not_there_waits_and_is_opened_once_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("later/alerts.jsonl");
    let Plug::Log(mut sink) = plugged(&SinkConfig::file(path.clone())).unwrap() else { panic!() };
    let why = sink.prepare().unwrap_err();
    assert!(why.contains("later/alerts.jsonl: cannot be opened"), "{why}");
    assert!(matches!(sink.send(&[item(1)])[..], [Outcome::Retry { .. }]));
    assert_eq!(sink.target(), path.display().to_string());
    std::fs::create_dir(dir.path().join("later")).unwrap();
    sink.prepare().unwrap();
    assert_eq!(sink.send(&[item(1)]), [Outcome::Accepted]);
    assert_eq!(std::fs::read_to_string(path).unwrap(), "line 1\n");
}

#[test]
fn sink_of_every_kind_waits_for_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let kinds =
        [SinkKind::Http, SinkKind::Elasticsearch, SinkKind::Splunk, SinkKind::Otlp, SinkKind::Webhook];
    for kind in kinds {
        let key = dir.path().join("key");
        let _ = std::fs::remove_file(&key);
        let Plug::Log(mut sink) = plugged(&of_kind(kind, dir.path())).unwrap() else { panic!() };
        let why = sink.prepare().unwrap_err();
        assert!(why.contains("key: the secret cannot be read"), "{}: {why}", kind.name());
        assert!(sink.target().contains("receiver.example"), "{}", sink.target());
        std::fs::write(&key, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        sink.prepare().unwrap();
    }
    for kind in [SinkKind::Pagerduty, SinkKind::Slack, SinkKind::Alertmanager] {
        let _ = std::fs::remove_file(dir.path().join("key"));
        assert!(matches!(plugged(&of_kind(kind, dir.path())), Ok(Plug::State(_))), "{}", kind.name());
    }
}

#[test]
fn certificate_that_is_not_there_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let tls = crate::config::TlsConfig {
        ca_file: Some(dir.path().join("ca.pem")),
        ..crate::config::TlsConfig::default()
    };
    let syslog = SinkConfig {
        kind: SinkKind::Syslog,
        address: Some("tls://h.example:6514".into()),
        ..SinkConfig::stdout()
    };
    for config in [
        SinkConfig { tls: tls.clone(), ..syslog },
        SinkConfig { tls, key_file: None, ..of_kind(SinkKind::Http, dir.path()) },
    ] {
        let Plug::Log(mut sink) = plugged(&config).unwrap() else { panic!() };
        let why = sink.prepare().unwrap_err();
        assert!(why.contains("ca.pem: cannot be read"), "{why}");
    }
}

#[test]
fn what_is_wrong_in_the_configuration_is_no_reason_to_wait_even_if_a_file_is_missing_too() {
    let dir = tempfile::tempdir().unwrap();
    let base = of_kind(SinkKind::Http, dir.path());
    let tls = crate::config::TlsConfig { ca_file: Some(dir.path().join("ca")), ..Default::default() };
    let half = crate::config::TlsConfig { cert_file: Some(dir.path().join("c")), ..tls.clone() };
    for (config, word) in [
        (SinkConfig { url: Some(OneOrMany(vec!["ftp://h/".into()])), ..base.clone() }, "http nor https"),
        (
            SinkConfig {
                headers: [("a b".to_owned(), "1".to_owned())].into(),
                tls: tls.clone(),
                ..base.clone()
            },
            "name of a header",
        ),
        (SinkConfig { proxy: Some("socks5://h:1".into()), tls, ..base.clone() }, "http://HOST:PORT"),
        (SinkConfig { tls: half, ..base.clone() }, "needs both"),
        (SinkConfig { kind: SinkKind::Elasticsearch, dataset: Some("A B".into()), ..base }, "dataset"),
    ] {
        let Err(error) = plugged(&config) else { panic!("{word}") };
        assert!(!error.may_pass() && error.to_string().contains(word), "{error}");
    }
}

/// Panics when it is sent to for the first time.
struct Faulty(Arc<AtomicUsize>);

impl Transport for Faulty {
    fn promise(&self) -> Promise {
        Promise::Acknowledged
    }

    fn limits(&self) -> Limits {
        Limits { items: 10, bytes: 1000, max_bytes: 1000 }
    }

    fn target(&self) -> String {
        "faulty".to_owned()
    }

    fn send(&mut self, batch: &[Item]) -> Vec<Outcome> {
        assert!(self.0.fetch_add(1, Ordering::Relaxed) != 1, "the second time goes wrong");
        vec![Outcome::Accepted; batch.len()]
    }
}

#[test]
fn transport_that_panics_is_made_anew_and_what_was_not_committed_is_not() {
    let (made, sent) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&made);
    let open: Open<dyn Transport> = Box::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Faulty(Arc::clone(&sent))))
    });
    let mut held = Held::new(&SinkConfig::stdout(), open).unwrap();
    assert_eq!(held.send(&[item(1)]), [Outcome::Accepted]);
    let [Outcome::Retry { reason, .. }] = &held.send(&[item(2)])[..] else { panic!() };
    assert!(reason.contains("a fault of the agent itself"), "{reason}");
    assert!(held.commit().is_err(), "the first may be gone with it");
    assert!(held.prepare().is_err(), "people are told");
    held.prepare().unwrap();
    assert_eq!(held.send(&[item(2)]), [Outcome::Accepted]);
    held.commit().unwrap();
    assert_eq!(made.load(Ordering::Relaxed), 2);
}

//! `sandwatch alert test` through the sinks that are logs: what arrives at each receiver is marked as a test, and opened and closed.

use std::net::UdpSocket;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use integration::fakes::bulk::DataStream;
use integration::fakes::hec::{Collector, Token};
use integration::fakes::otlp::Receiver;
use integration::fakes::{Reply, Server};
use serde_json::Value;

use crate::agent::secret;
use crate::test_alert::run;
use crate::webhook;

const TOKEN: &str = "0c5a1f3e-7e1e-4a6f-9a1c-s3cret-token";

/// Whether these are the two alerts of a test, as JSON or as ECS has them: marked as one.
fn is_the_test(alerts: &[Value]) {
    assert_eq!(alerts.len(), 2, "{alerts:?}");
    for alert in alerts {
        let text = alert.to_string();
        let marked = text.contains("\"test\":true") && text.contains("Test alert: nothing happened");
        assert!(marked, "{alert}");
    }
}

fn token() -> Token {
    Token { value: TOKEN.into(), ack: true, indexes: Vec::new(), enabled: true }
}

fn lines() -> (Server, Arc<Mutex<Vec<Value>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let inner = Arc::clone(&lines);
    let server = Server::start(move |request| {
        let parsed =
            request.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>();
        inner.lock().unwrap().extend(parsed);
        Reply::text(204, "")
    });
    (server.unwrap(), lines)
}

fn datagrams(socket: &UdpSocket) -> Vec<Value> {
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut buffer = vec![0; 1 << 16];
    (0..2)
        .map(|_| {
            let length = socket.recv(&mut buffer).unwrap();
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            serde_json::from_str(text.split_once('{').map(|(head, _)| &text[head.len()..]).unwrap()).unwrap()
        })
        .collect()
}

#[test]
fn every_log_gets_the_test_and_says_what_it_knows_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (http, received) = lines();
    let elastic = DataStream::start("logs-sandwatch.alert-default").unwrap();
    let (splunk, otlp) = (Collector::start(token()).unwrap(), Receiver::start().unwrap());
    let (hook, hooked) = webhook::receiver();
    let syslog = UdpSocket::bind("127.0.0.1:0").unwrap();
    let key = secret(folder.path(), "splunk.token", TOKEN);
    let sinks = [
        format!("name: plain, type: http, url: \"{}/in\"", http.url()),
        format!("name: elastic, type: elasticsearch, url: \"{}\"", elastic.server.url()),
        format!("name: splunk, type: splunk, url: \"{}\", key_file: {key}, ack: true", splunk.server.url()),
        format!("name: otlp, type: otlp, url: \"{}\"", otlp.server.url()),
        format!("name: hook, {}", webhook::sink(folder.path(), &hook)),
        format!("name: syslog, type: syslog, address: \"udp://{}\"", syslog.local_addr().unwrap()),
    ];
    let sinks: String = sinks.iter().map(|keys| format!("- {{ {keys} }}\n")).collect();
    let (code, said) = run(folder.path(), &sinks, &[]);
    assert_eq!(code, Some(0), "{said}");
    let line = |name: &str| said.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    for name in ["plain", "elastic", "splunk", "otlp", "hook"] {
        assert!(line(name).ends_with(": accepted"), "{name}: {said}");
    }
    assert!(line("syslog").contains("handed over; such a receiver does not answer"), "{said}");
    assert!(!said.contains("s3cret") && !said.contains(TOKEN), "{said}");
    is_the_test(&received.lock().unwrap());
    is_the_test(&elastic.documents().into_values().collect::<Vec<_>>());
    is_the_test(&splunk.indexed());
    is_the_test(&otlp.alerts().unwrap());
    is_the_test(&hooked.lock().unwrap().iter().map(|(_, body)| body.clone()).collect::<Vec<_>>());
    is_the_test(&datagrams(&syslog));
}

#[test]
fn what_each_log_says_against_it_is_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = secret(folder.path(), "wrong.token", "not-the-token");
    let splunk = Collector::start(token()).unwrap();
    let refusing = Server::start(|_| Reply::text(403, "no such tenant")).unwrap();
    let away = integration::fakes::program::free_address().unwrap();
    let sinks = [
        format!("name: splunk, type: splunk, url: \"{}\", key_file: {wrong}", splunk.server.url()),
        format!("name: plain, type: http, url: \"{}\"", refusing.url()),
        format!("name: elastic, type: elasticsearch, url: \"{}\"", refusing.url()),
        format!("name: otlp, type: otlp, url: \"{}\"", refusing.url()),
        format!("name: syslog, type: syslog, address: \"tcp://{away}\""),
    ];
    let sinks: String = sinks.iter().map(|keys| format!("- {{ {keys} }}\n")).collect();
    let (code, said) = run(folder.path(), &sinks, &[]);
    assert_eq!(code, Some(1), "{said}");
    let line = |name: &str| said.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    for name in ["splunk", "plain", "elastic", "otlp", "syslog"] {
        assert!(
            line(name).contains("not accepted now: ") || line(name).contains("refused: "),
            "{name}: {said}"
        );
    }
    for name in ["plain", "elastic", "otlp"] {
        assert!(line(name).contains("403") && line(name).contains("no such tenant"), "{name}: {said}");
    }
    assert!(line("syslog").contains("connection refused"), "{said}");
    assert!(splunk.indexed().is_empty());
}

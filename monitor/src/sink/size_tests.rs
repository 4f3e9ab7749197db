//! What is sent is no larger than the sink was told, whatever stands in the alert.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use proptest::prelude::*;

use super::open::network;
use crate::alert::{MIN_IN_ENVELOPE, SafeAlert, fixture, hostile_alert};
use crate::config::{Bytes, SinkConfig, SinkFormat};
use crate::delivery::Form;

/// A receiver that hands on each body as it came.
fn receiver() -> (String, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (bodies, received) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let (mut length, mut line) = (0, String::new());
            while reader.read_line(&mut line).unwrap() > 2 {
                let (name, value) = line.split_once(':').unwrap_or((&line, ""));
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
            // Before the answer, after which it is asked for.
            if bodies.send(body).is_err() {
                return;
            }
            reader.into_inner().write_all(answer).unwrap();
        }
    });
    (url, received)
}

/// Sends one alert as the agent does; what the receiver got.
fn sent(sink: &SinkConfig, received: &Receiver<Vec<u8>>, alert: &SafeAlert) -> Vec<u8> {
    let mut transport = network(sink).unwrap();
    let streams = vec![(0, "5a0a4f0e-2c0d-4a53-9a52-3a0d4d6b6f11".to_owned())];
    let item = Form::new(sink, streams, None).item(&*transport, alert, 42);
    transport.send(&[item]);
    received.try_recv().unwrap()
}

/// A sink of each type that puts a text into an envelope.
fn sinks(url: &str, folder: &Path) -> Vec<SinkConfig> {
    let key = folder.join("key");
    std::fs::write(&key, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let keys = ["webhook", "splunk, index: security", "elasticsearch, dataset: sandwatch.lab"];
    let keys = keys.map(|kind| format!("type: {kind}, url: \"{url}\", key_file: {}", key.display()));
    let one = |(number, keys)| format!("{{ name: s{number}, {keys} }}");
    let all: Vec<String> = keys.iter().enumerate().map(one).collect();
    let text = format!("schema: sandwatch/config/v1\nsinks: [{}]\n", all.join(", "));
    crate::config::parse(Path::new("t"), &text).unwrap_or_else(|error| panic!("{error}")).sinks
}

fn format() -> impl Strategy<Value = SinkFormat> {
    use SinkFormat::{Cef, Ecs, Human, Json, Ocsf};
    prop::sample::select(vec![Json, Ocsf, Ecs, Cef, Human])
}

proptest! {
    // A failure is printed whole; a seed for each would say no more.
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_body_is_larger_than_the_sink_was_told(
        alert in hostile_alert(),
        format in format(),
        most in prop_oneof![Just(MIN_IN_ENVELOPE), MIN_IN_ENVELOPE..24_000],
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (url, received) = receiver();
        let alert = SafeAlert::new(alert);
        for sink in sinks(&url, folder.path()) {
            let sink = SinkConfig { format, max_bytes: Some(Bytes(most as u64)), ..sink };
            let body = sent(&sink, &received, &alert);
            prop_assert!(body.len() <= most, "{} {format:?}: {} of {most}", sink.kind.name(), body.len());
            // Text for people ends where it has to.
            let told = format == SinkFormat::Human || String::from_utf8(body).unwrap().contains("8f3ac2d4e5f60718");
            prop_assert!(told, "{} {format:?}", sink.kind.name());
        }
    }
}

#[test]
fn no_more_of_an_alert_is_cut_for_its_envelope_than_has_to_be() {
    let mut alert = fixture::incident();
    alert.process.as_mut().unwrap().ancestors.clear();
    let links = vec![alert.incident.as_ref().unwrap().chain[0].clone(); 40];
    alert.incident.as_mut().unwrap().chain = links;
    let folder = tempfile::tempdir().unwrap();
    let (url, received) = receiver();
    for sink in sinks(&url, folder.path()) {
        let whole = SinkConfig { max_bytes: None, ..sink.clone() };
        let length = sent(&whole, &received, &SafeAlert::new(alert.clone())).len() as u64;
        let kept = |most: u64| {
            let sink = SinkConfig { max_bytes: Some(Bytes(most)), ..sink.clone() };
            String::from_utf8(sent(&sink, &received, &SafeAlert::new(alert.clone()))).unwrap()
        };
        assert!(!kept(length).contains("truncated\":[\""), "{}", sink.kind.name());
        assert!(kept(length - 1).contains("truncated\":[\"evidence\"]"), "{}", kept(length - 1));
    }
}

//! What receivers say about single alerts, and how long they take to say it.

use std::time::{Duration, Instant};

use integration::fakes::otlp::Receiver;
use integration::fakes::{Fault, Reply, Server, alerts};
use monitor::delivery::Outcome;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;

use crate::deliver::{deliver, ids, open, retry};
use crate::rig::{Kind, Rig, free_address};

#[test]
fn http_one_poisoned_alert_is_found_among_the_others() {
    let server = Server::start(|request| {
        if request.text().contains(&alerts::id(37)) {
            Reply::text(422, "not 37")
        } else {
            Reply::text(200, "")
        }
    })
    .unwrap();
    let mut sink = open(&format!("type: http, url: \"{}\"", server.url()));
    let done = deliver(&mut *sink, 1..=80);
    assert_eq!(done.rejected.len(), 1, "{:?}", done.rejected);
    assert_eq!(done.rejected[0].0, alerts::id(37));
    assert_eq!(done.accepted.len(), 79);
}

#[test]
fn http_a_receiver_that_reads_one_document_at_a_time_gets_them_so() {
    let server = Server::start(|request| {
        let json = request.header("content-type") == Some("application/json");
        if json && request.text().lines().count() == 1 {
            Reply::text(204, "")
        } else {
            Reply::text(415, "no")
        }
    })
    .unwrap();
    let mut sink = open(&format!("type: http, url: \"{}\"", server.url()));
    let done = deliver(&mut *sink, 1..=7);
    assert_eq!((done.accepted, done.rejected), (ids(1..=7), Vec::new()));
}

#[test]
fn http_the_next_address_is_taken_when_one_does_not_answer() {
    let rig = Kind::Http.start();
    let (down, up) = (free_address(), rig.server().address());
    let mut sink = open(&format!("type: http, url: [\"http://{down}\", \"http://{up}\"]"));
    let done = deliver(&mut *sink, 1..=5);
    assert_eq!((done.accepted, done.retries.len()), (ids(1..=5), 1));
    assert_eq!(rig.received(), ids(1..=5));
}

#[test]
fn elasticsearch_half_a_bulk_rejected_is_told_item_by_item() {
    let Rig::Elasticsearch(stream) = Kind::Elasticsearch.start() else { panic!() };
    let mut sink = Kind::Elasticsearch.sink(stream.server.address(), "");
    for item in [0, 2, 4] {
        stream.refuse(item, 400, "document_parsing_exception");
    }
    stream.refuse(5, 429, "es_rejected_execution_exception");
    let done = deliver(&mut *sink, 1..=8);
    let rejected: Vec<&str> = done.rejected.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(rejected, [alerts::id(1), alerts::id(3), alerts::id(5)]);
    assert_eq!(done.accepted.len(), 5, "what was busy for one went through at last");
    assert_eq!(stream.documents().len(), 5);
}

#[test]
fn elasticsearch_what_is_sent_twice_is_stored_once() {
    let Rig::Elasticsearch(stream) = Kind::Elasticsearch.start() else { panic!() };
    let mut sink = Kind::Elasticsearch.sink(stream.server.address(), "");
    stream.server.fail(Fault::CutAfter);
    assert_eq!(deliver(&mut *sink, 1..=10).accepted, ids(1..=10));
    assert_eq!((stream.documents().len(), stream.conflicts()), (10, 10));
}

#[test]
fn elasticsearch_a_login_page_with_status_200_is_no_success() {
    let Rig::Elasticsearch(stream) = Kind::Elasticsearch.start() else { panic!() };
    let mut sink = Kind::Elasticsearch.sink(stream.server.address(), "");
    stream.server.fail(Fault::Answer(Reply::text(200, "<html>please log in</html>")));
    stream.server.fail(Fault::Answer(Reply::text(200, "")));
    let done = deliver(&mut *sink, 1..=1);
    assert!(done.retries[0].contains("not that of a bulk request"), "{:?}", done.retries);
    assert_eq!(done.retries.len(), 2);
    assert_eq!(stream.documents().len(), 1);
}

#[test]
fn splunk_counts_what_the_indexers_have_and_not_what_was_read() {
    let Rig::Splunk(collector) = Kind::SplunkAck.start() else { panic!() };
    let address = collector.server.address();
    let mut sink = Kind::SplunkAck.sink(address, "ack: true, timeout: 500ms");
    // Two "no", then the indexers have it.
    collector.be_slow(2);
    assert_eq!(deliver(&mut *sink, 1..=5).accepted, ids(1..=5));
    assert_eq!(collector.indexed().len(), 5);
    // An indexer dies with what it was given: 200, but never acknowledged.
    collector.lose(true);
    let begin = Instant::now();
    let (reason, _) = retry(&mut *sink);
    assert!(reason.contains("did not acknowledge"), "{reason}");
    // With the timeout that a sink has by default it would be asked for a minute.
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    collector.lose(false);
    assert_eq!(deliver(&mut *sink, 6..=9).accepted, ids(6..=9));
    assert_eq!(Rig::Splunk(collector).received(), ids(1..=9));
}

#[test]
fn splunk_a_token_that_is_not_as_it_should_be_loses_nothing() {
    let Rig::Splunk(collector) = Kind::Splunk.start() else { panic!() };
    let address = collector.server.address();
    let mut sink = Kind::Splunk.sink(address, "index: security, ack: true");
    let mut says = |word: &str| {
        let (reason, _) = retry(&mut *sink);
        assert!(reason.contains(word), "{reason}");
    };
    says("indexer acknowledgement");
    collector.change(|token| token.enabled = false);
    says("disabled");
    collector.change(|token| (token.enabled, token.indexes) = (true, vec!["main".into()]));
    says("index");
    collector.change(|token| token.value = "another".into());
    says("does not accept the token");
    collector.change(|token| {
        token.value = crate::rig::TOKEN.into();
        token.indexes.clear();
        token.ack = true;
    });
    assert_eq!(deliver(&mut *sink, 1..=5).accepted, ids(1..=5));
    let events = collector.indexed();
    assert_eq!(events.len(), 5, "nothing was sent before the token was right");
    assert!(
        events.iter().all(|event| event["index"] == "security" && event["source"] == "sandwatch"),
        "{events:?}"
    );
}

#[test]
fn otlp_records_are_what_the_published_definitions_say() {
    let receiver = Receiver::start().unwrap();
    let mut sink = open(&format!("type: otlp, url: \"{}\"", receiver.server.url()));
    deliver(&mut *sink, 1..=2);
    let request = &receiver.requests()[0];
    let resource = request.resource_logs[0].resource.as_ref().unwrap();
    let text = |key: &str, of: &[opentelemetry_proto::tonic::common::v1::KeyValue]| {
        let found =
            of.iter().find(|attribute| attribute.key == key).unwrap_or_else(|| panic!("no {key}: {of:?}"));
        match found.value.as_ref().unwrap().value.as_ref().unwrap() {
            Any::StringValue(text) => text.clone(),
            Any::IntValue(number) => number.to_string(),
            other => format!("{other:?}"),
        }
    };
    assert_eq!(text("service.name", &resource.attributes), "sandwatch");
    assert_eq!(text("host.name", &resource.attributes), "node-1");
    let record = &receiver.records()[1];
    assert_eq!(record.time_unix_nano, 1_795_466_401_123_456_789);
    assert!(record.observed_time_unix_nano > record.time_unix_nano);
    assert_eq!((record.severity_number, record.severity_text.as_str()), (21, "FATAL"));
    assert_eq!(record.event_name, "sandwatch.alert");
    assert_eq!(text("sandwatch.incident.id", &record.attributes), "incident-2");
    assert_eq!(text("process.pid", &record.attributes), "4242");
    assert!(text("process.command_args", &record.attributes).contains("https://h.example"));
}

#[test]
fn otlp_a_partial_success_is_not_sent_again() {
    let receiver = Receiver::start().unwrap();
    let mut sink = open(&format!("type: otlp, url: \"{}\"", receiver.server.url()));
    receiver.refuse(2);
    let outcomes = sink.send(&alerts::items(1..=5).unwrap());
    assert_eq!(outcomes.len(), 5);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Rejected { .. })), "{outcomes:?}");
    assert_eq!(receiver.server.seen().len(), 1);
}

#[test]
fn elasticsearch_a_stream_that_we_may_not_write_to_loses_nothing() {
    let Rig::Elasticsearch(stream) = Kind::Elasticsearch.start() else { panic!() };
    let mut sink = Kind::Elasticsearch.sink(stream.server.address(), "");
    for status in [403, 404] {
        stream.server.fail(Fault::Answer(Reply::text(status, "security_exception")));
    }
    let done = deliver(&mut *sink, 1..=8);
    assert_eq!((done.accepted, done.rejected.len()), (ids(1..=8), 0));
}

#[test]
fn otlp_what_the_specification_calls_final_is_sent_once() {
    let receiver = Receiver::start().unwrap();
    let mut sink = open(&format!("type: otlp, url: \"{}\"", receiver.server.url()));
    receiver.server.fail(Fault::Answer(Reply::text(500, "")));
    let done = deliver(&mut *sink, 1..=3);
    assert_eq!((done.rejected.len(), receiver.server.seen().len()), (3, 1));
}

#[test]
fn syslog_a_datagram_that_is_too_large_is_rejected_and_holds_up_nobody() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut sink = open(&format!("type: syslog, address: \"udp://{}\"", socket.local_addr().unwrap()));
    let mut items = alerts::items(1..=3).unwrap();
    items[1].text = vec![b'x'; 66_000];
    let outcomes = sink.send(&items);
    let [Outcome::Accepted, Outcome::Rejected { reason }, Outcome::Accepted] = &*outcomes else {
        panic!("{outcomes:?}")
    };
    assert!(reason.contains("do not fit into one datagram"), "{reason}");
}

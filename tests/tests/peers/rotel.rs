//! rotel, a collector of OpenTelemetry: it takes our records, and passes them on to a receiver that decodes with the published
//! definitions.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use integration::fakes::otlp::Receiver;
use integration::fakes::program::{Program, free_address};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde_json::Value;

use crate::deliver::{deliver, ids, open};

fn id(record: &LogRecord) -> String {
    let Some(Any::StringValue(text)) = record.body.as_ref().and_then(|body| body.value.clone()) else {
        panic!("the body is no text: {record:?}");
    };
    let alert: Value = serde_json::from_str(&text).unwrap();
    alert["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_collector_passes_on_every_alert_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (http, grpc) = (free_address().unwrap(), free_address().unwrap());
    let beyond = Receiver::start().unwrap();
    let mut command = Command::new(crate::program("SANDWATCH_PEER_ROTEL"));
    command.arg("start");
    command.args(["--otlp-http-endpoint", &http.to_string(), "--otlp-grpc-endpoint", &grpc.to_string()]);
    command.args(["--exporter", "otlp", "--otlp-exporter-protocol", "http"]);
    command.args(["--otlp-exporter-endpoint", &beyond.server.url()]);
    command.arg("--pid-file").arg(folder.path().join("pid")).arg("--log-file").arg(folder.path().join("log"));
    let collector = Program::start(command, folder.path(), http).unwrap();
    for (keys, numbers) in [("", 1..=150), (", gzip: true", 151..=300)] {
        let mut sink = open(&format!("type: otlp, url: \"http://{http}\"{keys}"));
        let done = deliver(&mut *sink, numbers.clone());
        assert_eq!(done.accepted, ids(numbers), "{:?}", done.rejected);
    }
    let received = || beyond.records().iter().map(id).collect::<BTreeSet<_>>();
    let until = Instant::now() + Duration::from_secs(60);
    while received() != ids(1..=300) {
        assert!(Instant::now() < until, "{} arrived:\n{}", received().len(), collector.said());
        std::thread::sleep(Duration::from_millis(50));
    }
    let record =
        beyond.records().into_iter().find(|record| id(record) == integration::fakes::alerts::id(1)).unwrap();
    assert_eq!(record.time_unix_nano, 1_795_466_401_123_456_789);
    assert_eq!((record.severity_number, record.severity_text.as_str()), (21, "FATAL"));
    assert!(record.attributes.iter().any(|attribute| attribute.key == "sandwatch.incident.id"), "{record:?}");
}

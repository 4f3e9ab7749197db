//! VictoriaLogs: one receiver for `_bulk`, syslog and OTLP.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use integration::fakes::program::{Program, free_address};
use serde_json::Value;

use crate::deliver::{deliver, ids, open};

pub(crate) struct Store {
    folder: tempfile::TempDir,
    pub(crate) http: SocketAddr,
    syslog: SocketAddr,
    program: Program,
}

impl Store {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (http, syslog) = (free_address().unwrap(), free_address().unwrap());
        let program = run(folder.path(), http, syslog);
        Self { folder, http, syslog, program }
    }

    /// What it has.
    fn all(&self) -> Vec<Value> {
        self.query("*")
    }

    /// What it answers to a query, a JSON object a line.
    pub(crate) fn query(&self, query: &str) -> Vec<Value> {
        let mut stream = TcpStream::connect(self.http).unwrap();
        let query: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let question = format!("/select/logsql/query?query={query}&limit=100000");
        write!(stream, "GET {question} HTTP/1.0\r\nhost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
        body.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }

    /// Waits until exactly these alerts can be found, each in the record that `id` takes it from.
    fn wait_for(&self, wanted: &BTreeSet<String>, id: impl Fn(&Value) -> Option<String>) -> Vec<Value> {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let found = self.all();
            let received: BTreeSet<String> = found.iter().filter_map(&id).collect();
            if received == *wanted {
                return found;
            }
            let first = found.first();
            assert!(Instant::now() < until, "{} of {} arrived: {first:?}", received.len(), wanted.len());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn run(folder: &std::path::Path, http: SocketAddr, syslog: SocketAddr) -> Program {
    let mut command = Command::new(crate::program("SANDWATCH_PEER_VICTORIALOGS"));
    command.arg(format!("-httpListenAddr={http}")).arg(format!("-syslog.listenAddr.tcp={syslog}"));
    command.arg(format!("-storageDataPath={}", folder.join("data").display()));
    // The alerts of the tests have a fixed time.
    command.args(["-retentionPeriod=100y", "-futureRetention=100y"]);
    Program::start(command, folder, http).unwrap()
}

fn text(record: &Value, key: &str) -> Option<String> {
    record[key].as_str().map(str::to_owned)
}

fn of_message(record: &Value) -> Option<String> {
    let alert: Value = serde_json::from_str(record["_msg"].as_str()?).ok()?;
    text(&alert, "id")
}

#[test]
fn bulk_requests_bring_every_alert() {
    let store = Store::start();
    let parameters = "_msg_field=title&_time_field=@timestamp&_stream_fields=host.name";
    let base = format!("http://{}/insert/elasticsearch", store.http);
    let mut sink = open(&format!("type: elasticsearch, url: \"{base}/_bulk?{parameters}\", gzip: true"));
    let done = deliver(&mut *sink, 1..=700);
    assert_eq!(done.accepted, ids(1..=700), "{:?} {:?}", done.rejected, done.retries);
    let found = store.wait_for(&ids(1..=700), |record| text(record, "id"));
    let record = found.first().unwrap();
    assert_eq!(record["_time"], "2026-11-23T20:40:01.123456789Z");
    assert_eq!(record["data_stream.dataset"], "sandwatch.alert");
    assert_eq!(record["worker.name"], "lab-n8n");
}

#[test]
fn a_store_that_was_down_at_start_and_in_between_has_every_alert() {
    let mut store = Store::start();
    store.program.kill().unwrap();
    let parameters = "_msg_field=title&_time_field=@timestamp";
    let mut sink = open(&format!(
        "type: elasticsearch, url: \"http://{}/insert/elasticsearch/_bulk?{parameters}\"",
        store.http
    ));
    let numbers = 1..=500;
    let items = integration::fakes::alerts::items(numbers.clone()).unwrap();
    assert!(matches!(sink.send(&items)[..], [monitor::delivery::Outcome::Retry { .. }]));
    store.program = run(store.folder.path(), store.http, store.syslog);
    assert_eq!(deliver(&mut *sink, numbers.clone()).accepted, ids(numbers.clone()));
    store.wait_for(&ids(numbers), |record| text(record, "id"));
}

#[test]
fn syslog_messages_bring_every_alert() {
    let store = Store::start();
    let mut sink = open(&format!("type: syslog, address: \"tcp://{}\"", store.syslog));
    assert_eq!(deliver(&mut *sink, 1..=300).accepted, ids(1..=300));
    let found = store.wait_for(&ids(1..=300), of_message);
    let record = found.first().unwrap();
    assert_eq!(record["app_name"], "sandwatch");
    assert_eq!(record["severity"], "2");
    assert_eq!(record["sandwatch@32473.worker"], "lab-n8n", "{record}");
}

#[test]
fn otlp_records_bring_every_alert() {
    let store = Store::start();
    let url = format!("http://{}/insert/opentelemetry/v1/logs", store.http);
    let mut sink = open(&format!("type: otlp, url: \"{url}\", gzip: true"));
    let done = deliver(&mut *sink, 1..=300);
    assert_eq!(done.accepted, ids(1..=300), "{:?} {:?}", done.rejected, done.retries);
    let found = store.wait_for(&ids(1..=300), of_message);
    assert_eq!(found.first().unwrap()["sandwatch.worker"], "lab-n8n");
}

//! An alert as a log record: the alert in its format is the body, what one searches by are attributes.

use jiff::Timestamp;
use prost::Message;

use super::proto::{
    AnyValue, ArrayValue, KeyValue, LogRecord, LogsRequest, Resource, ResourceLogs, Scope, ScopeLogs, Value,
};
use crate::alert::{Alert, Level};
use crate::delivery::Item;

const EVENT: &str = "sandwatch.alert";
/// Of a record, besides its body and attributes.
const FIXED: usize = 80;
/// Bytes of one text among the attributes; the body has all of it.
const TEXT: usize = 512;

/// The request for a batch: all of one host, the agent's own. `beside`: most bytes of a record besides the alert's text.
pub(super) fn request(items: &[Item], beside: usize) -> LogsRequest {
    let resource = items.first().map(|item| Resource { attributes: resource(&item.alert) });
    let scope = Scope { name: "sandwatch".into(), version: env!("CARGO_PKG_VERSION").into() };
    let log_records = items.iter().map(|item| record(item, beside)).collect();
    let scope_logs = vec![ScopeLogs { scope: Some(scope), log_records }];
    LogsRequest { resource_logs: vec![ResourceLogs { resource, scope_logs }] }
}

fn resource(alert: &Alert) -> Vec<KeyValue> {
    let mut all = Attributes::within(usize::MAX);
    all.text("service.name", "sandwatch");
    all.text("service.version", &alert.agent.version);
    all.text("host.name", &alert.host.name);
    all.maybe("host.id", alert.host.machine_id.as_deref());
    all.maybe("k8s.cluster.name", alert.host.cluster.as_deref());
    all.maybe("deployment.environment.name", alert.environment.as_deref());
    all.all
}

fn record(item: &Item, beside: usize) -> LogRecord {
    let alert = &item.alert;
    let level = Level::of(alert);
    let attributes = attributes(item, beside.saturating_sub(FIXED));
    LogRecord {
        time_unix_nano: nanoseconds(alert.time.parse().ok()),
        observed_time_unix_nano: nanoseconds(Some(Timestamp::now())),
        severity_number: level.otlp.into(),
        severity_text: level.otlp_name.into(),
        body: Some(text(&String::from_utf8_lossy(&item.text))),
        attributes: attributes.all,
        dropped_attributes_count: attributes.dropped,
        event_name: EVENT.into(),
    }
}

/// Names of the semantic conventions where there are some, `sandwatch.…` for the rest; those first that are searched by most, as
/// there may not be room for all.
fn attributes(item: &Item, room: usize) -> Attributes {
    let alert = &item.alert;
    let mut all = Attributes::within(room);
    all.text("sandwatch.alert.id", &alert.id);
    all.number("sandwatch.delivery.seq", item.seq);
    all.text("sandwatch.kind", alert.kind.name());
    all.text("sandwatch.state", alert.state.name());
    all.text("sandwatch.severity", alert.severity.name());
    all.text("sandwatch.title", &alert.title);
    all.maybe("sandwatch.tier", alert.tier.map(|tier| tier.to_string()).as_deref());
    if let Some(incident) = &alert.incident {
        all.text("sandwatch.incident.id", &incident.id);
        all.number("sandwatch.incident.revision", incident.revision);
    }
    all.maybe("sandwatch.finding", alert.finding.as_ref().map(|finding| finding.id.as_str()));
    if let Some(worker) = &alert.worker {
        all.text("sandwatch.worker", &worker.name);
        all.text("sandwatch.profile", &worker.profile);
        all.maybe("k8s.node.name", worker.node.as_deref());
        if let Some(container) = &worker.container {
            all.text("container.id", &container.id);
            all.maybe("container.image.name", container.image.as_deref());
            all.maybe("container.runtime.name", container.runtime.as_deref());
        }
        if let Some(pod) = &worker.pod {
            all.text("k8s.namespace.name", &pod.namespace);
            all.text("k8s.pod.name", &pod.name);
            all.text("k8s.pod.uid", &pod.uid);
        }
    }
    if let Some(attribution) = &alert.attribution {
        let workflow = attribution.workflow.as_ref().map(|found| found.value.as_str());
        all.maybe("sandwatch.workflow", workflow);
        all.maybe("sandwatch.run", attribution.run.as_ref().map(|found| found.value.as_str()));
    }
    if let Some(process) = &alert.process {
        all.number("process.pid", process.pid.into());
        if let Some(parent) = process.ppid {
            all.number("process.parent_pid", parent.into());
        }
        all.maybe("process.executable.path", process.exe.as_deref());
        if let Some(argv) = &process.argv {
            all.list("process.command_args", argv);
        }
    }
    all
}

/// Attributes of so many bytes at most, as they are written.
struct Attributes {
    all: Vec<KeyValue>,
    room: usize,
    /// There was no room for so many, or not for all of them.
    dropped: u32,
}

impl Attributes {
    fn within(room: usize) -> Self {
        Self { all: Vec::new(), room, dropped: 0 }
    }

    fn push(&mut self, key: &str, value: Value) {
        let one = KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }) };
        match self.room.checked_sub(written(one.encoded_len())) {
            Some(left) => {
                self.room = left;
                self.all.push(one);
            }
            None => self.dropped += 1,
        }
    }

    fn text(&mut self, key: &str, value: &str) {
        self.push(key, Value::Text(short(value)));
    }

    /// As many of them as there is room for, and `…` in the place of the rest.
    fn list(&mut self, key: &str, texts: &[String]) {
        // Of the attribute itself, and of what stands for the rest.
        let mut left = self.room.saturating_sub(key.len() + 32);
        let mut values: Vec<AnyValue> = Vec::new();
        for one in texts {
            let value = text(&short(one));
            match left.checked_sub(written(value.encoded_len())) {
                Some(rest) => left = rest,
                None => {
                    values.push(text("…"));
                    self.dropped += 1;
                    break;
                }
            }
            values.push(value);
        }
        self.push(key, Value::List(ArrayValue { values }));
    }

    fn maybe(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    fn number(&mut self, key: &str, value: u64) {
        self.push(key, Value::Number(i64::try_from(value).unwrap_or(i64::MAX)));
    }
}

/// A message in another one: its tag and its length come before it.
fn written(length: usize) -> usize {
    length + 1 + prost::length_delimiter_len(length)
}

fn short(value: &str) -> String {
    if value.len() <= TEXT {
        return value.to_owned();
    }
    format!("{}…", &value[..value.floor_char_boundary(TEXT - '…'.len_utf8())])
}

fn text(value: &str) -> AnyValue {
    AnyValue { value: Some(Value::Text(value.into())) }
}

/// 0, which the protocol has for "unknown", if there is none.
fn nanoseconds(time: Option<Timestamp>) -> u64 {
    time.and_then(|time| u64::try_from(time.as_nanosecond()).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{SafeAlert, fixture};

    #[test]
    fn a_record_carries_the_alerts_time_severity_text_and_what_one_searches_by() {
        let text = b"{\"a\":1}".to_vec();
        let item = Item { seq: 9, alert: SafeAlert::new(fixture::incident()), text };
        let request = request(&[item], 4096);
        let record = &request.resource_logs[0].scope_logs[0].log_records[0];
        assert_eq!(record.time_unix_nano, 1_795_466_401_123_456_789);
        assert_eq!((record.severity_number, record.severity_text.as_str()), (21, "FATAL"));
        assert_eq!(record.body, Some(super::text("{\"a\":1}")));
        let has = |key: &str, value: Value| {
            let wanted = KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }) };
            assert!(record.attributes.contains(&wanted), "{wanted:?} in {:?}", record.attributes);
        };
        has("sandwatch.incident.id", Value::Text("8f3ac2d4e5f60718".into()));
        has("sandwatch.incident.revision", Value::Number(2));
        has("sandwatch.tier", Value::Text("identity".into()));
        has("process.pid", Value::Number(4242));
        let secret = format!("{record:?}");
        assert!(!secret.contains("abcdef123456"), "arguments are redacted");
        assert_eq!(record.dropped_attributes_count, 0);
    }

    #[test]
    fn a_record_is_bounded_with_its_attributes_and_the_last_ones_are_left_out() {
        let mut alert = fixture::incident();
        let process = alert.process.as_mut().unwrap();
        process.argv = Some((0..60).map(|n| format!("--argument-{n}={}", "x".repeat(100))).collect());
        process.exe = Some("é".repeat(5000));
        alert.title = "t".repeat(3000);
        alert.worker.as_mut().unwrap().name = "w".repeat(900);
        let item = Item { seq: u64::MAX, alert: SafeAlert::new(alert), text: vec![b'x'; 5000] };
        for beside in [150, 500, 1500, 4096] {
            let record = record(&item, beside);
            assert!(record.encoded_len() <= 5000 + beside, "{}: {beside}", record.encoded_len());
            assert!(record.dropped_attributes_count > 0);
            assert_eq!(record.attributes[0].key, "sandwatch.alert.id");
        }
        let record = record(&item, 4096);
        let argv = record.attributes.last().unwrap();
        assert_eq!(argv.key, "process.command_args");
        let Some(Value::List(list)) = argv.value.clone().unwrap().value else { panic!("{argv:?}") };
        assert_eq!(list.values[0], text(&format!("--argument-0={}", "x".repeat(100))));
        assert_eq!(list.values.last(), Some(&text("…")));
    }
}

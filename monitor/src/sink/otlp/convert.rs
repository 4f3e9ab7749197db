//! An alert as a log record: the alert in its format is the body, what one searches by are attributes.

use jiff::Timestamp;

use super::proto::{
    AnyValue, ArrayValue, KeyValue, LogRecord, LogsRequest, Resource, ResourceLogs, Scope, ScopeLogs, Value,
};
use crate::alert::{Alert, Level};
use crate::delivery::Item;

const EVENT: &str = "sandwatch.alert";

/// The request for a batch: all of one host, the agent's own.
pub(super) fn request(items: &[Item]) -> LogsRequest {
    let resource = items.first().map(|item| Resource { attributes: resource(&item.alert) });
    let scope = Scope { name: "sandwatch".into(), version: env!("CARGO_PKG_VERSION").into() };
    let log_records = items.iter().map(record).collect();
    let scope_logs = vec![ScopeLogs { scope: Some(scope), log_records }];
    LogsRequest { resource_logs: vec![ResourceLogs { resource, scope_logs }] }
}

fn resource(alert: &Alert) -> Vec<KeyValue> {
    let mut all = Attributes::default();
    all.text("service.name", "sandwatch");
    all.text("service.version", &alert.agent.version);
    all.text("host.name", &alert.host.name);
    all.maybe("host.id", alert.host.machine_id.as_deref());
    all.maybe("k8s.cluster.name", alert.host.cluster.as_deref());
    all.maybe("deployment.environment.name", alert.environment.as_deref());
    all.0
}

fn record(item: &Item) -> LogRecord {
    let alert = &item.alert;
    let level = Level::of(alert);
    LogRecord {
        time_unix_nano: nanoseconds(alert.time.parse().ok()),
        observed_time_unix_nano: nanoseconds(Some(Timestamp::now())),
        severity_number: level.otlp.into(),
        severity_text: level.otlp_name.into(),
        body: Some(text(&String::from_utf8_lossy(&item.text))),
        attributes: attributes(item),
        event_name: EVENT.into(),
    }
}

/// Names of the semantic conventions where there are some, `sandwatch.…` for the rest.
fn attributes(item: &Item) -> Vec<KeyValue> {
    let alert = &item.alert;
    let mut all = Attributes::default();
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
            let values = argv.iter().map(|argument| text(argument)).collect();
            all.push("process.command_args", Value::List(ArrayValue { values }));
        }
    }
    all.0
}

#[derive(Default)]
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn push(&mut self, key: &str, value: Value) {
        self.0.push(KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }) });
    }

    fn text(&mut self, key: &str, value: &str) {
        self.push(key, Value::Text(value.into()));
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
        let request = request(&[item]);
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
    }
}

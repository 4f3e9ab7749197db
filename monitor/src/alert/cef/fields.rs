//! Which key of CEF's dictionary carries what.

use std::borrow::Cow;

use jiff::Timestamp;

use super::escape::{is_longer, length};
use super::{CUSTOM, MSG, NAME};
use crate::alert::{Alert, Attributed, escape};

/// Key, value and the longest value that the dictionary allows, in characters.
pub(super) type Field = (Cow<'static, str>, String, usize);

pub(super) fn of(alert: &Alert) -> Vec<Field> {
    let mut fields = Fields { list: Vec::with_capacity(40), cut: Vec::new() };
    if is_longer(&alert.title, NAME) {
        fields.cut.push("name".into());
    }
    fields.put("rt", milliseconds(&alert.time), 20);
    subject(&mut fields, alert);
    host(&mut fields, alert);
    process(&mut fields, alert);
    object(&mut fields, alert);
    custom(&mut fields, alert);
    // The last one: it names what the others had no room for, by their keys, besides what the alert itself lacks.
    let cut: Vec<&str> =
        alert.truncated.iter().map(String::as_str).chain(fields.cut.iter().map(|key| &**key)).collect();
    let cut = cut.join(", ");
    fields.put("sandwatchTruncated", Some(cut), MSG);
    fields.list
}

struct Fields {
    list: Vec<Field>,
    /// Keys whose values are longer than the dictionary allows.
    cut: Vec<Cow<'static, str>>,
}

impl Fields {
    fn put(&mut self, key: impl Into<Cow<'static, str>>, value: Option<impl ToString>, longest: usize) {
        let Some(value) = value.map(|value| value.to_string()).filter(|value| !value.is_empty()) else {
            return;
        };
        let key = key.into();
        if is_longer(&value, longest) {
            self.cut.push(key.clone());
        }
        self.list.push((key, value, longest));
    }

    /// One of the custom fields, which carry their meaning with them.
    fn custom(&mut self, key: &'static str, label: &'static str, means: &str, value: Option<impl ToString>) {
        let before = self.list.len();
        self.put(key, value, CUSTOM);
        if self.list.len() > before {
            self.put(label, Some(means), MSG);
        }
    }
}

fn subject(fields: &mut Fields, alert: &Alert) {
    let incident = alert.incident.as_ref();
    let gap = alert.gap.as_ref();
    fields.put(
        "start",
        incident.map(|i| &i.first).or(gap.map(|g| &g.from)).and_then(|t| milliseconds(t)),
        20,
    );
    fields.put(
        "end",
        incident.map(|i| &i.last).or(gap.and_then(|g| g.to.as_ref())).and_then(|t| milliseconds(t)),
        20,
    );
    fields.put("externalId", Some(&alert.id), 40);
    let tier = alert.tier.map_or(String::new(), |tier| format!("/{}", tier.name()));
    fields.put("cat", Some(format!("{}{tier}", alert.kind.name())), MSG);
    fields.put("act", Some(alert.state.name()), 63);
    fields.put("outcome", alert.finding.as_ref().map(|finding| &finding.outcome), 63);
    fields.put("cnt", incident.map(|i| i.findings).or(gap.and_then(|g| g.lost)), 20);
    let expected = alert.finding.as_ref().and_then(|finding| finding.expected.as_ref());
    let detail = expected.or(gap.and_then(|gap| gap.detail.as_ref()));
    let detail = detail.or(alert.health.as_ref().map(|health| &health.detail)).cloned();
    fields.put("msg", detail.or(alert.posture.as_ref().map(crate::alert::PostureInfo::line)), MSG);
    fields.put("reason", closed(alert), MSG);
}

/// Who or what closed it.
fn closed(alert: &Alert) -> Option<String> {
    let by = alert.closed_by?;
    let by = serde_json::to_value(by).ok()?.as_str()?.to_owned();
    match alert.incident.as_ref().and_then(|incident| incident.closure.as_ref()) {
        Some(closure) => Some(format!("{by}: {}: {}", closure.by, closure.reason)),
        None => Some(by),
    }
}

fn host(fields: &mut Fields, alert: &Alert) {
    fields.put("dvchost", Some(&alert.host.name), 100);
    fields.put("deviceExternalId", alert.host.machine_id.as_ref(), 255);
    fields.put("sourceServiceName", alert.worker.as_ref().map(|worker| &worker.name), MSG);
}

fn process(fields: &mut Fields, alert: &Alert) {
    let Some(process) = &alert.process else { return };
    fields.put("sproc", process.exe.as_ref(), MSG);
    fields.put("spid", Some(process.pid), 20);
    fields.put("suid", process.uid, MSG);
}

fn object(fields: &mut Fields, alert: &Alert) {
    if let Some(path) = alert.file.as_ref().and_then(|file| file.path.as_deref()) {
        fields.put("fname", path.rsplit('/').find(|part| !part.is_empty()), MSG);
        fields.put("filePath", Some(path), MSG);
    }
    if let Some(network) = &alert.network {
        match network.address.parse::<std::net::IpAddr>() {
            Ok(std::net::IpAddr::V4(address)) => fields.put("dst", Some(address), 40),
            Ok(std::net::IpAddr::V6(address)) => {
                fields.custom("c6a3", "c6a3Label", "Destination IPv6 Address", Some(address));
            }
            // A socket's path, where no file has that key.
            Err(_) if alert.file.is_none() => fields.put("filePath", Some(&network.address), MSG),
            Err(_) => fields.put("dhost", Some(&network.address), MSG),
        }
        fields.put("dpt", network.port, 5);
        fields.put("proto", Some(&network.protocol), 31);
        fields.put("destinationServiceName", network.endpoint.as_ref(), MSG);
    }
}

fn custom(fields: &mut Fields, alert: &Alert) {
    let incident = alert.incident.as_ref();
    let value = |attributed: &Option<Attributed>| attributed.as_ref().map(|a| a.value.clone());
    let who = alert.attribution.as_ref();
    fields.custom("cs1", "cs1Label", "incident", incident.map(|incident| &incident.id));
    fields.custom("cs2", "cs2Label", "run", who.and_then(|who| value(&who.run)));
    fields.custom("cs3", "cs3Label", "workflow", who.and_then(|who| value(&who.workflow)));
    let argv = alert.process.as_ref().and_then(|process| process.argv.as_ref());
    let command = argv.map(|argv| argv.iter().map(|a| escape::argument(a)).collect::<Vec<_>>().join(" "));
    fields.custom("cs4", "cs4Label", "command", command);
    taken(fields, alert);
    fields.custom("cs6", "cs6Label", "rules", Some(&alert.agent.rules));
    fields.custom("cn1", "cn1Label", "revision", incident.map(|incident| incident.revision));
    fields.custom("cn2", "cn2Label", "sequence", alert.delivery.as_ref().map(|delivery| delivery.seq));
    fields.custom("flexString1", "flexString1Label", "cluster", alert.host.cluster.as_ref());
    let own = alert.environment.iter().map(|value| format!("environment={value}"));
    let labels = own.chain(alert.labels.iter().map(|(name, value)| format!("{name}={value}")));
    let labels = labels.collect::<Vec<_>>().join(", ");
    fields.custom("flexString2", "flexString2Label", "labels", Some(labels));
    if let Some(heartbeat) = &alert.heartbeat {
        fields.custom("cn3", "cn3Label", "next in seconds", Some(heartbeat.every));
        fields.put("sandwatchCoverage", heartbeat.coverage.as_ref(), MSG);
        fields.put("sandwatchLog", heartbeat.log.as_ref(), MSG);
    }
    fields.put("sandwatchStream", alert.delivery.as_ref().map(|delivery| &delivery.stream), 40);
    fields.put("sandwatchSequences", alert.gap.as_ref().map(|gap| runs(&gap.sequences)), CUSTOM);
    fields.put("sandwatchTest", alert.test.then_some("true"), 4);
}

/// What was taken, all of it: where one field is full another goes on.
fn taken(fields: &mut Fields, alert: &Alert) {
    const BETWEEN: &str = ", ";
    let all = alert.blast_radius.as_ref().map_or(&[][..], |radius| &radius.taken);
    let (mut parts, mut room) = (vec![String::new()], CUSTOM);
    for identity in all.iter().map(|taken| &*taken.identity) {
        let needs = length(identity) + BETWEEN.len();
        if needs > room && room < CUSTOM {
            parts.push(String::new());
            room = CUSTOM;
        }
        room = room.saturating_sub(needs);
        if let Some(part) = parts.last_mut() {
            if !part.is_empty() {
                part.push_str(BETWEEN);
            }
            part.push_str(identity);
        }
    }
    for (number, part) in (1..).zip(parts) {
        match number {
            1 => fields.custom("cs5", "cs5Label", "taken", Some(part)),
            _ => fields.put(format!("sandwatchTaken{number}"), Some(part), CUSTOM),
        }
    }
}

/// Numbers that do not come, as `3-7,9`.
fn runs(sequences: &[[u64; 2]]) -> String {
    let each = |[first, last]: &[u64; 2]| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    sequences.iter().map(each).collect::<Vec<_>>().join(",")
}

fn milliseconds(time: &str) -> Option<i64> {
    time.parse::<Timestamp>().ok().map(|time| time.as_millisecond())
}

//! One alert as an RFC 5424 message.

use std::io::Write;

use jiff::Timestamp;

use crate::alert::{Level, escape};
use crate::delivery::Item;

/// Byte order mark, as RFC 5424 has it before UTF-8 text.
const BOM: &[u8] = b"\xef\xbb\xbf";
/// Our structured data: 32473 is the number set aside for documentation, as we have none of our own.
const ELEMENT: &str = "sandwatch@32473";
/// The largest `sequenceId` (RFC 5424, 7.3.1).
const MAX_SEQUENCE: u64 = 2_147_483_647;

/// A facility.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facility(u8);

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

impl Facility {
    /// Security messages that not everybody may read.
    pub(super) const AUTHPRIV: Self = Self(10);

    pub(super) fn parse(name: &str) -> Result<Self, String> {
        let found = FACILITIES.iter().position(|facility| *facility == name);
        let number = found.and_then(|number| u8::try_from(number).ok());
        number.map(Self).ok_or_else(|| format!("{name:?} is none; there are {}", FACILITIES.join(", ")))
    }
}

/// How messages look.
pub(super) struct Style {
    pub(super) facility: Facility,
    pub(super) bom: bool,
    /// As short a header as possible.
    pub(super) short: bool,
    /// With the length in front.
    pub(super) octets: bool,
}

impl Style {
    /// The message of an alert, as it goes out.
    pub(super) fn frame(&self, item: &Item) -> Vec<u8> {
        let message = self.message(item);
        if !self.octets {
            return message;
        }
        let mut frame = format!("{} ", message.len()).into_bytes();
        frame.extend_from_slice(&message);
        frame
    }

    fn message(&self, item: &Item) -> Vec<u8> {
        let alert = &item.alert;
        let priority = u16::from(self.facility.0) * 8 + u16::from(Level::of(alert).syslog);
        // Nanoseconds are more digits than the format has.
        let time =
            alert.time.parse::<Timestamp>().map_or_else(|_| "-".to_owned(), |time| format!("{time:.6}"));
        let host = word(&alert.host.name, 255);
        let kind = alert.kind.name();
        let mut message = Vec::with_capacity(item.text.len() + 256);
        // Writing to a vector does not fail.
        let _ = write!(message, "<{priority}>1 {time} {host} sandwatch {} {kind} ", std::process::id());
        // Heartbeats have no number.
        if let Some(before) = item.seq.checked_sub(1) {
            let _ = write!(message, "[meta sequenceId=\"{}\"]", (before % MAX_SEQUENCE) + 1);
        } else if self.short {
            message.push(b'-');
        }
        if !self.short {
            let _ = write!(message, "[{ELEMENT} id=\"{}\"", value(&alert.id));
            if let Some(incident) = &alert.incident {
                let _ = write!(
                    message,
                    " incident=\"{}\" revision=\"{}\"",
                    value(&incident.id),
                    incident.revision
                );
            }
            if let Some(worker) = &alert.worker {
                let _ = write!(message, " worker=\"{}\"", value(&worker.name));
            }
            message.push(b']');
        }
        message.push(b' ');
        if self.bom {
            message.extend_from_slice(BOM);
        }
        message.extend_from_slice(&item.text);
        message
    }
}

/// A word of the header: printable ASCII without spaces.
fn word(text: &str, most: usize) -> String {
    let word: String = text.chars().take(most).map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect();
    if word.is_empty() { "-".to_owned() } else { word }
}

/// A value of structured data: short, harmless, escaped as RFC 5424 has it.
fn value(text: &str) -> String {
    let short: String = text.chars().take(128).collect();
    let mut out = String::with_capacity(short.len());
    for c in escape::for_terminal(&short).chars() {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::alert::{Alert, SafeAlert, fixture};

    fn style() -> Style {
        Style { facility: Facility::AUTHPRIV, bom: false, short: false, octets: false }
    }

    fn message(alert: Alert, style: &Style) -> String {
        let item = Item { seq: 7, alert: SafeAlert::new(alert), text: b"{\"a\":1}".to_vec() };
        String::from_utf8(style.message(&item)).unwrap()
    }

    #[test]
    fn a_message_has_the_parts_of_rfc_5424() {
        let mut alert = fixture::incident();
        alert.host.name = "node 1".into();
        alert.worker.as_mut().unwrap().name = "a\"b]c\\d\x1b".into();
        let pid = std::process::id();
        assert_eq!(
            message(alert, &style()),
            format!(
                "<82>1 2026-11-23T20:40:01.123456Z node_1 sandwatch {pid} incident [meta sequenceId=\"7\"]\
                 [sandwatch@32473 id=\"0b6f3d1e-6d3a-5b0e-9f3d-6f3a1f6b2c11\" incident=\"8f3ac2d4e5f60718\" revision=\"2\" \
                 worker=\"a\\\"b\\]c\\\\d\\\\x1b\"] {{\"a\":1}}"
            )
        );
    }

    #[test]
    fn facility_and_severity_make_the_priority() {
        let local7 = Style { facility: Facility::parse("local7").unwrap(), ..style() };
        assert!(
            message(fixture::gap(), &local7).starts_with("<188>1 "),
            "{}",
            message(fixture::gap(), &local7)
        );
    }

    #[test]
    fn a_byte_order_mark_stands_before_the_text_if_asked_for() {
        let text = message(fixture::incident(), &Style { bom: true, ..style() });
        assert!(text.contains("] \u{feff}{"), "{text}");
    }

    #[test]
    fn a_short_header_leaves_room_in_a_packet() {
        let text = message(fixture::incident(), &Style { short: true, ..style() });
        assert!(text.len() < 120, "{text}");
    }

    #[test]
    fn the_sequence_starts_over_where_the_format_ends() {
        let item = |seq| Item { seq, alert: SafeAlert::new(fixture::gap()), text: Vec::new() };
        let text = |seq| String::from_utf8(style().message(&item(seq))).unwrap();
        assert!(text(MAX_SEQUENCE).contains("sequenceId=\"2147483647\""));
        assert!(text(MAX_SEQUENCE + 1).contains("sequenceId=\"1\""));
        assert!(text(0).contains(" gap [sandwatch@32473 "), "a heartbeat has none: {}", text(0));
    }

    proptest! {
        #[test]
        fn names_of_any_text_leave_the_header_whole(host in any::<String>(), worker in any::<String>()) {
            let mut alert = fixture::incident();
            alert.host.name = host;
            alert.worker.as_mut().unwrap().name = worker;
            let text = message(alert, &style());
            let (head, _) = text.split_once(" [meta").unwrap();
            prop_assert_eq!(head.split(' ').count(), 6);
            prop_assert!(head.is_ascii());
            let end = "\"] {\"a\":1}";
            prop_assert!(text.ends_with(end));
            prop_assert!(!text.contains('\n'));
        }
    }
}

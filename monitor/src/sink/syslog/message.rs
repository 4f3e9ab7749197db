//! One alert as an RFC 5424 message.

use std::io::Write;

use jiff::Timestamp;

use crate::alert::{Alert, Level, escape};
use crate::delivery::Item;

/// Byte order mark, as RFC 5424 has it before UTF-8 text.
const BOM: &[u8] = b"\xef\xbb\xbf";
/// Our structured data: 32473 is the number set aside for documentation, as we have none of our own.
const ELEMENT: &str = "sandwatch@32473";
/// The largest `sequenceId` (RFC 5424, 7.3.1).
const MAX_SEQUENCE: u64 = 2_147_483_647;
/// The longest host name (RFC 5424, 6), and value of ours.
const HOST: usize = 255;
const NAME: usize = 128;

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
    /// Most bytes of all that is not the text; what cannot be left out is never more than [`LEAST_HEADER`].
    pub(super) header: usize,
}

/// What a header needs that has as little as possible, and a host name of 40 bytes.
pub(super) const LEAST_HEADER: usize = 150;
/// Of the length in front, with its blank.
const OCTETS: usize = 8;

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
        let front = format!("<{priority}>1 {time} ");
        let back = format!(" sandwatch {} {} ", std::process::id(), alert.kind.name());
        // Heartbeats have no number.
        let number = item
            .seq
            .checked_sub(1)
            .map_or(String::new(), |before| format!("[meta sequenceId=\"{}\"]", (before % MAX_SEQUENCE) + 1));
        let bom = if self.bom { BOM } else { &[] };
        let octets = if self.octets { OCTETS } else { 0 };
        // A blank before the text, and one character where there is no structured data.
        let fixed = octets + front.len() + back.len() + number.len().max(1) + 1 + bom.len();
        let room = self.header.saturating_sub(fixed);
        let host = word(&alert.host.name, room.min(HOST));
        let about = if self.short { String::new() } else { element(alert, room.saturating_sub(host.len())) };
        let data = if number.is_empty() && about.is_empty() { "-" } else { "" };
        let mut message = Vec::with_capacity(self.header + item.text.len());
        // Writing to a vector does not fail.
        let _ = write!(message, "{front}{host}{back}{number}{about}{data} ");
        message.extend_from_slice(bom);
        message.extend_from_slice(&item.text);
        message
    }
}

/// The structured data of an alert in at most so many bytes: nothing, if there is not even room for its id.
fn element(alert: &Alert, room: usize) -> String {
    let mut out = format!("[{ELEMENT} id=\"{}\"", value(&alert.id, NAME));
    if out.len() + 1 > room {
        return String::new();
    }
    let mut more = |part: String| {
        if out.len() + part.len() < room {
            out.push_str(&part);
        }
    };
    if let Some(incident) = &alert.incident {
        more(format!(" incident=\"{}\"", value(&incident.id, NAME)));
        more(format!(" revision=\"{}\"", incident.revision));
    }
    if let Some(worker) = &alert.worker {
        let left = room.saturating_sub(out.len() + " worker=\"\"]".len());
        let name = value(&worker.name, left.min(NAME));
        if !name.is_empty() {
            out.push_str(&format!(" worker=\"{name}\""));
        }
    }
    out.push(']');
    out
}

/// A word of the header: printable ASCII without spaces.
fn word(text: &str, most: usize) -> String {
    let word: String = text.chars().take(most).map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect();
    if word.is_empty() { "-".to_owned() } else { word }
}

/// A value of structured data, harmless and escaped as RFC 5424 has it, of at most so many bytes as it is written.
fn value(text: &str, most: usize) -> String {
    let mut out = String::new();
    for c in escape::for_terminal(text).chars() {
        let escaped = matches!(c, '"' | '\\' | ']');
        if out.len() + usize::from(escaped) + c.len_utf8() > most {
            break;
        }
        if escaped {
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
    use crate::alert::{SafeAlert, fixture};

    fn style() -> Style {
        Style { facility: Facility::AUTHPRIV, bom: false, short: false, octets: false, header: 400 }
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

        #[test]
        fn all_but_the_text_is_never_more_than_it_may_be(
            host in "[a-z\\PC\\x00-\\x1f]{0,300}",
            worker in "([\\]\"\\\\\u{202e}\u{e0041}é]|[a-z0-9-]){0,300}",
            id in any::<String>(),
            seq in any::<u64>(),
            revision in any::<u64>(),
            (bom, short, octets) in any::<(bool, bool, bool)>(),
            header in LEAST_HEADER..=400,
            text in "[a-z]{0,9000}",
        ) {
            let mut alert = fixture::incident();
            alert.kind = crate::alert::AlertKind::Heartbeat;
            alert.host.name = host;
            alert.worker.as_mut().unwrap().name = worker;
            alert.incident.as_mut().unwrap().revision = revision;
            alert.incident.as_mut().unwrap().id = id.clone();
            alert.id = id;
            let style = Style { bom, short, octets, header, ..style() };
            let item = Item { seq, alert: SafeAlert::new(alert), text: text.clone().into_bytes() };
            let frame = style.frame(&item);
            prop_assert!(frame.len() <= header + text.len(), "{} + {}", frame.len() - text.len(), text.len());
            prop_assert!(frame.ends_with(text.as_bytes()));
        }
    }

    #[test]
    fn what_there_is_no_room_for_is_left_out_from_the_end() {
        let mut alert = fixture::incident();
        alert.worker.as_mut().unwrap().name = "w".repeat(200);
        let with = |header| message(alert.clone(), &Style { header, ..style() });
        let (most, some, least) = (with(400), with(250), with(LEAST_HEADER));
        assert!(most.contains("revision=\"2\" worker=\"wwwww"), "{most}");
        assert!(some.contains("incident=\"8f3ac2d4e5f60718\"") && some.contains(" worker=\"w"), "{some}");
        assert!(least.contains("[meta sequenceId=\"7\"]"), "{least}");
        for (text, header) in [(most, 400), (some, 250), (least, LEAST_HEADER)] {
            assert!(text.len() <= header + "{\"a\":1}".len(), "{}: {text}", text.len());
        }
    }
}

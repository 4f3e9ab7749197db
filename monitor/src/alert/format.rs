//! One door to every format: an alert as the bytes that a sink sends.

use std::collections::BTreeMap;

use super::{Delivery, SafeAlert, cef, ecs, human, json, ocsf, shrink};
use crate::config::SinkFormat;

/// The smallest `max_bytes` of a sink: the shortest text and what its transport puts around it.
pub const MIN_MAX_BYTES: usize = LEAST_TEXT + 150;

/// The same where a transport puts the text into JSON: escaped it may be twice as long.
pub const MIN_IN_ENVELOPE: usize = 4096;

/// The fewest bytes that every alert can be cut to, in every format.
pub const LEAST_TEXT: usize = 1250;

/// The alert as one sink sends it, without a line end: `delivery` on it, the sink's own fields among its labels, and not
/// larger than `max_bytes` (if that is at least [`LEAST_TEXT`]). What had to be cut is named in `truncated`.
pub fn render(
    format: SinkFormat,
    alert: &SafeAlert,
    delivery: Option<&Delivery>,
    static_fields: &BTreeMap<String, String>,
    max_bytes: usize,
) -> Vec<u8> {
    if matches!(format, SinkFormat::Auto | SinkFormat::Json) && static_fields.is_empty() {
        let text = json::line(alert, delivery);
        if text.len() <= max_bytes {
            return text.into_bytes();
        }
    }
    let mut copy = alert.for_sink(delivery, static_fields);
    let mut text = write(format, &copy);
    for step in shrink::STEPS {
        if text.len() <= max_bytes {
            return text.into_bytes();
        }
        if copy.shrink(step) {
            text = write(format, &copy);
        }
    }
    if format == SinkFormat::Human {
        shrink::cut_text(&mut text, max_bytes.saturating_sub('…'.len_utf8()));
    }
    debug_assert!(text.len() <= max_bytes || max_bytes < LEAST_TEXT, "{} bytes are left", text.len());
    text.into_bytes()
}

fn write(format: SinkFormat, alert: &SafeAlert) -> String {
    match format {
        SinkFormat::Auto | SinkFormat::Json => json::line(alert, None),
        SinkFormat::Ocsf => ocsf::line(alert),
        SinkFormat::Ecs => ecs::line(alert),
        SinkFormat::Cef => cef::line(alert),
        SinkFormat::Human => human::text(alert, &human::Style::PLAIN),
    }
}

#[cfg(test)]
pub(super) mod tests;

//! An alert in the format of a sink.

use std::collections::BTreeMap;

use crate::alert::{AlertKind, Delivery, LEAST_TEXT, MAX_HEARTBEAT, SafeAlert, human, render};
use crate::config::{SinkConfig, SinkFormat};
use crate::delivery::{Item, Transport};

/// How one sink writes alerts.
pub(crate) struct Form {
    sink: String,
    /// Its streams of numbers and their first numbers, the newest first.
    streams: Vec<(u64, String)>,
    format: SinkFormat,
    static_fields: BTreeMap<String, String>,
    /// For people at a terminal: its width and colours.
    terminal: Option<human::Style>,
}

impl Form {
    /// As configured; `width` is that of the terminal it writes to.
    pub(crate) fn new(config: &SinkConfig, streams: Vec<(u64, String)>, width: Option<usize>) -> Self {
        let for_people = matches!(config.format, SinkFormat::Human | SinkFormat::Auto);
        Self {
            sink: config.name.clone(),
            streams,
            format: config.written_as(),
            static_fields: config.static_fields.clone(),
            terminal: width.filter(|_| for_people).map(|width| human::Style::detect(Some(width))),
        }
    }

    /// Where the newest stream begins.
    pub(crate) fn since(&self) -> u64 {
        self.streams.first().map_or(0, |(since, _)| *since)
    }

    pub(crate) fn set_streams(&mut self, streams: Vec<(u64, String)>) {
        self.streams = streams;
    }

    fn delivery(&self, seq: u64) -> Option<Delivery> {
        let of = self.streams.iter().find(|(since, _)| *since <= seq).or(self.streams.last());
        of.map(|(_, stream)| Delivery { sink: self.sink.clone(), stream: stream.clone(), seq })
    }

    /// The alert as it is sent, cut until it is no larger than the transport takes; `seq` 0: without a number.
    pub(crate) fn item(&self, transport: &dyn Transport, alert: &SafeAlert, seq: u64) -> Item {
        let most = transport.limits().max_bytes;
        let mut room = most;
        loop {
            let item = Item { seq, alert: alert.clone(), text: self.text(alert, seq, room) };
            let over = transport.sent_bytes(&item).saturating_sub(most);
            if over == 0 || room <= LEAST_TEXT {
                return item;
            }
            // Every byte less of it is at least one less of what is sent.
            room = item.text.len().min(room).saturating_sub(over).max(LEAST_TEXT);
        }
    }

    /// The alert's text; `seq` 0: without a number.
    fn text(&self, alert: &SafeAlert, seq: u64, max_bytes: usize) -> Vec<u8> {
        if let Some(style) = &self.terminal {
            return human::text(alert, style).into_bytes();
        }
        let delivery = (seq > 0).then(|| self.delivery(seq)).flatten();
        let with = |fields: &BTreeMap<_, _>| render(self.format, alert, delivery.as_ref(), fields, max_bytes);
        let mut text = with(&self.static_fields);
        if alert.kind == AlertKind::Heartbeat && matches!(self.format, SinkFormat::Auto | SinkFormat::Json) {
            // What the sink adds goes along as far as there is room.
            let mut fields = self.static_fields.clone();
            while text.len() > MAX_HEARTBEAT && fields.pop_last().is_some() {
                text = with(&fields);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{fixture, shorten_heartbeat};

    #[test]
    fn a_heartbeat_takes_as_many_of_the_sinks_own_fields_along_as_it_has_room_for() {
        let mut alert = fixture::heartbeat();
        shorten_heartbeat(&mut alert);
        let long = ("z-note".to_owned(), "x".repeat(500));
        let static_fields = [("site".to_owned(), "north".to_owned()), long].into();
        let form = Form::new(&SinkConfig { static_fields, ..SinkConfig::stdout() }, Vec::new(), None);
        let text = form.text(&SafeAlert::new(alert), 0, 64 << 10);
        assert!(text.len() <= MAX_HEARTBEAT, "{} bytes", text.len());
        assert!(String::from_utf8(text).unwrap().contains("\"labels\":{\"site\":\"north\"}"));
        let form = |alert| String::from_utf8(form.text(&SafeAlert::new(alert), 0, 64 << 10)).unwrap();
        assert!(form(fixture::gap()).contains("z-note"), "other alerts have all of them");
    }
}

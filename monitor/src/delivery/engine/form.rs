//! An alert in the format of a sink.

use std::collections::BTreeMap;

use crate::alert::{Delivery, SafeAlert, human, render};
use crate::config::{SinkConfig, SinkFormat};

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

    /// The alert's text; `seq` 0: without a number.
    pub(crate) fn text(&self, alert: &SafeAlert, seq: u64, max_bytes: usize) -> Vec<u8> {
        if let Some(style) = &self.terminal {
            return human::text(alert, style).into_bytes();
        }
        let delivery = (seq > 0).then(|| self.delivery(seq)).flatten();
        render(self.format, alert, delivery.as_ref(), &self.static_fields, max_bytes)
    }
}

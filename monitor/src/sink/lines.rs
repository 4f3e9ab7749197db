//! A sink of lines: formats an alert, queues it, writes what the output takes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::backlog::Backlog;
use super::filter::Filter;
use super::output::Output;
use super::{Sink, SinkError, SinkStats};
use crate::alert::{Delivery, MAX_ALERT, SafeAlert, human, render};
use crate::config::{SinkConfig, SinkFormat};

/// A file or standard output, in JSON lines or for people.
pub struct LineSink<O> {
    name: String,
    filter: Filter,
    human: Option<human::Style>,
    format: SinkFormat,
    fields: BTreeMap<String, String>,
    output: O,
    backlog: Backlog,
    retry: Duration,
    /// Not before this, after a failed write.
    not_before: Option<Instant>,
    last_error: String,
    stream: String,
    taken: u64,
}

impl<O: Output> LineSink<O> {
    /// A sink as configured, writing to `output`.
    pub fn new(config: &SinkConfig, output: O) -> Self {
        let width = output.terminal_width();
        let style = human::Style::detect(width);
        let human = match config.format {
            SinkFormat::Human => Some(style),
            SinkFormat::Auto => width.map(|_| style),
            SinkFormat::Json | SinkFormat::Ocsf | SinkFormat::Ecs | SinkFormat::Cef => None,
        };
        Self {
            name: config.name.clone(),
            filter: Filter::new(config),
            human,
            format: config.format,
            fields: config.static_fields.clone(),
            output,
            backlog: Backlog::new(config.buffer),
            retry: config.retry.0,
            not_before: None,
            last_error: String::new(),
            stream: uuid::Uuid::new_v4().to_string(),
            taken: 0,
        }
    }

    fn format(&self, alert: &SafeAlert) -> Vec<u8> {
        match &self.human {
            Some(style) => human::text(alert, style).into_bytes(),
            None => {
                let delivery =
                    Delivery { sink: self.name.clone(), stream: self.stream.clone(), seq: self.taken };
                render(self.format, alert, Some(&delivery), &self.fields, MAX_ALERT)
            }
        }
    }

    fn write(&mut self) -> Result<(), SinkError> {
        if self.not_before.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        self.not_before = None;
        self.backlog.write_to(&mut self.output).map_err(|source| {
            self.not_before = Some(Instant::now() + self.retry);
            self.last_error = format!("cannot write to {}: {source}", self.output.target());
            SinkError::Write {
                sink: self.name.clone(),
                target: self.output.target(),
                source,
                waiting: self.backlog.len(),
            }
        })
    }
}

impl<O: Output> Sink for LineSink<O> {
    fn name(&self) -> &str {
        &self.name
    }

    fn deliver(&mut self, alert: &SafeAlert) -> Result<(), SinkError> {
        if !self.filter.takes(alert) {
            return Ok(());
        }
        self.taken += 1;
        let mut line = self.format(alert);
        line.push(b'\n');
        let full = self.backlog.push(line);
        let written = self.write();
        if full {
            let cause = if self.last_error.is_empty() { "nobody reads it" } else { self.last_error.as_str() };
            return Err(SinkError::Full {
                sink: self.name.clone(),
                dropped: self.backlog.dropped,
                cause: cause.to_owned(),
            });
        }
        written
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.write()
    }

    fn reopen(&mut self) -> Result<(), SinkError> {
        if self.output.reopen()? {
            self.backlog.restart_line();
        }
        self.not_before = None;
        self.write()
    }

    fn stats(&self) -> SinkStats {
        SinkStats {
            taken: self.taken,
            written: self.backlog.done,
            waiting: self.backlog.len() as u64,
            dropped: self.backlog.dropped,
        }
    }
}

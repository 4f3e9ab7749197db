//! Reading a recording: line by line, bounded, each error with its line.

use std::io::BufRead;

use super::format::{Header, Line, RECORDING_SCHEMA};

/// Longest line, bytes: several times the longest that is ever written.
pub const MAX_LINE: u64 = 4 << 20;

/// What is wrong with a recording.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {}", self.what())]
pub struct ReadError {
    /// Line, from 1.
    pub line: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Io(std::io::Error),
    Long,
    Empty,
    Schema(String),
    NotHeader(String),
    NotLine(String),
    Torn,
}

impl ReadError {
    /// What is wrong and what to do, without the line.
    pub fn what(&self) -> String {
        match &self.kind {
            Kind::Io(error) => error.to_string(),
            Kind::Long => format!("the line is longer than {MAX_LINE} bytes; this is no recording"),
            Kind::Empty => "the file is empty; a recording begins with a header".to_owned(),
            Kind::Schema(schema) => format!(
                "the recording is of schema `{}`, this version reads {RECORDING_SCHEMA}; use the version that wrote it",
                schema.escape_default()
            ),
            Kind::NotHeader(error) => {
                format!("the first line is no header of a recording ({RECORDING_SCHEMA}): {error}")
            }
            Kind::NotLine(error) => format!("no line of a recording: {error}"),
            Kind::Torn => "the recording is cut off in the middle of this line".to_owned(),
        }
    }

    /// Whether the recording ends in the middle of this line: what stands before it is whole.
    pub fn is_torn(&self) -> bool {
        matches!(self.kind, Kind::Torn)
    }
}

/// A recording being read.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    header: Header,
    line: u64,
    buffer: Vec<u8>,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// The first line is no header, or that of a version this program does not know.
    pub fn new(mut from: R) -> Result<Self, ReadError> {
        let mut buffer = Vec::new();
        let error = |kind| ReadError { line: 1, kind };
        let ended = match next_line(&mut from, &mut buffer).map_err(error)? {
            Read::Nothing => return Err(error(Kind::Empty)),
            Read::Line { ended } => ended,
        };
        #[derive(serde::Deserialize)]
        struct Schema {
            schema: String,
        }
        let not_header = |error: serde_json::Error| {
            let torn = !ended && error.is_eof();
            ReadError { line: 1, kind: if torn { Kind::Torn } else { Kind::NotHeader(error.to_string()) } }
        };
        let Schema { schema } = serde_json::from_slice(&buffer).map_err(not_header)?;
        if schema != RECORDING_SCHEMA {
            return Err(error(Kind::Schema(schema.chars().take(80).collect())));
        }
        let header: Header = serde_json::from_slice(&buffer).map_err(not_header)?;
        for worker in &header.workers {
            worker.check().map_err(|what| error(Kind::NotHeader(what)))?;
        }
        Ok(Self { from, header, line: 1, buffer })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next line; `None` at the end. Empty lines are passed over.
    ///
    /// # Errors
    /// The line cannot be read or understood.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator of results invites to stop at none of them"
    )]
    pub fn next(&mut self) -> Result<Option<Line>, ReadError> {
        loop {
            self.line += 1;
            let line = self.line;
            let error = |kind| ReadError { line, kind };
            let ended = match next_line(&mut self.from, &mut self.buffer).map_err(error)? {
                Read::Nothing => return Ok(None),
                Read::Line { ended } => ended,
            };
            if self.buffer.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            return match serde_json::from_slice(&self.buffer) {
                Ok(Line::Worker(worker)) => match worker.check() {
                    Ok(()) => Ok(Some(Line::Worker(worker))),
                    Err(what) => Err(error(Kind::NotLine(what))),
                },
                Ok(line) => Ok(Some(line)),
                Err(reason) if !ended && reason.is_eof() => Err(error(Kind::Torn)),
                Err(reason) => Err(error(Kind::NotLine(reason.to_string()))),
            };
        }
    }
}

/// What was read.
enum Read {
    /// The end of the file.
    Nothing,
    /// A line; not `ended`: without its end.
    Line { ended: bool },
}

/// The next line without its end.
fn next_line(from: &mut impl BufRead, buffer: &mut Vec<u8>) -> Result<Read, Kind> {
    buffer.clear();
    let read = std::io::Read::take(&mut *from, MAX_LINE + 1).read_until(b'\n', buffer).map_err(Kind::Io)?;
    if read as u64 > MAX_LINE {
        return Err(Kind::Long);
    }
    let ended = buffer.last() == Some(&b'\n');
    if ended {
        buffer.pop();
    }
    Ok(if read == 0 { Read::Nothing } else { Read::Line { ended } })
}

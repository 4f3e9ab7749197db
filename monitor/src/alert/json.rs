//! An alert as one line of JSON.

use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};

use super::escape;
use super::{Delivery, SafeAlert};

/// The alert as one line, without the line feed. Characters that could steer a terminal are written as `\u` escapes,
/// so that the file can be looked at with `cat`; a JSON reader gets the very same text.
pub fn line(alert: &SafeAlert, delivery: Option<&Delivery>) -> String {
    let mut out = Vec::with_capacity(4096);
    let mut serializer = Serializer::with_formatter(&mut out, AsciiControls);
    let written = match delivery {
        Some(delivery) => {
            let mut copy = (**alert).clone();
            copy.delivery = Some(delivery.clone());
            copy.serialize(&mut serializer)
        }
        None => alert.serialize(&mut serializer),
    };
    debug_assert!(written.is_ok(), "an alert has string keys only and a vector does not fail");
    String::from_utf8(out).unwrap_or_default()
}

/// Compact JSON with the characters of [`escape::is_unsafe`] escaped.
struct AsciiControls;

impl Formatter for AsciiControls {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut from = 0;
        for (at, c) in fragment.char_indices().filter(|(_, c)| escape::is_unsafe(*c)) {
            out.write_all(&fragment.as_bytes()[from..at])?;
            let mut units = [0u16; 2];
            for unit in c.encode_utf16(&mut units) {
                write!(out, "\\u{unit:04x}")?;
            }
            from = at + c.len_utf8();
        }
        out.write_all(&fragment.as_bytes()[from..])
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        serde_json::ser::CompactFormatter.write_char_escape(out, escape)
    }
}

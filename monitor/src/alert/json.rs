//! An alert as one line of JSON.

use std::io;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{CharEscape, Formatter, Serializer};

use super::escape;
use super::{Delivery, SafeAlert};

/// The alert as one line, without the line feed. Characters that could steer a terminal are written as `\u` escapes,
/// so that the file can be looked at with `cat`; a JSON reader gets the very same text.
pub fn line(alert: &SafeAlert, delivery: Option<&Delivery>) -> String {
    let Some(delivery) = delivery else { return alert.line().to_owned() };
    // `delivery` and `truncated` end every alert, so what a sink adds goes in before the last of them.
    let end = format!(",\"truncated\":{}}}", compact(&alert.truncated));
    match alert.line().strip_suffix(end.as_str()) {
        Some(start) if alert.delivery.is_none() => {
            format!("{start},\"delivery\":{}{end}", compact(delivery))
        }
        _ => {
            let mut copy = (**alert).clone();
            copy.delivery = Some(delivery.clone());
            compact(&copy)
        }
    }
}

/// A value as one line of JSON, with what could steer a terminal escaped.
pub(crate) fn compact(value: &impl Serialize) -> String {
    let mut out = Vec::with_capacity(4096);
    let written = value.serialize(&mut Serializer::with_formatter(&mut out, AsciiControls));
    debug_assert!(written.is_ok(), "what is written has string keys only and a vector does not fail");
    String::from_utf8(out).unwrap_or_default()
}

/// Leaves out what says nothing: null, and lists and objects without content. Whether anything is left.
pub(super) fn prune(value: &mut Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(list) => {
            list.retain_mut(prune);
            !list.is_empty()
        }
        Value::Object(object) => {
            object.retain(|_, value| prune(value));
            !object.is_empty()
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// Leaves out what is below these paths (`/a/b`).
pub(super) fn leave_out(value: &mut Value, paths: &[&str]) {
    for path in paths {
        if let Some((parent, name)) = path.rsplit_once('/')
            && let Some(object) = value.pointer_mut(parent).and_then(Value::as_object_mut)
        {
            object.remove(name);
        }
    }
}

/// Compact JSON with the characters of [`escape::is_unsafe`] escaped.
struct AsciiControls;

impl Formatter for AsciiControls {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // Nearly all of it is. To the end in any case: that is done many bytes at a time.
        if fragment.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~')) {
            return out.write_all(fragment.as_bytes());
        }
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

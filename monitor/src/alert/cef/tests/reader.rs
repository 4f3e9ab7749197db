//! A strict reader of CEF, for tests: it refuses what a lenient one would guess at.

use std::collections::BTreeMap;

/// The header's six fields behind the version, and the extension.
pub(super) fn read(line: &str) -> Result<(Vec<String>, BTreeMap<String, String>), String> {
    if let Some(c) = line.chars().find(|c| c.is_control()) {
        return Err(format!("a {c:?} in the line"));
    }
    let mut rest = line.strip_prefix("CEF:0|").ok_or("no version")?;
    let mut header = Vec::new();
    while header.len() < 6 {
        let (field, _, after) = until(rest, '|', "|\\")?;
        header.push(field);
        rest = after.ok_or("the header is short")?;
    }
    Ok((header, extension(rest)?))
}

/// Each unescaped `=` ends a key, which is the word before it.
fn extension(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut fields = BTreeMap::new();
    let (mut key, _, mut rest) = until(text, '=', "")?;
    while let Some(text) = rest {
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(format!("{key:?} is no key"));
        }
        let (value, raw, after) = until(text, '=', "=\\nr")?;
        let (value, next) = match after {
            // A key holds no escape, so it is as long raw as it is read.
            Some(_) => {
                let next = raw.rsplit_once(' ').ok_or_else(|| format!("no key before {raw:?}"))?.1;
                (value[..value.len() - next.len() - 1].to_owned(), next.to_owned())
            }
            None => (value, String::new()),
        };
        if fields.insert(key.clone(), value).is_some() {
            return Err(format!("{key} twice"));
        }
        (key, rest) = (next, after);
    }
    Ok(fields)
}

/// What is before the next unescaped `end`, unescaped and as it is, and what is behind it. Only what `escapes` names may follow a
/// backslash.
fn until<'a>(text: &'a str, end: char, escapes: &str) -> Result<(String, &'a str, Option<&'a str>), String> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == end {
            return Ok((out, &text[..at], Some(&text[at + c.len_utf8()..])));
        }
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some((_, c)) if escapes.contains(c) => out.push(match c {
                'n' => '\n',
                'r' => '\r',
                c => c,
            }),
            other => return Err(format!("a backslash before {other:?} in {text:?}")),
        }
    }
    Ok((out, text, None))
}

#[test]
fn what_is_escaped_is_read_and_what_is_not_is_refused() {
    let (header, fields) =
        read("CEF:0|a\\|b|c\\\\|1|id|a name|5|msg=one \\= two\\\\ three cs1=x\\ny act=z").unwrap();
    assert_eq!(header, ["a|b", "c\\", "1", "id", "a name", "5"]);
    assert_eq!(fields["msg"], "one = two\\ three");
    assert_eq!(fields["cs1"], "x\ny");
    assert_eq!(fields["act"], "z");
    for wrong in ["a=b c=d a=e", "a=b\\x", "a b=c", "a=b c.d=e", "a=b\nc=d"] {
        assert!(read(&format!("CEF:0|v|p|1|id|name|5|{wrong}")).is_err(), "{wrong}");
    }
    assert!(read("CEF:0|v|p|1|id|a\\=b|5|a=b").is_err());
    assert!(read("CEF:0|v|p|1|id|name").is_err());
}

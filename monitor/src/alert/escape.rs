//! Text from a worker, made harmless to look at.
//!
//! File names, arguments and socket names are the attacker's: an escape sequence in one could rewrite the terminal of
//! the person who reads the alert, and a bidi override could make `rm` read as something else.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character may change how the text around it is shown instead of showing itself.
pub fn is_unsafe(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'          // C0, DEL, C1
        | '\u{ad}'                                  // soft hyphen: invisible
        | '\u{61c}' | '\u{200b}'..='\u{200f}'       // bidi marks, zero width
        | '\u{2028}'..='\u{202e}'                   // line and paragraph separator, bidi embedding and override
        | '\u{2060}'..='\u{206f}'                   // invisible operators, bidi isolates, deprecated format characters
        | '\u{180e}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}'                 // tags: invisible text
    )
}

/// `text` with every unsafe character written as `\x1b` or `\u{202e}`, and a backslash as it is.
pub fn for_terminal(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_unsafe(c) && (c as u32) < 0x80 => push(&mut out, format_args!("\\x{:02x}", c as u32)),
            c if is_unsafe(c) => push(&mut out, format_args!("\\u{{{:x}}}", c as u32)),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// An argument as a shell would show it: quoted where it has spaces or quotes, so that two arguments cannot look like
/// one. Safe for a terminal.
pub fn argument(text: &str) -> String {
    let safe = for_terminal(text);
    let plain = |c: char| c.is_alphanumeric() || "-_./:=,@%+~[]{}*?<>".contains(c);
    if !safe.is_empty() && safe.chars().all(plain) {
        return safe.into_owned();
    }
    format!("'{}'", safe.replace('\'', "'\\''"))
}

fn push(out: &mut String, part: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(part);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_text_is_left_alone() {
        assert!(matches!(for_terminal("/usr/bin/naïve – ok"), Cow::Borrowed(_)));
    }

    #[test]
    fn escape_sequences_bidi_and_c1_are_spelled_out() {
        assert_eq!(for_terminal("a\x1b[2Jb"), "a\\x1b[2Jb");
        assert_eq!(for_terminal("x\u{202e}gpj.exe"), "x\\u{202e}gpj.exe");
        assert_eq!(for_terminal("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(for_terminal("a\nb"), "a\\nb");
    }

    #[test]
    fn arguments_are_quoted_where_they_would_mislead() {
        assert_eq!(argument("-c"), "-c");
        assert_eq!(argument("id; ls"), "'id; ls'");
        assert_eq!(argument(""), "''");
        assert_eq!(argument("it's"), "'it'\\''s'");
    }

    proptest! {
        #[test]
        fn no_unsafe_character_is_left(text in any::<String>()) {
            prop_assert!(!for_terminal(&text).chars().any(is_unsafe));
            prop_assert!(!argument(&text).chars().any(is_unsafe));
        }

        #[test]
        fn safe_text_is_unchanged(text in "[a-zA-Z0-9 ./-]{0,40}") {
            prop_assert_eq!(for_terminal(&text), text.as_str());
        }
    }
}

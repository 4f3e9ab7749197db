//! Text that ends neither its field nor the line.

use crate::alert::escape::for_terminal;

/// Characters that one byte may become when it is spelled out.
const MOST_SPELLED: usize = 4;

/// For the header: `|` and `\` escaped, no line end; at most `longest` characters.
pub(super) fn header(text: &str, longest: usize) -> String {
    write(text, longest, |c| matches!(c, '|' | '\\'))
}

/// For a value of the extension: `=` and `\` escaped, no line end; at most `longest` characters.
pub(super) fn extension(text: &str, longest: usize) -> String {
    write(text, longest, |c| matches!(c, '=' | '\\'))
}

/// How many characters a text has once it is written, escapes of the format not counted.
pub(super) fn length(text: &str) -> usize {
    for_terminal(text).chars().count()
}

/// Whether a text is cut to at most `longest` characters.
pub(super) fn is_longer(text: &str, longest: usize) -> bool {
    text.len() > longest / MOST_SPELLED && length(text) > longest
}

/// Line ends and other characters that steer are spelled out (`\n`, `\x1b`): that spelling's backslash is escaped like any
/// other, so a reader gets the spelling back and no line end.
fn write(text: &str, longest: usize, special: impl Fn(char) -> bool) -> String {
    let safe = for_terminal(text);
    let mut out = String::with_capacity(safe.len() + 8);
    for (index, c) in safe.chars().enumerate() {
        if index + 1 >= longest && safe.chars().nth(longest).is_some() {
            out.push('…');
            break;
        }
        if special(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

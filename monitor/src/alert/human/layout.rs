//! Lines of a page: wrapped to the terminal, indented, coloured where colour is wanted, escaped always.

use std::fmt::Write;

use super::super::{Severity, escape};

/// Column where values start.
const VALUE: usize = 12;

/// How text is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns.
    pub width: usize,
    /// With ANSI colours.
    pub color: bool,
}

impl Style {
    /// Without colour, 100 columns: for files and pipes.
    pub const PLAIN: Self = Self { width: 100, color: false };

    /// For a terminal of this width (`None`: not a terminal). Colour only on a terminal that is not `dumb`, and not
    /// when `NO_COLOR` is set to anything.
    pub fn detect(terminal: Option<usize>) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        match terminal {
            Some(width) => Self { width: width.clamp(40, 160), color: !no_color && !dumb },
            None => Self::PLAIN,
        }
    }
}

/// Text in the making.
pub(super) struct Page<'a> {
    style: &'a Style,
    out: String,
}

impl<'a> Page<'a> {
    pub(super) fn new(style: &'a Style) -> Self {
        Self { style, out: String::new() }
    }

    pub(super) fn finish(self) -> String {
        self.out.trim_end_matches('\n').to_owned()
    }

    /// A line across the page with a coloured label.
    pub(super) fn banner(&mut self, severity: Severity, label: &str) {
        let color = match severity {
            Severity::Critical => "1;97;41",
            Severity::High => "1;31",
            Severity::Medium => "1;33",
            Severity::Low => "33",
            Severity::Info => "36",
        };
        let label = escape::for_terminal(label);
        let rest = self.style.width.saturating_sub(label.chars().count() + 5);
        let painted = self.paint(color, &format!(" {label} "));
        let _ = writeln!(self.out, "━━{painted}{}", "━".repeat(rest));
    }

    pub(super) fn title(&mut self, text: &str) {
        for line in wrap(&escape::for_terminal(text), self.style.width) {
            let painted = self.paint("1", &line);
            let _ = writeln!(self.out, "{painted}");
        }
    }

    pub(super) fn dim(&mut self, text: &str) {
        for line in wrap(&escape::for_terminal(text), self.style.width) {
            let painted = self.paint("2", &line);
            let _ = writeln!(self.out, "{painted}");
        }
    }

    pub(super) fn gap(&mut self) {
        self.out.push('\n');
    }

    /// `Name      value`, the value wrapped below itself.
    pub(super) fn field(&mut self, name: &str, value: &str) {
        let name = format!("  {name:<width$}", width = VALUE - 2);
        let name = self.paint("36", &name);
        self.hang(&name, value, VALUE);
    }

    /// More of the field above.
    pub(super) fn more(&mut self, value: &str) {
        self.hang(&" ".repeat(VALUE), value, VALUE);
    }

    pub(super) fn section(&mut self, title: &str) {
        let title = self.paint("1", title);
        let _ = writeln!(self.out, "\n  {title}");
    }

    /// `mark text` below a section.
    pub(super) fn item(&mut self, mark: &str, text: &str) {
        let mark = &*escape::for_terminal(mark);
        let indent = 4 + if mark.is_empty() { 2 } else { mark.chars().count() + 1 };
        let lead = if mark.is_empty() { " ".repeat(indent) } else { format!("    {mark} ") };
        self.hang(&lead, text, indent);
    }

    fn hang(&mut self, lead: &str, text: &str, indent: usize) {
        let room = self.style.width.saturating_sub(indent).max(20);
        for (index, line) in wrap(&escape::for_terminal(text), room).iter().enumerate() {
            if index == 0 {
                let _ = writeln!(self.out, "{lead}{line}");
            } else {
                let _ = writeln!(self.out, "{}{line}", " ".repeat(indent));
            }
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.style.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Breaks at blanks; a word longer than a line is broken where it must be. At least one line.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split_inclusive(' ') {
        let length = word.trim_end().chars().count();
        if used > 0 && used + length > width {
            lines.push(std::mem::take(&mut line).trim_end().to_owned());
            used = 0;
        }
        for c in word.chars() {
            if used >= width && c != ' ' {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(c);
            used += 1;
        }
    }
    lines.push(line.trim_end().to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrap_breaks_at_blanks_and_inside_long_words() {
        assert_eq!(wrap("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("", 3), [""]);
        assert_eq!(wrap("a  b", 10), ["a  b"]);
    }
}

//! Globs over paths and over flat text.
//!
//! Path globs: `*`, `?` and `[…]` stay within one component, `**` as a whole component is any number of components,
//! `{a,b}` are alternatives, `~` at the start is any home folder. A worker's home may be anywhere (`/opt/airflow`,
//! `/data`), so `~` stands for any folder at all; what follows it has to be telling. Flat text may begin with `(?i)`: then
//! upper and lower case (of ASCII) are the same.

use std::fmt;

/// What a flat glob begins with whose case does not matter.
const ANY_CASE: &str = "(?i)";
/// Most alternatives that the braces of one pattern may expand to.
const ALTERNATIVES_MAX: usize = 256;

/// Why a pattern is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GlobError(pub(crate) String);

impl fmt::Display for GlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One element of a component's pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// This text.
    Literal(Box<str>),
    /// Any text.
    Star,
    /// Any one character.
    One,
    /// One character in (or, if negated, not in) these ranges.
    Class { negated: bool, ranges: Box<[(char, char)]> },
}

/// One component of a path glob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Component {
    /// `**`: any number of components.
    Deep,
    /// Without wildcards.
    Literal(Box<str>),
    /// With wildcards.
    Pattern(Box<[Piece]>),
}

/// A compiled glob without braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob {
    components: Box<[Component]>,
    /// Flat text: `/` is a character like others, there is one component.
    flat: bool,
    case: Case,
}

/// Whether upper and lower case differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// They do.
    Told,
    /// They do not; the pattern is in lower case.
    Any,
}

impl Case {
    fn same(self, pattern: &str, text: &str) -> bool {
        match self {
            Self::Told => pattern == text,
            Self::Any => pattern.eq_ignore_ascii_case(text),
        }
    }

    /// What follows `pattern` in a text that begins with it.
    fn after<'t>(self, pattern: &str, text: &'t str) -> Option<&'t str> {
        let (head, tail) = text.split_at_checked(pattern.len())?;
        self.same(pattern, head).then_some(tail)
    }

    fn of(self, c: char) -> char {
        if self == Self::Any { c.to_ascii_lowercase() } else { c }
    }
}

impl Glob {
    /// A path glob. Braces must have been expanded.
    pub(crate) fn path(pattern: &str) -> Result<Self, GlobError> {
        let expanded;
        let pattern = match pattern.strip_prefix('~') {
            Some(rest) if rest.starts_with('/') => {
                expanded = format!("/**{rest}");
                expanded.as_str()
            }
            Some(_) => {
                return Err(GlobError("`~` stands for a home folder and must be followed by `/`".into()));
            }
            None => pattern,
        };
        let mut components = Vec::new();
        for component in pattern.split('/') {
            if component == "**" {
                if components.last() != Some(&Component::Deep) {
                    components.push(Component::Deep);
                }
            } else if component.contains("**") {
                return Err(GlobError(format!(
                    "`**` must be a whole path component, not part of `{component}`; write `*` there"
                )));
            } else {
                components.push(compile_component(component)?);
            }
        }
        // `a/**` means something below `a`, not `a` itself.
        if components.len() > 1 && components.last() == Some(&Component::Deep) {
            components.push(Component::Pattern(Box::new([Piece::Star])));
        }
        Ok(Self { components: components.into(), flat: false, case: Case::Told })
    }

    /// A glob over flat text, where `*` also crosses `/`.
    pub(crate) fn flat(pattern: &str) -> Result<Self, GlobError> {
        let (component, case) = match pattern.strip_prefix(ANY_CASE) {
            Some(rest) => (compile_component(&rest.to_ascii_lowercase())?, Case::Any),
            None => (compile_component(pattern)?, Case::Told),
        };
        Ok(Self { components: Box::new([component]), flat: true, case })
    }

    /// Components, for building kernel keys.
    pub(crate) fn components(&self) -> &[Component] {
        &self.components
    }

    /// Whether `text` matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.matches_ending(text, last_component(text))
    }

    /// The same; `last` is the last component of `text`.
    fn matches_ending(&self, text: &str, last: &str) -> bool {
        if self.flat {
            return self.components.first().is_some_and(|c| component_matches(c, text, self.case));
        }
        // No pattern ends with `**`, so the ends belong together: where they differ, nearly always, there is no more to look at.
        if !self.components.last().is_some_and(|end| component_matches(end, last, self.case)) {
            return false;
        }
        // Components are matched left to right; a mismatch goes back to the last `**`, which then takes one more.
        let mut pattern = 0;
        let mut rest = Some(text);
        let mut retry: Option<(usize, &str)> = None;
        loop {
            match (self.components.get(pattern), rest) {
                (None, None) => return true,
                (Some(Component::Deep), _) => {
                    pattern += 1;
                    retry = rest.map(|r| (pattern, r));
                    if pattern == self.components.len() {
                        return true;
                    }
                    continue;
                }
                (Some(component), Some(text)) => {
                    let (head, tail) = split_component(text);
                    if component_matches(component, head, self.case) {
                        pattern += 1;
                        rest = tail;
                        continue;
                    }
                }
                _ => {}
            }
            match retry {
                Some((at, text)) => {
                    let (_, tail) = split_component(text);
                    let Some(tail) = tail else { return false };
                    retry = Some((at, tail));
                    pattern = at;
                    rest = Some(tail);
                }
                None => return false,
            }
        }
    }

    /// The whole path, if there is no wildcard in it.
    pub(crate) fn literal(&self) -> Option<String> {
        let mut out = String::new();
        for (i, component) in self.components.iter().enumerate() {
            let Component::Literal(text) = component else { return None };
            if i > 0 {
                out.push('/');
            }
            out.push_str(text);
        }
        Some(out)
    }
}

fn last_component(text: &str) -> &str {
    text.rsplit_once('/').map_or(text, |(_, last)| last)
}

fn split_component(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((head, tail)) => (head, Some(tail)),
        None => (text, None),
    }
}

fn component_matches(component: &Component, text: &str, case: Case) -> bool {
    match component {
        Component::Deep => true,
        Component::Literal(literal) => case.same(literal, text),
        Component::Pattern(pieces) => pieces_match(pieces, text, case),
    }
}

fn pieces_match(pieces: &[Piece], text: &str, case: Case) -> bool {
    let mut piece = 0;
    let mut rest = text;
    let mut retry: Option<(usize, &str)> = None;
    loop {
        let step = match pieces.get(piece) {
            None if rest.is_empty() => return true,
            None => None,
            Some(Piece::Star) => {
                piece += 1;
                if piece == pieces.len() {
                    return true;
                }
                retry = Some((piece, rest));
                continue;
            }
            Some(Piece::Literal(literal)) => case.after(literal, rest),
            Some(Piece::One) => after_char(rest).map(|(_, tail)| tail),
            Some(Piece::Class { negated, ranges }) => after_char(rest).and_then(|(c, tail)| {
                let c = case.of(c);
                (ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated).then_some(tail)
            }),
        };
        match (step, retry) {
            (Some(tail), _) => {
                piece += 1;
                rest = tail;
            }
            (None, Some((at, text))) => {
                let Some((_, tail)) = after_char(text) else { return false };
                retry = Some((at, tail));
                piece = at;
                rest = tail;
            }
            (None, None) => return false,
        }
    }
}

fn after_char(text: &str) -> Option<(char, &str)> {
    let mut chars = text.chars();
    chars.next().map(|c| (c, chars.as_str()))
}

fn compile_component(text: &str) -> Result<Component, GlobError> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut literal = String::new();
    let mut wild = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let piece = match c {
            '\\' => {
                literal
                    .push(chars.next().ok_or_else(|| GlobError("`\\` at the end escapes nothing".into()))?);
                continue;
            }
            '*' => {
                while chars.peek() == Some(&'*') {
                    chars.next();
                }
                Piece::Star
            }
            '?' => Piece::One,
            '[' => {
                let negated = matches!(chars.peek(), Some('!' | '^'));
                if negated {
                    chars.next();
                }
                let mut ranges = Vec::new();
                loop {
                    let from = match chars.next() {
                        None => {
                            return Err(GlobError(
                                "`[` without `]`; write `\\[` for the character itself".into(),
                            ));
                        }
                        Some(']') if !ranges.is_empty() => break,
                        Some(c) => c,
                    };
                    let mut ahead = chars.clone();
                    match (ahead.next(), ahead.next()) {
                        (Some('-'), Some(to)) if to != ']' => {
                            if to < from {
                                return Err(GlobError(format!("the range `{from}-{to}` is empty")));
                            }
                            ranges.push((from, to));
                            chars = ahead;
                        }
                        _ => ranges.push((from, from)),
                    }
                }
                Piece::Class { negated, ranges: ranges.into() }
            }
            _ => {
                literal.push(c);
                continue;
            }
        };
        wild = true;
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
        }
        pieces.push(piece);
    }
    if !wild {
        return Ok(Component::Literal(literal.into()));
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal.into()));
    }
    Ok(Component::Pattern(pieces.into()))
}

/// The alternatives of a pattern's braces; escapes are kept for the glob compiler.
pub(crate) fn braces(pattern: &str) -> Result<Vec<String>, GlobError> {
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(next) = open.pop() {
        match first_brace(&next)? {
            None => done.push(next),
            Some((start, end, cuts)) => {
                let (head, tail) = (&next[..start], &next[end + 1..]);
                let mut from = start + 1;
                let mut alternatives = Vec::new();
                for cut in cuts.iter().copied().chain([end]) {
                    alternatives.push(format!("{head}{}{tail}", &next[from..cut]));
                    from = cut + 1;
                }
                open.extend(alternatives.into_iter().rev());
            }
        }
        if done.len() + open.len() > ALTERNATIVES_MAX {
            return Err(GlobError(format!("its braces give more than {ALTERNATIVES_MAX} alternatives")));
        }
    }
    Ok(done)
}

/// The first outermost brace: its start, its end, and the commas that belong to it.
fn first_brace(text: &str) -> Result<Option<(usize, usize, Vec<usize>)>, GlobError> {
    let mut depth = 0_usize;
    let mut start = 0;
    let mut cuts = Vec::new();
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
            continue;
        }
        match c {
            '\\' => escaped = true,
            '{' => {
                if depth == 0 {
                    start = at;
                }
                depth += 1;
            }
            '}' if depth == 0 => {
                return Err(GlobError("`}` without `{`; write `\\}` for the character itself".into()));
            }
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some((start, at, cuts)));
                }
            }
            ',' if depth == 1 => cuts.push(at),
            _ => {}
        }
    }
    if depth > 0 {
        return Err(GlobError("`{` without `}`; write `\\{` for the character itself".into()));
    }
    Ok(None)
}

/// Alternatives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Globs(Box<[Glob]>);

impl Globs {
    /// Path globs with braces.
    pub(crate) fn paths<'a>(patterns: impl IntoIterator<Item = &'a String>) -> Result<Self, GlobError> {
        Self::build(patterns, Glob::path)
    }

    /// Flat globs with braces.
    pub(crate) fn flat<'a>(patterns: impl IntoIterator<Item = &'a String>) -> Result<Self, GlobError> {
        Self::build(patterns, Glob::flat)
    }

    fn build<'a>(
        patterns: impl IntoIterator<Item = &'a String>,
        compile: fn(&str) -> Result<Glob, GlobError>,
    ) -> Result<Self, GlobError> {
        let mut globs = Vec::new();
        for pattern in patterns {
            let named = |e: GlobError| GlobError(format!("pattern `{pattern}`: {e}"));
            for alternative in braces(pattern).map_err(named)? {
                globs.push(compile(&alternative).map_err(named)?);
            }
        }
        Ok(Self(globs.into()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let last = last_component(text);
        self.0.iter().any(|g| g.matches_ending(text, last))
    }
}

#[cfg(test)]
mod tests;

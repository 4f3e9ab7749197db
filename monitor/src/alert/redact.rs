//! Arguments without their secrets.
//!
//! Command lines carry passwords and tokens: after a flag, in a `KEY=VALUE`, in a URL, or bare in a shape that gives
//! them away. All of them become [`MASK`] before an alert is formatted. When in doubt the value goes: a masked word costs a
//! little insight, a leaked one is a leak.

use std::borrow::Cow;

mod tables;

use tables::{SECRET_NAMES, SECRET_WORDS, SHORT_FLAGS, TOKEN_STARTS};

/// What stands in place of a secret.
pub const MASK: &str = "[redacted]";

/// The arguments with every secret masked.
pub fn arguments(argv: &[String]) -> Vec<String> {
    let program = argv.first().map_or("", |first| first.rsplit('/').next().unwrap_or(first));
    let short: Vec<&str> = SHORT_FLAGS
        .iter()
        .filter(|(programs, _)| programs.contains(&program))
        .flat_map(|(_, flags)| flags.iter().copied())
        .collect();
    let mut out = Vec::with_capacity(argv.len());
    let mut value_follows = false;
    for (index, argument) in argv.iter().enumerate() {
        if std::mem::take(&mut value_follows) && !is_next_flag(argument) {
            out.push(mask_value(argument));
            continue;
        }
        if index == 0 {
            out.push(text(argument).into_owned());
            continue;
        }
        if short.contains(&argument.as_str())
            || (is_flag(argument) && is_secret_name(argument) && !argument.contains(['=', ' ']))
        {
            value_follows = true;
            out.push(argument.clone());
            continue;
        }
        if let Some(flag) = short.iter().find(|flag| flag.len() == 2 && argument.starts_with(**flag)) {
            out.push(format!("{flag}{MASK}"));
            continue;
        }
        out.push(text(argument).into_owned());
    }
    out
}

/// Free text (an argument, a title, a path) with the secrets in it masked: `KEY=VALUE` and `Key: value` of secret-like
/// names, passwords in URLs, tokens of known shape. Also looks into the words of a shell command line.
pub fn text(text: &str) -> Cow<'_, str> {
    // Short text without any of these cannot hold what is masked here.
    if text.len() < 8 && !text.contains(['=', ':', ' ']) {
        return Cow::Borrowed(text);
    }
    // One word without a name in it, as nearly every path is.
    if !text.bytes().any(|byte| PARTS.get(usize::from(byte)).copied().unwrap_or(true)) {
        return token(text);
    }
    let masked = then(then(headers(text), url_passwords), words);
    // What was masked before is masked again with the same words.
    if masked == text { Cow::Borrowed(text) } else { masked }
}

/// One step after another; a text that none changes is never copied.
fn then<'a>(text: Cow<'a, str>, step: fn(&str) -> Cow<'_, str>) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => step(text),
        Cow::Owned(text) => Cow::Owned(step(&text).into_owned()),
    }
}

fn is_flag(argument: &str) -> bool {
    argument.len() > 1
        && argument.starts_with('-')
        && !argument[1..].starts_with(|c: char| c.is_ascii_digit())
}

/// Whether what comes after a secret-like flag is the next flag: `-x` or `--word`. Anything longer behind one dash may be
/// a password that starts with a dash, and goes.
fn is_next_flag(argument: &str) -> bool {
    let letter = argument.len() == 2 && argument.starts_with('-');
    letter
        || argument.strip_prefix("--").is_some_and(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
}

/// A flag's value: masked whole, unless it says itself that the secret is elsewhere (a file, a variable, stdin).
fn mask_value(value: &str) -> String {
    let elsewhere = value == "-" || value.starts_with('@') && value.starts_with("@/") || is_reference(value);
    if elsewhere { value.to_owned() } else { MASK.to_owned() }
}

/// `$NAME` or `${NAME}` and nothing else: a name, not a value.
fn is_reference(value: &str) -> bool {
    let Some(rest) = value.strip_prefix('$') else { return false };
    let name = rest.strip_prefix('{').and_then(|r| r.strip_suffix('}')).unwrap_or(rest);
    !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// Whether a flag, variable, header or parameter of this name holds a secret.
pub fn is_secret_name(name: &str) -> bool {
    let plain: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    if SECRET_WORDS.iter().any(|word| plain.contains(word)) {
        return true;
    }
    // Whole words: split at separators and at a lower-to-upper step (`dbPass`).
    let mut word = String::new();
    let mut last_lower = false;
    for c in name.chars().chain(std::iter::once('-')) {
        if !c.is_alphanumeric() || (c.is_uppercase() && last_lower) {
            if SECRET_NAMES.contains(&word.as_str()) {
                return true;
            }
            word.clear();
        }
        last_lower = c.is_lowercase();
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
    }
    false
}

/// `Authorization: …`, `X-Api-Key: …`: to the end of the quoted or whole text. Schemes (`Basic`, `Bearer`) are kept.
fn headers(text: &str) -> Cow<'_, str> {
    let mut out = Masked::new(text);
    // Loops, not recursion, here and below: the text is the worker's, and so would be the depth of the stack.
    while let Some(colon) = text[out.from..].find(": ").map(|at| at + out.from) {
        let start = text[out.from..colon]
            .rfind(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_'))
            .map_or(out.from, |at| {
                at + out.from + text[at + out.from..].chars().next().map_or(1, char::len_utf8)
            });
        let after = colon + 2;
        if !is_secret_name(&text[start..colon]) {
            out.from = after;
            continue;
        }
        let quote = text[out.from..start].chars().next_back().filter(|c| matches!(c, '"' | '\''));
        let end = quote.and_then(|q| text[after..].find(q)).map_or(text.len(), |at| after + at);
        let value = &text[after..end];
        let scheme = ["Basic ", "Bearer ", "Token ", "Digest ", "basic ", "bearer ", "token "]
            .iter()
            .find(|s| value.starts_with(**s));
        out.mask(after + scheme.map_or(0, |scheme| scheme.len()), end);
    }
    out.finish()
}

/// `scheme://user:password@host` and `scheme://token@host`, and secret-like query parameters (through [`words`]).
fn url_passwords(text: &str) -> Cow<'_, str> {
    let mut out = Masked::new(text);
    let mut word_end = 0;
    while let Some(found) = text[out.from..].find("://").map(|at| at + out.from) {
        let start = found + 3;
        let end = text[start..]
            .find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '?' | '#'))
            .map_or(text.len(), |at| start + at);
        if word_end < start {
            word_end = text[start..]
                .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\''))
                .map_or(text.len(), |at| start + at);
        }
        // A password may hold `/`: then the `@` comes after it. Take the last `@` before a blank or quote.
        let at = text[start..end].rfind('@').or_else(|| {
            let colon = text[start..end].find(':')?;
            let port = text[start + colon + 1..end].chars().all(|c| c.is_ascii_digit());
            if port { None } else { text[start..word_end].rfind('@') }
        });
        let Some(at) = at.map(|at| start + at) else {
            out.from = start;
            continue;
        };
        let user = &text[start..at];
        match user.find(':') {
            Some(colon) => out.mask(start + colon + 1, at),
            // A user name alone may be a token.
            None if user.len() >= 20 => out.mask(start, at),
            None => out.from = at,
        }
    }
    out.finish()
}

/// A text of which parts are masked, from left to right.
struct Masked<'a> {
    text: &'a str,
    out: String,
    copied: usize,
    /// What is looked at next.
    from: usize,
}

impl<'a> Masked<'a> {
    const fn new(text: &'a str) -> Self {
        Self { text, out: String::new(), copied: 0, from: 0 }
    }

    fn mask(&mut self, start: usize, end: usize) {
        self.put(start, end, MASK);
    }

    fn put(&mut self, start: usize, end: usize, text: &str) {
        self.out.push_str(&self.text[self.copied..start]);
        self.out.push_str(text);
        (self.copied, self.from) = (end, end);
    }

    fn finish(mut self) -> Cow<'a, str> {
        if self.out.is_empty() {
            return Cow::Borrowed(self.text);
        }
        self.out.push_str(&self.text[self.copied..]);
        Cow::Owned(self.out)
    }
}

/// Each word of a command line by itself: assignments, flags with their values, tokens.
fn words(text: &str) -> Cow<'_, str> {
    let mut out = Masked::new(text);
    let mut at = 0;
    let mut value_follows = false;
    while at < text.len() {
        let end = at + next_break(&text[at..]);
        let word = &text[at..end];
        let mut tail = end;
        if !word.is_empty() {
            if std::mem::take(&mut value_follows) && !is_next_flag(word) {
                out.put(at, end, &mask_value(word));
            } else {
                value_follows = is_flag(word) && !word.contains('=') && is_secret_name(word);
                if let Cow::Owned(masked) = one_word(word) {
                    out.put(at, end, &masked);
                }
            }
            if let Some((before, after)) = quoted_value(word, &text[end..]) {
                tail = end + after;
                out.mask(end + before, tail);
                value_follows = false;
            }
        }
        let next = text[tail..].find(|c| !is_break(c)).map_or(text.len(), |breaks| tail + breaks);
        // After a separator of commands no value follows any more.
        if text[tail..next].contains([';', '|', '\n']) {
            value_follows = false;
        }
        at = next;
    }
    out.finish()
}

/// Where in `tail` the quoted value of the secret-like name `word` starts and ends: `PASS='a b'`, `--token "x"`,
/// `"password": "x"`.
fn quoted_value(word: &str, tail: &str) -> Option<(usize, usize)> {
    let is_quote = |c: char| matches!(c, '"' | '\'');
    // The name is looked at last: it costs most, and this is asked for every word of every alert.
    let start = if let Some(name) = word.strip_suffix(['=', ':']) {
        (tail.starts_with(is_quote) && is_secret_name(name)).then_some(0)?
    } else {
        let glue = |c: char| is_quote(c) || matches!(c, ':' | '=' | ' ' | '\\');
        let gap = tail.find(|c| !glue(c)).unwrap_or(tail.len());
        let last = tail[..gap].rfind(is_quote)?;
        // `"password"` alone, or a flag's closing quote, opens nothing; a flag's value comes after a blank.
        let joined = tail[..last].contains([':', '=']) || is_flag(word) && tail.starts_with(' ');
        (joined && is_secret_name(word)).then_some(last)?
    };
    let quote = tail[start..].chars().next()?;
    let open = start + quote.len_utf8();
    let end = tail[open..].find(quote).map_or(tail.len(), |at| open + at);
    let value = tail[open..end].trim_end_matches('\\');
    (!value.is_empty() && value != MASK && !is_reference(value)).then_some((open, open + value.len()))
}

/// Where the first word ends.
fn next_break(text: &str) -> usize {
    let mut at = 0;
    while let Some(byte) = text.as_bytes().get(at) {
        match BREAKS.get(usize::from(*byte)) {
            Some(true) => return at,
            Some(false) => at += 1,
            None => match text[at..].chars().next() {
                Some(c) if !c.is_whitespace() => at += c.len_utf8(),
                _ => return at,
            },
        }
    }
    text.len()
}

fn is_break(c: char) -> bool {
    BREAKS.get(c as usize).copied().unwrap_or_else(|| c.is_whitespace())
}

/// Which characters of ASCII end a word: blanks and what a shell or JSON puts between words.
const BREAKS: [bool; 128] = {
    let mut breaks = [false; 128];
    let ends = b"\t\n\x0b\x0c\r \"';&?|,(){}<>`";
    let mut at = 0;
    while at < ends.len() {
        breaks[ends[at] as usize] = true;
        at += 1;
    }
    breaks
};

/// Characters of ASCII at which a text has parts: those that end a word, and those between a name and its value.
const PARTS: [bool; 128] = {
    let mut parts = BREAKS;
    parts[b'=' as usize] = true;
    parts[b':' as usize] = true;
    parts
};

fn one_word(word: &str) -> Cow<'_, str> {
    let mut from = 0;
    while let Some(equals) = word[from..].find('=').map(|at| at + from) {
        let value = &word[equals + 1..];
        if value.is_empty() {
            break;
        }
        if is_secret_name(&word[from..equals]) {
            let masked = mask_value(value);
            let same = masked == value;
            return if same { Cow::Borrowed(word) } else { Cow::Owned(word[..=equals].to_owned() + &masked) };
        }
        from = equals + 1;
    }
    let last = &word[from..];
    // `"password":"…"` and `password:…` as in JSON and in `user:pass` pairs of secret names.
    if let Some((name, value)) = last.split_once(':')
        && !value.is_empty()
        && !value.starts_with("//")
        && is_secret_name(name)
        && value != MASK
    {
        return Cow::Owned(format!("{}{name}:{MASK}", &word[..from]));
    }
    match token(last) {
        Cow::Borrowed(_) => Cow::Borrowed(word),
        Cow::Owned(masked) => Cow::Owned(word[..from].to_owned() + &masked),
    }
}

fn token(word: &str) -> Cow<'_, str> {
    let mut out = Masked::new(word);
    while let Some((start, end)) = first_token(&word[out.from..]) {
        let from = out.from;
        out.mask(from + start, from + end);
    }
    out.finish()
}

/// Where what gives a token away ends, and where the token ends. Looks only where a token can begin: this is asked for every
/// word of every alert.
fn first_token(word: &str) -> Option<(usize, usize)> {
    let bytes = word.as_bytes();
    let mut boundary = true;
    for (at, byte) in bytes.iter().enumerate() {
        if std::mem::replace(&mut boundary, !byte.is_ascii_alphanumeric())
            && begins_token(*byte, bytes.get(at + 1).copied().unwrap_or(0))
        {
            let rest = &word[at..];
            for (start, least) in TOKEN_STARTS {
                if start.as_bytes()[0] != *byte {
                    continue;
                }
                let Some(body) = rest.strip_prefix(start) else { continue };
                let end = body
                    .find(|c: char| !(c.is_ascii_alphanumeric() || "-_.=+/~".contains(c)))
                    .unwrap_or(body.len());
                if end >= *least && looks_random(&body[..end]) {
                    return Some((at + start.len(), at + start.len() + end));
                }
            }
        }
    }
    None
}

/// Whether one of the starts of tokens begins with these bytes, of which the first is a character of its own.
const fn begins_token(first: u8, second: u8) -> bool {
    // By first byte: a bit for each second one.
    const SECOND: [u128; 128] = {
        let mut second = [0; 128];
        let mut at = 0;
        while at < TOKEN_STARTS.len() {
            let start = TOKEN_STARTS[at].0.as_bytes();
            second[start[0] as usize] |= 1 << start[1];
            at += 1;
        }
        second
    };
    first.is_ascii() && second.is_ascii() && SECOND[first as usize] & (1 << second) != 0
}

/// Letters and digits mixed: `sk-learn-contrib-examples` is a name, a token is not.
fn looks_random(body: &str) -> bool {
    let digits = body.bytes().filter(u8::is_ascii_digit).count();
    let upper = body.bytes().filter(u8::is_ascii_uppercase).count();
    digits + upper >= 2
}

#[cfg(test)]
mod tests;

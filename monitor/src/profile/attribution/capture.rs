//! Patterns with `{field}`s: what stands in their place is taken.
//!
//! `*` is any text and `{field}` any text but none at all, both within one path component; `**` as a whole component (or
//! argument) is any number of them. A pattern has few of either, so that no text can make matching slow.

use std::fmt;
use std::sync::Arc;

use super::Field;
use crate::profile::pattern::Glob;

/// Most `*` and `{field}` in one component or argument.
const WILD_MAX: usize = 3;
/// Most `**` in one pattern.
const DEEP_MAX: usize = 2;
/// Most components or arguments that are looked at.
const LENGTH_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Star,
    Field(Field),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Deep,
    Pieces(Box<[Piece]>),
}

/// A path with `{field}`s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathCapture {
    text: Arc<str>,
    parts: Box<[Part]>,
}

/// Arguments with `{field}`s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgvCapture {
    parts: Box<[Part]>,
}

impl PathCapture {
    /// Compiles a path pattern; the error says what is wrong with it.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        if !pattern.starts_with('/') && !pattern.starts_with("**/") {
            return Err(format!("`{pattern}` is no path; begin it with `/` or `**/`"));
        }
        let parts = compile(pattern.split('/'))?;
        Ok(Self { text: pattern.into(), parts })
    }

    /// The fields it fills.
    pub(crate) fn fields(&self) -> Vec<Field> {
        fields(&self.parts)
    }

    /// The same paths as a glob: what the kernel has to report.
    pub(crate) fn glob(&self) -> (String, Result<Glob, String>) {
        let mut text = self.text.to_string();
        for field in Field::ALL {
            text = text.replace(&format!("{{{}}}", field.name()), "*");
        }
        while text.contains("***") {
            text = text.replace("***", "*");
        }
        let glob = Glob::path(&text).map_err(|error| error.to_string());
        (text, glob)
    }

    /// What the path has in the place of the fields; nothing if it does not match.
    pub(crate) fn captures<'a>(&self, path: &'a str) -> Vec<(Field, &'a str)> {
        let components: Vec<&str> = path.split('/').take(LENGTH_MAX + 1).collect();
        captures(&self.parts, &components, false)
    }
}

impl fmt::Display for PathCapture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl ArgvCapture {
    /// Compiles a pattern of arguments; the error says what is wrong with it.
    pub(crate) fn new(pattern: &[String]) -> Result<Self, String> {
        Ok(Self { parts: compile(pattern.iter().map(String::as_str))? })
    }

    /// The fields it fills.
    pub(crate) fn fields(&self) -> Vec<Field> {
        fields(&self.parts)
    }

    /// What the arguments have in the place of the fields; nothing if they do not match.
    pub(crate) fn captures<'a>(&self, argv: &'a [Arc<str>]) -> Vec<(Field, &'a str)> {
        let arguments: Vec<&str> = argv.iter().map(|arg| &**arg).take(LENGTH_MAX + 1).collect();
        captures(&self.parts, &arguments, true)
    }
}

fn fields(parts: &[Part]) -> Vec<Field> {
    let pieces = parts.iter().flat_map(|part| match part {
        Part::Deep => &[][..],
        Part::Pieces(pieces) => pieces,
    });
    pieces
        .filter_map(|piece| match piece {
            Piece::Field(field) => Some(*field),
            _ => None,
        })
        .collect()
}

fn compile<'a>(parts: impl Iterator<Item = &'a str>) -> Result<Box<[Part]>, String> {
    let mut out = Vec::new();
    for part in parts {
        if part == "**" {
            if out.last() != Some(&Part::Deep) {
                out.push(Part::Deep);
            }
        } else {
            out.push(Part::Pieces(pieces(part)?));
        }
    }
    if out.iter().filter(|part| **part == Part::Deep).count() > DEEP_MAX {
        return Err(format!("more than {DEEP_MAX} `**`; leave some out"));
    }
    let mut seen = fields(&out);
    seen.sort_unstable();
    if let Some(twice) = seen.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("`{{{}}}` is there twice", twice[0].name()));
    }
    if seen.is_empty() {
        return Err("there is no `{field}` in the pattern, so it takes nothing".to_owned());
    }
    Ok(out.into())
}

fn pieces(part: &str) -> Result<Box<[Piece]>, String> {
    let mut out: Vec<Piece> = Vec::new();
    let mut rest = part;
    while !rest.is_empty() {
        let end = rest.find(['*', '{']).unwrap_or(rest.len());
        if end > 0 {
            out.push(Piece::Text(rest[..end].into()));
            rest = &rest[end..];
        } else if let Some(tail) = rest.strip_prefix('*') {
            if tail.starts_with('*') {
                return Err(format!("`**` must stand alone, not in `{part}`; write `*` there"));
            }
            out.push(Piece::Star);
            rest = tail;
        } else {
            let Some((name, tail)) = rest[1..].split_once('}') else {
                return Err(format!("`{{` without `}}` in `{part}`"));
            };
            let field = Field::ALL.into_iter().find(|field| field.name() == name).ok_or_else(|| {
                let known: Vec<&str> = Field::ALL.iter().map(|field| field.name()).collect();
                format!("`{{{name}}}` is no field; there are {}", known.join(", "))
            })?;
            out.push(Piece::Field(field));
            rest = tail;
        }
    }
    let wild = |piece: &Piece| !matches!(piece, Piece::Text(_));
    if out.windows(2).any(|pair| wild(&pair[0]) && wild(&pair[1])) {
        return Err(format!("in `{part}` nothing tells where one wildcard ends and the next begins"));
    }
    if out.iter().filter(|piece| wild(piece)).count() > WILD_MAX {
        return Err(format!("more than {WILD_MAX} wildcards in `{part}`"));
    }
    Ok(out.into())
}

fn captures<'a>(parts: &[Part], texts: &[&'a str], cross: bool) -> Vec<(Field, &'a str)> {
    let mut out = Vec::new();
    if texts.len() > LENGTH_MAX || !walk(parts, texts, cross, &mut out) {
        return Vec::new();
    }
    out
}

fn walk<'a>(parts: &[Part], texts: &[&'a str], cross: bool, out: &mut Vec<(Field, &'a str)>) -> bool {
    let Some((part, parts)) = parts.split_first() else { return texts.is_empty() };
    match part {
        Part::Deep => (0..=texts.len()).any(|skip| walk(parts, &texts[skip..], cross, out)),
        Part::Pieces(pieces) => {
            let Some((text, texts)) = texts.split_first() else { return false };
            let before = out.len();
            let holds = one(pieces, text, cross, out) && walk(parts, texts, cross, out);
            if !holds {
                out.truncate(before);
            }
            holds
        }
    }
}

/// One component or argument. `cross`: a field may hold `/` (an argument's does).
fn one<'a>(pieces: &[Piece], text: &'a str, cross: bool, out: &mut Vec<(Field, &'a str)>) -> bool {
    let Some((piece, rest)) = pieces.split_first() else { return text.is_empty() };
    match piece {
        Piece::Text(literal) => text.strip_prefix(&**literal).is_some_and(|text| one(rest, text, cross, out)),
        Piece::Star | Piece::Field(_) => {
            let field = if let Piece::Field(field) = piece { Some(*field) } else { None };
            let least = usize::from(field.is_some());
            for end in (least..=text.len()).filter(|end| text.is_char_boundary(*end)) {
                if text[..end].contains('/') && !(cross && field.is_some()) {
                    return false;
                }
                let before = out.len();
                if let Some(field) = field {
                    out.push((field, &text[..end]));
                }
                if one(rest, &text[end..], cross, out) {
                    return true;
                }
                out.truncate(before);
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(pattern: &str, path: &str) -> Vec<(Field, String)> {
        let pattern = PathCapture::new(pattern).unwrap();
        pattern.captures(path).into_iter().map(|(field, value)| (field, value.to_owned())).collect()
    }

    #[test]
    fn fields_take_what_stands_in_their_place() {
        let pattern = "/opt/airflow/logs/dag_id={workflow}/run_id={run}/task_id={step}/attempt=*.log";
        let got = path(
            pattern,
            "/opt/airflow/logs/dag_id=etl/run_id=manual__2026-01-01T00:00:00+00:00/task_id=load/attempt=1.log",
        );
        let want = [
            (Field::Workflow, "etl".to_owned()),
            (Field::Run, "manual__2026-01-01T00:00:00+00:00".to_owned()),
            (Field::Step, "load".to_owned()),
        ];
        assert_eq!(got, want);
        assert_eq!(
            path("**/{workflow}@tmp/durable-*/script.sh*", "/j/ws/app/main@tmp/durable-1a/script.sh.copy"),
            [(Field::Workflow, "main".to_owned())]
        );
        assert_eq!(path("/w/{workflow}/**", "/w/app/app"), [(Field::Workflow, "app".to_owned())]);
    }

    #[test]
    fn nothing_is_taken_where_the_pattern_does_not_match() {
        for (pattern, text) in [
            ("/w/{workflow}/x", "/w//x"),
            ("/w/{workflow}", "/w/a/b"),
            ("/w/{workflow}-{run}", "/w/a"),
            ("/w/{workflow}", "relative/w/a"),
        ] {
            assert_eq!(path(pattern, text), [], "{pattern} {text}");
        }
    }

    #[test]
    fn arguments_may_hold_slashes() {
        let pattern: Vec<String> =
            ["airflow", "tasks", "run", "{workflow}", "--run={run}", "**"].map(str::to_owned).into();
        let pattern = ArgvCapture::new(&pattern).unwrap();
        let argv: Vec<Arc<str>> = ["airflow", "tasks", "run", "a/b", "--run=x/1"].map(Arc::from).into();
        assert_eq!(pattern.captures(&argv), [(Field::Workflow, "a/b"), (Field::Run, "x/1")]);
        assert_eq!(pattern.captures(&argv[..4]), []);
    }

    #[test]
    fn patterns_that_say_nothing_or_too_much_are_refused() {
        for (pattern, part) in [
            ("/a/b", "takes nothing"),
            ("/a/{run}{step}", "nothing tells"),
            ("/a/{rnu}", "no field"),
            ("/{run}/{run}", "twice"),
            ("{run}/x", "begin it with"),
            ("/a/**/b/**/c/**/{run}", "`**`"),
            ("/a/x**{run}", "stand alone"),
            ("/a/{run", "without"),
        ] {
            let error = PathCapture::new(pattern).unwrap_err();
            assert!(error.contains(part), "{pattern}: {error}");
        }
    }

    #[test]
    fn kernel_reports_every_path_that_matches() {
        let pattern = PathCapture::new("/x/{workflow}/run_{run}-*/log").unwrap();
        let (text, glob) = pattern.glob();
        assert_eq!(text, "/x/*/run_*-*/log");
        assert!(glob.unwrap().matches("/x/a/run_1-2/log"));
    }

    proptest! {
        /// What is put in comes out, and the glob agrees.
        #[test]
        fn values_come_back(a in "[a-z0-9_.]{1,12}", b in "[A-Za-z0-9:+]{1,20}", deep in proptest::collection::vec("[a-z]{1,5}", 0..4)) {
            let pattern = PathCapture::new("/root/**/job-{workflow}/{run}/x").unwrap();
            let text = format!("/root/{}job-{a}/{b}/x", deep.iter().map(|d| format!("{d}/")).collect::<String>());
            prop_assert_eq!(pattern.captures(&text), vec![(Field::Workflow, a.as_str()), (Field::Run, b.as_str())]);
            prop_assert!(pattern.glob().1.unwrap().matches(&text));
        }

        /// Any text is answered quickly and without a panic.
        #[test]
        fn any_text_is_answered(text in ".{0,400}") {
            let pattern = PathCapture::new("**/a*-{workflow}@*/**/{run}").unwrap();
            let _ = pattern.captures(&text);
        }
    }
}

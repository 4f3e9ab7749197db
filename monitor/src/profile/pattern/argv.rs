//! Argument patterns: one pattern per argument, for a whole list or for arguments that follow each other in one.

use std::sync::Arc;

use super::glob::{GlobError, Globs};
use crate::profile::doc::ArgvPart;

/// One element.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Element {
    /// `**`: any number of arguments.
    Many,
    /// `*`: one argument, whatever it is.
    One,
    /// A glob, where `*` does not cross `/`.
    Globs(Globs),
}

/// A pattern for a whole argument list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ArgvPattern(Box<[Element]>);

impl ArgvPattern {
    /// Compiles the elements.
    pub(crate) fn new(elements: &[String]) -> Result<Self, GlobError> {
        Ok(Self(compile(elements, |text| Globs::paths([text]))?.into()))
    }

    /// The elements anywhere in a list, one after the other; here `*` also crosses `/`.
    fn within(elements: &[String]) -> Result<Self, GlobError> {
        let mut all = vec![Element::Many];
        all.extend(compile(elements, |text| Globs::flat([text]))?);
        all.push(Element::Many);
        Ok(Self(all.into()))
    }

    /// Whether the whole list matches.
    pub(crate) fn matches(&self, argv: &[Arc<str>]) -> bool {
        let mut element = 0;
        let mut arg = 0;
        let mut retry: Option<(usize, usize)> = None;
        loop {
            match self.0.get(element) {
                None if arg == argv.len() => return true,
                Some(Element::Many) => {
                    element += 1;
                    retry = Some((element, arg));
                    continue;
                }
                Some(other) if arg < argv.len() => {
                    let fits = match other {
                        Element::Globs(globs) => globs.matches(&argv[arg]),
                        Element::One | Element::Many => true,
                    };
                    if fits {
                        element += 1;
                        arg += 1;
                        continue;
                    }
                }
                _ => {}
            }
            match retry {
                Some((at, from)) if from < argv.len() => {
                    retry = Some((at, from + 1));
                    element = at;
                    arg = from + 1;
                }
                _ => return false,
            }
        }
    }
}

fn compile(
    elements: &[String],
    globs: impl Fn(&String) -> Result<Globs, GlobError>,
) -> Result<Vec<Element>, GlobError> {
    let element = |text: &String| {
        Ok(match text.as_str() {
            "**" => Element::Many,
            "*" => Element::One,
            _ => Element::Globs(globs(text)?),
        })
    };
    elements.iter().map(element).collect()
}

/// Arguments of which one must be there, argv[0] not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ArgvAny {
    /// One argument.
    one: Globs,
    /// Several that follow each other.
    several: Box<[ArgvPattern]>,
}

impl ArgvAny {
    /// Compiles the parts.
    pub(crate) fn new(parts: &[ArgvPart]) -> Result<Self, GlobError> {
        let mut one = Vec::new();
        let mut several = Vec::new();
        for part in parts {
            match part {
                ArgvPart::One(glob) => one.push(glob),
                ArgvPart::Several(elements) => several.push(ArgvPattern::within(elements)?),
            }
        }
        Ok(Self { one: Globs::flat(one)?, several: several.into() })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.one.is_empty() && self.several.is_empty()
    }

    /// Whether one of them is among the arguments.
    pub(crate) fn matches(&self, argv: &[Arc<str>]) -> bool {
        let arguments = argv.get(1..).unwrap_or_default();
        arguments.iter().any(|argument| self.one.matches(argument))
            || self.several.iter().any(|pattern| pattern.matches(arguments))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &[&str], argv: &[&str]) -> bool {
        let pattern: Vec<String> = pattern.iter().map(|s| (*s).to_owned()).collect();
        let argv: Vec<Arc<str>> = argv.iter().map(|s| Arc::from(*s)).collect();
        ArgvPattern::new(&pattern).unwrap().matches(&argv)
    }

    #[test]
    fn a_lone_star_is_one_argument_whatever_it_holds() {
        assert!(matches(&["*", "-c", "python3 --version"], &["/bin/sh", "-c", "python3 --version"]));
        assert!(!matches(&["*", "-c", "python3 --version"], &["/bin/sh", "-c", "python3 --version; id"]));
        assert!(!matches(&["*", "-c", "python3 --version"], &["/bin/sh", "-c", "python3 --version", "x"]));
    }

    #[test]
    fn a_star_within_an_argument_does_not_cross_slashes() {
        assert!(matches(&["*", "--name=*"], &["x", "--name=abc"]));
        assert!(!matches(&["*", "--name=*"], &["x", "--name=../../etc"]));
    }

    #[test]
    fn double_star_is_any_number_of_arguments() {
        assert!(matches(&["node", "**", "start"], &["node", "start"]));
        assert!(matches(&["node", "**", "start"], &["node", "-a", "start", "start"]));
        assert!(!matches(&["node", "**", "start"], &["node", "start", "x"]));
        assert!(matches(&["**"], &[]));
    }

    #[test]
    fn part_of_the_arguments_is_found_wherever_it_stands_but_in_its_order() {
        let several = |list: &[&str]| ArgvPart::Several(list.iter().map(|s| (*s).to_owned()).collect());
        let parts = [
            ArgvPart::One("--exec=*".to_owned()),
            several(&["clone", "**", "-u*"]),
            several(&["(?i)Key", "?*"]),
        ];
        let any = ArgvAny::new(&parts).unwrap();
        let matches = |argv: &[&str]| any.matches(&argv.iter().map(|s| Arc::from(*s)).collect::<Vec<_>>());
        assert!(matches(&["git", "clone", "-q", "-u/tmp/x", "y"]));
        assert!(matches(&["git", "-C", "/x", "clone", "-u", "x"]));
        assert!(matches(&["git", "config", "kEY", "value"]));
        assert!(matches(&["git", "push", "--exec=/a/b"]));
        assert!(!matches(&["git", "push", "-u", "clone"]), "another order");
        assert!(!matches(&["git", "config", "key"]), "nothing follows");
        assert!(!matches(&["git", "config", "key", ""]), "an empty argument follows");
        assert!(!matches(&["--exec=x", "y"]) && !matches(&[]), "argv[0] is not counted");
        assert!(ArgvAny::new(&[several(&["["])]).is_err());
    }

    /// Every way to share the arguments out, tried.
    fn naive(pattern: &[String], argv: &[String]) -> bool {
        match (pattern.split_first(), argv.split_first()) {
            (None, None) => true,
            (Some((p, rest)), _) if p == "**" => (0..=argv.len()).any(|n| naive(rest, &argv[n..])),
            (Some((p, rest)), Some((a, args))) => (p == "*" || p == a) && naive(rest, args),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn argv_patterns_agree_with_trying_everything(
            pattern in proptest::collection::vec(prop_oneof![Just("**".to_owned()), Just("*".to_owned()), "[ab]"], 0..6),
            argv in proptest::collection::vec("[ab]", 0..7),
        ) {
            let args: Vec<Arc<str>> = argv.iter().map(|s| Arc::from(s.as_str())).collect();
            prop_assert_eq!(ArgvPattern::new(&pattern).unwrap().matches(&args), naive(&pattern, &argv));
        }
    }
}

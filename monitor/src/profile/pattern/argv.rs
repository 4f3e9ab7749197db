//! Argument patterns: one pattern per argument.

use std::sync::Arc;

use super::glob::{GlobError, Globs};

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
        let compile = |text: &String| {
            Ok(match text.as_str() {
                "**" => Element::Many,
                "*" => Element::One,
                _ => Element::Globs(Globs::paths([text])?),
            })
        };
        elements.iter().map(compile).collect::<Result<Vec<_>, _>>().map(|v| Self(v.into()))
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

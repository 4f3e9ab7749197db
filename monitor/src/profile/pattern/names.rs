//! Many program patterns at once: which rules name a program by any of its names.

use std::collections::HashMap;

use super::glob::Glob;
use super::program::{Programs, base};

/// 64 rules a word.
pub(crate) const WORDS: usize = crate::profile::compile::DETECTIONS_MAX / 64;

/// A set of rules by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuleBits([u64; WORDS]);

impl RuleBits {
    /// Adds a rule; numbers beyond the most there can be are left out.
    pub(crate) fn add(&mut self, at: u16) {
        if let Some(word) = self.0.get_mut(usize::from(at) / 64) {
            *word |= 1 << (at % 64);
        }
    }

    /// Whether a rule is in it.
    pub(crate) fn has(&self, at: u16) -> bool {
        self.0.get(usize::from(at) / 64).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    fn join(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
    }
}

/// Rules by the programs they name: most by a plain file name, which is one look-up; the others one by one.
#[derive(Debug, Default)]
pub(crate) struct NameIndex {
    by_name: HashMap<Box<str>, RuleBits>,
    /// File names with wildcards.
    names: Vec<(Glob, u16)>,
    /// Patterns for whole paths.
    paths: Vec<(Glob, u16)>,
}

impl NameIndex {
    /// Adds the programs that a rule names.
    pub(crate) fn insert(&mut self, programs: &Programs, at: u16) {
        for (is_path, glob) in programs.globs() {
            match (is_path, glob.literal()) {
                (true, _) => self.paths.push((glob.clone(), at)),
                (false, Some(name)) => self.by_name.entry(name.into()).or_default().add(at),
                (false, None) => self.names.push((glob.clone(), at)),
            }
        }
    }

    /// The rules that name one of these.
    pub(crate) fn find<const N: usize>(&self, names: [Option<&str>; N]) -> RuleBits {
        let mut found = RuleBits::default();
        for (n, name) in names.iter().enumerate() {
            let Some(name) = name else { continue };
            let file = base(name);
            // Most programs have one file name by whatever name they are called.
            if !names[..n].iter().flatten().any(|before| base(before) == file) {
                if let Some(rules) = self.by_name.get(file) {
                    found.join(rules);
                }
                for (_, at) in self.names.iter().filter(|(glob, _)| glob.matches(file)) {
                    found.add(*at);
                }
            }
            if !names[..n].contains(&Some(*name)) {
                for (_, at) in self.paths.iter().filter(|(glob, _)| glob.matches(name)) {
                    found.add(*at);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_index_finds_what_each_rule_finds_by_itself(
            rules in proptest::collection::vec(
                proptest::collection::vec(
                    "[ab]{1,2}\\*?|(/(\\*\\*|[ab]{1,2}|[ab]\\*)){1,2}/[ab]{1,2}\\*?|\\*\\*/[ab]{1,2}",
                    1..4,
                ),
                1..8,
            ),
            names in proptest::array::uniform3(proptest::option::of("(/[ab]{1,2}){0,2}/?[ab]{1,2}")),
        ) {
            let mut index = NameIndex::default();
            let compiled: Vec<Programs> =
                rules.iter().map(|patterns| Programs::new(patterns.iter()).unwrap()).collect();
            for (at, programs) in (0..).zip(&compiled) {
                index.insert(programs, at);
            }
            let given = names.each_ref().map(Option::as_deref);
            let found = index.find(given);
            for (at, programs) in (0..).zip(&compiled) {
                let alone = given.into_iter().flatten().any(|name| programs.matches(name));
                prop_assert_eq!(found.has(at), alone, "rule {} of {:?} for {:?}", at, &rules, &names);
            }
        }
    }
}

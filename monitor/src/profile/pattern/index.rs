//! Many path globs at once: found by file name or by a folder on the way, so that an open is held against a handful of them
//! and not all.

use std::collections::HashMap;

use super::glob::{Component, Glob};

/// Path globs, each with a value.
#[derive(Clone, Debug)]
pub(crate) struct GlobIndex<T> {
    globs: Vec<(Glob, T)>,
    /// Globs whose last component is literal, by it.
    by_name: HashMap<Box<str>, Vec<u32>>,
    /// The others, by the longest literal component: a folder that is on the way to every path they match.
    by_folder: HashMap<Box<str>, Vec<u32>>,
    /// Those without a literal component.
    rest: Vec<u32>,
}

impl<T> Default for GlobIndex<T> {
    fn default() -> Self {
        Self { globs: Vec::new(), by_name: HashMap::new(), by_folder: HashMap::new(), rest: Vec::new() }
    }
}

/// The text of a component without wildcards, if there is any.
fn folder(component: &Component) -> Option<&str> {
    match component {
        Component::Literal(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

impl<T> GlobIndex<T> {
    /// Adds a glob.
    pub(crate) fn insert(&mut self, glob: Glob, value: T) {
        let at = u32::try_from(self.globs.len()).unwrap_or(u32::MAX);
        match glob.components().last() {
            Some(Component::Literal(name)) => self.by_name.entry(name.clone()).or_default().push(at),
            _ => match glob.components().iter().filter_map(folder).max_by_key(|text| text.len()) {
                Some(folder) => self.by_folder.entry(folder.into()).or_default().push(at),
                None => self.rest.push(at),
            },
        }
        self.globs.push((glob, value));
    }

    /// Calls `found` with the value of every glob that matches; `found` returns whether to go on.
    pub(crate) fn find<'a>(&'a self, path: &str, mut found: impl FnMut(&'a T) -> bool) {
        let mut look = |all: &[u32]| {
            all.iter().all(|at| match self.globs.get(*at as usize) {
                Some((glob, value)) if glob.matches(path) => found(value),
                _ => true,
            })
        };
        let name = path.rsplit('/').next().unwrap_or(path);
        let named = self.by_name.get(name).map_or(&[][..], |all| all);
        if !look(named) || !look(&self.rest) {
            return;
        }
        for (n, folder) in path.split('/').enumerate().filter(|(_, folder)| !folder.is_empty()) {
            if let Some(all) = self.by_folder.get(folder)
                // A folder of the same name further up has led to them already.
                && !path.split('/').take(n).any(|before| before == folder)
                && !look(all)
            {
                return;
            }
        }
    }

    /// The value that comes first in insertion order of all globs that match and for which `wanted` holds.
    pub(crate) fn first<'a>(&'a self, path: &str, wanted: impl Fn(&T) -> bool) -> Option<&'a T>
    where
        T: Ord,
    {
        let mut best: Option<&'a T> = None;
        self.find(path, |value| {
            if wanted(value) && best.is_none_or(|b| value < b) {
                best = Some(value);
            }
            true
        });
        best
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_index_finds_what_a_linear_search_finds(
            patterns in proptest::collection::vec("(/([ab]{1,2}|\\*|\\*\\*|a\\*)){1,4}", 1..12),
            path in "(/[ab]{1,2}){1,5}",
        ) {
            let mut index = GlobIndex::default();
            let mut linear = Vec::new();
            for (i, pattern) in patterns.iter().enumerate() {
                let glob = Glob::path(pattern).unwrap();
                if glob.matches(&path) {
                    linear.push(i);
                }
                index.insert(glob, i);
            }
            let mut found = Vec::new();
            index.find(&path, |i| { found.push(*i); true });
            found.sort_unstable();
            prop_assert_eq!(&found, &linear);
            prop_assert_eq!(index.first(&path, |_| true), linear.first());
        }
    }
}

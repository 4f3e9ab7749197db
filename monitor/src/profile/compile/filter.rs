//! From path patterns to what the kernel filters by.
//!
//! Each pattern gets one key that every path it matches has, the most telling of: a literal path prefix, a literal file
//! name, the name of one of the last three parent folders. The kernel's answer is then a superset of the exact match. A
//! pattern with none of them would have to let every open pass, and is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use monitor_common::filter::{NAME_MAX, PREFIX_MAX};

use crate::profile::error::{Place, RuleError};
use crate::profile::finding::RuleRef;
use crate::profile::pattern::{Component, Glob, Piece};
use crate::profile::ruleset::{KernelFilter, LiteralPath, WatchedKey};
use crate::profile::secret_path::SecretPath;

/// File names that so many programs open that a parent folder or a prefix tells more.
const COMMON_NAMES: [&str; 30] = [
    "config",
    "config.json",
    "config.toml",
    "config.yaml",
    "config.yml",
    "config.xml",
    "credentials",
    "credentials.json",
    "settings.xml",
    "settings.js",
    "settings.json",
    "token",
    "key",
    "auth.json",
    "hosts.yml",
    "database.sqlite",
    "passwd",
    "environ",
    "maps",
    "mem",
    "cmdline",
    "status",
    "root",
    "cwd",
    "index.js",
    "main.py",
    "__init__.py",
    "package.json",
    "data",
    "secret",
];
/// Folders that hold so much that a prefix of only them would pass a good part of all opens.
const BROAD_FOLDERS: [&str; 19] = [
    "",
    "/",
    "/proc",
    "/sys",
    "/dev",
    "/etc",
    "/usr",
    "/usr/lib",
    "/usr/share",
    "/usr/local",
    "/usr/local/lib",
    "/lib",
    "/var",
    "/var/lib",
    "/home",
    "/root",
    "/opt",
    "/tmp",
    "/run",
];
/// Folders below which so much is opened that even a common file name tells more.
const BUSY_FOLDERS: [&str; 6] = [".git", ".cache", ".cargo", ".npm", ".venv", "node_modules"];
/// How many parent folders of a file the kernel compares.
const PARENTS: usize = 3;

/// The key of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The path begins with this.
    Prefix(String),
    /// The file is called this.
    Name(String),
    /// One of its last three parent folders is called this.
    Parent(String),
}

/// What is watched, before it becomes a filter.
#[derive(Debug, Default)]
pub(super) struct Watched {
    keys: Vec<(Key, WatchedKey)>,
    literals: Vec<LiteralPath>,
    secrets: Vec<SecretPath>,
    refused: Vec<(String, Place)>,
}

impl Watched {
    /// Adds a pattern (one alternative of its braces).
    pub(super) fn add(
        &mut self,
        glob: &Glob,
        pattern: &str,
        access: u32,
        rule: &RuleRef,
        identity: Option<&Arc<str>>,
        place: &Place,
    ) {
        // Secrets are also known by their inode, so that no other name hides them. A detection's path is about the name.
        if let Some(identity) = identity
            && let Some(path) = glob.literal().filter(|p| p.starts_with('/'))
        {
            self.literals.push(LiteralPath { path: path.into(), access, identity: Some(identity.clone()) });
        }
        self.secrets.extend(identity.and_then(|identity| SecretPath::new(pattern, identity)));
        let Some(key) = key_of(glob) else {
            self.refused.push((pattern.to_owned(), place.clone()));
            return;
        };
        let (by, text) = match &key {
            Key::Prefix(text) => ("prefix", text),
            Key::Name(text) => ("name", text),
            Key::Parent(text) => ("parent", text),
        };
        let watched =
            WatchedKey { pattern: pattern.to_owned(), by, key: text.clone(), access, rule: rule.clone() };
        self.keys.push((key, watched));
    }

    /// The filter; a pattern without a key is an error.
    pub(super) fn build(self, errors: &mut Vec<RuleError>) -> KernelFilter {
        for (pattern, place) in self.refused {
            errors.push(place.error(
                format!("the kernel cannot filter by `{pattern}`: it has no literal prefix, file name or near parent folder"),
                "make the file name, one of the last three folders, or the beginning of the path literal",
            ));
        }
        let mut prefixes: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        let mut names: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        let mut parents: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        for (key, watched) in &self.keys {
            let (map, text, max) = match key {
                Key::Prefix(text) => (&mut prefixes, text, PREFIX_MAX),
                Key::Name(text) => (&mut names, text, NAME_MAX),
                Key::Parent(text) => (&mut parents, text, NAME_MAX),
            };
            let bytes = text.as_bytes();
            *map.entry(bytes[..bytes.len().min(max)].to_vec()).or_default() |= watched.access;
        }
        // The trie answers with the longest prefix only, so it has to say what the shorter ones say too.
        let plain: Vec<(Vec<u8>, u32)> = prefixes.into_iter().collect();
        let prefixes = plain
            .iter()
            .map(|(long, _)| {
                let bits = plain
                    .iter()
                    .filter(|(short, _)| long.starts_with(short))
                    .fold(0, |bits, (_, b)| bits | b);
                (long.clone(), bits)
            })
            .collect();
        KernelFilter {
            prefixes,
            names: names.into_iter().collect(),
            parents: parents.into_iter().collect(),
            literals: self.literals,
            secrets: self.secrets,
            keys: self.keys.into_iter().map(|(_, watched)| watched).collect(),
        }
    }
}

/// The most telling key of a pattern.
pub(crate) fn key_of(glob: &Glob) -> Option<Key> {
    let components = glob.components();
    let name = match components.last() {
        Some(Component::Literal(name)) if !name.is_empty() => Some(name.to_string()),
        _ => None,
    };
    let prefix = literal_prefix(components);
    let folder = prefix.trim_end_matches('/');
    let telling_prefix = prefix.starts_with('/') && folder.len() > 1 && !BROAD_FOLDERS.contains(&folder);
    let parent = near_parent(components);
    let rare_name = name.as_deref().is_some_and(|n| !COMMON_NAMES.contains(&n));
    let hidden_parent = parent.as_deref().is_some_and(|p| p.starts_with('.') && !BUSY_FOLDERS.contains(&p));
    if telling_prefix {
        return Some(Key::Prefix(prefix));
    }
    if rare_name && let Some(name) = name {
        return Some(Key::Name(name));
    }
    if hidden_parent && let Some(parent) = parent {
        return Some(Key::Parent(parent));
    }
    name.map(Key::Name).or_else(|| parent.map(Key::Parent))
}

/// The text every matching path begins with.
fn literal_prefix(components: &[Component]) -> String {
    let mut out = String::new();
    for (at, component) in components.iter().enumerate() {
        if at > 0 {
            out.push('/');
        }
        match component {
            Component::Literal(text) => out.push_str(text),
            Component::Pattern(pieces) => {
                if let Some(Piece::Literal(head)) = pieces.first() {
                    out.push_str(head);
                }
                return out;
            }
            // `a/**/b` also matches `a/b`: the slash before it is certain, nothing behind it.
            Component::Deep => return out,
        }
    }
    out
}

/// The most telling literal folder that is among the last three parents of every matching path.
fn near_parent(components: &[Component]) -> Option<String> {
    let telling = |folder: &str| (!BUSY_FOLDERS.contains(&folder), folder.starts_with('.'), folder.len());
    let mut best: Option<&str> = None;
    for component in components.iter().rev().skip(1).take(PARENTS) {
        match component {
            Component::Deep => break,
            Component::Literal(text)
                if !text.is_empty() && best.is_none_or(|b| telling(text) > telling(b)) =>
            {
                best = Some(text);
            }
            _ => {}
        }
    }
    best.map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(pattern: &str) -> Option<Key> {
        key_of(&Glob::path(pattern).unwrap())
    }

    #[test]
    fn patterns_get_their_most_telling_key() {
        let prefix = |s: &str| Some(Key::Prefix(s.into()));
        let name = |s: &str| Some(Key::Name(s.into()));
        let parent = |s: &str| Some(Key::Parent(s.into()));
        assert_eq!(key("/etc/shadow"), prefix("/etc/shadow"));
        assert_eq!(key("/run/secrets/**"), prefix("/run/secrets/"));
        assert_eq!(key("/var/lib/kubelet/pods/*/volumes/**"), prefix("/var/lib/kubelet/pods/"));
        assert_eq!(key("~/.ssh/id_*"), parent(".ssh"));
        assert_eq!(key("~/.n8n/config"), parent(".n8n"));
        assert_eq!(key("~/.git-credentials"), name(".git-credentials"));
        assert_eq!(key("/proc/*/environ"), name("environ"));
        assert_eq!(key("~/.config/gcloud/legacy_credentials/**"), None);
        assert_eq!(key("~/.config/gcloud/*"), parent(".config"));
        assert_eq!(key("**/.git/config"), name("config"));
        assert_eq!(key("**/.git/hooks/*"), parent("hooks"));
        assert_eq!(key("/**/*"), None);
        assert_eq!(key("/tmp/krb5cc_*"), prefix("/tmp/krb5cc_"));
    }

    /// What the kernel does with the keys.
    fn passes(key: &Key, path: &str) -> bool {
        let mut parts = path.rsplit('/');
        let last = parts.next().unwrap_or_default();
        match key {
            Key::Prefix(prefix) => {
                path.as_bytes().starts_with(&prefix.as_bytes()[..prefix.len().min(PREFIX_MAX)])
            }
            Key::Name(name) => name == last,
            Key::Parent(parent) => parts.take(PARENTS).any(|p| p == parent),
        }
    }

    fn component() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "[.]?[ab]{1,2}",
            1 => Just("*".to_owned()),
            1 => Just("**".to_owned()),
            1 => "[ab]\\*",
            1 => Just("token".to_owned()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]
        #[test]
        fn the_kernel_passes_every_path_that_the_pattern_matches(
            pattern in proptest::collection::vec(component(), 1..6),
            path in proptest::collection::vec(prop_oneof![3 => "[.]?[ab]{1,2}", 1 => Just("token".to_owned())], 1..7),
        ) {
            let pattern = format!("/{}", pattern.join("/"));
            let path = format!("/{}", path.join("/"));
            let glob = Glob::path(&pattern).unwrap();
            if let Some(key) = key_of(&glob) && glob.matches(&path) {
                prop_assert!(passes(&key, &path), "{pattern} with {key:?} misses {path}");
            }
        }
    }
}

//! The watched-path filter as the probes hold it: what `profile` compiles rules to.

use std::collections::BTreeMap;

use aya::maps::lpm_trie::Key;
use monitor_common::filter::{NAME_MAX, PREFIX_MAX, SKIP_ENTRIES, SKIP_PARENTS, name_key, skip_bit};
use monitor_common::map::{FilterValue, InodeKey, Settings};

use super::error::KernelError;
use super::maps::{FilterMaps, Maps, clear, failed};

/// One generation of the filter. Every entry carries the [`monitor_common::filter::access`] bits it is of interest for.
///
/// The kernel's answer is a superset: the exact pattern is matched by the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelFilter {
    /// Literal path prefixes, at most [`monitor_common::filter::PREFIX_MAX`] bytes (longer ones are cut by [`super::Sensor::set_filter`],
    /// which widens them).
    pub prefixes: Vec<(Vec<u8>, u32)>,
    /// File names (last path component).
    pub names: Vec<(Vec<u8>, u32)>,
    /// Names of one of the last three parent folders.
    pub parents: Vec<(Vec<u8>, u32)>,
    /// Known files.
    pub inodes: Vec<InodeFilter>,
}

/// A file known by device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InodeFilter {
    /// Device, kernel encoding (major << 20 | minor).
    pub dev: u32,
    /// Inode number.
    pub ino: u64,
    /// Inode generation, 0 if any.
    pub generation: u32,
    /// Access bits of interest.
    pub access: u32,
}

impl KernelFilter {
    /// Number of entries of all kinds.
    pub fn len(&self) -> usize {
        self.prefixes.len() + self.names.len() + self.parents.len() + self.inodes.len()
    }

    /// Whether it lets nothing through.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Literal prefixes as the trie holds them: cut to what a key holds, and each with the accesses of every shorter prefix of it, as the
/// trie answers with the longest match only.
fn prefixes(entries: &[(Vec<u8>, u32)]) -> BTreeMap<&[u8], u32> {
    let mut merged: BTreeMap<&[u8], u32> = BTreeMap::new();
    for (prefix, access) in entries {
        *merged.entry(prefix.get(..PREFIX_MAX).unwrap_or(prefix)).or_default() |= access;
    }
    // Shorter prefixes sort before those they begin, so every ancestor is complete when it is met.
    let mut complete: BTreeMap<&[u8], u32> = BTreeMap::new();
    for (prefix, access) in merged {
        let inherited =
            (0..prefix.len()).filter_map(|len| complete.get(&prefix[..len])).fold(0, |all, bits| all | bits);
        complete.insert(prefix, access | inherited);
    }
    complete
}

/// Names as keys; those that are cut to one key share its accesses.
fn names(entries: &[(Vec<u8>, u32)]) -> BTreeMap<[u8; NAME_MAX], u32> {
    let mut merged = BTreeMap::new();
    for (name, access) in entries {
        *merged.entry(name_key(name)).or_default() |= access;
    }
    merged
}

/// Files as keys. If one file is named with several generations, any generation passes: the kernel's answer is a superset.
fn inodes(entries: &[InodeFilter]) -> BTreeMap<(u32, u64), FilterValue> {
    let mut merged: BTreeMap<(u32, u64), FilterValue> = BTreeMap::new();
    for entry in entries {
        let value = merged
            .entry((entry.dev, entry.ino))
            .or_insert(FilterValue { access: 0, generation: entry.generation });
        value.access |= entry.access;
        if value.generation != entry.generation {
            value.generation = 0;
        }
    }
    merged
}

/// Which names the kernel need not look up: those that have first byte and length of no entry.
fn skips(filter: &KernelFilter) -> [u64; SKIP_ENTRIES as usize] {
    let mut table = [u64::MAX; SKIP_ENTRIES as usize];
    for (entries, base) in [(&filter.names, 0), (&filter.parents, SKIP_PARENTS)] {
        for (name, _) in entries {
            // A name longer than a key stands for all that begin like it, whatever their length; they share one bit.
            let (entry, bit) = skip_bit(name.first().copied().unwrap_or(0), name.len() as u64);
            if let Some(word) = table.get_mut((base + entry) as usize) {
                *word &= !bit;
            }
        }
    }
    table
}

impl Maps {
    /// Fills the generation that is not in force, then puts it in force.
    pub(crate) fn set_filter(&mut self, filter: &KernelFilter) -> Result<(), KernelError> {
        let settings = self.settings()?;
        let next = 1 - settings.generation.min(1);
        self.filters[next as usize].fill(filter)?;
        self.set_settings(Settings { generation: next, ..settings })
    }
}

impl FilterMaps {
    /// Makes this generation hold exactly `filter`. It must not be the one in force.
    pub(crate) fn fill(&mut self, filter: &KernelFilter) -> Result<(), KernelError> {
        self.empty()?;
        for (prefix, access) in prefixes(&filter.prefixes) {
            let mut data = [0; PREFIX_MAX];
            data[..prefix.len()].copy_from_slice(prefix);
            let key = Key::new(prefix.len() as u32 * 8, data);
            let value = FilterValue { access, generation: 0 };
            self.prefixes
                .insert(&key, value, 0)
                .map_err(|error| failed("FILTER_PREFIX", "insert", &error))?;
        }
        for (map, what, entries) in [
            (&mut self.names, "FILTER_NAME", names(&filter.names)),
            (&mut self.parents, "FILTER_PARENT", names(&filter.parents)),
        ] {
            for (key, access) in entries {
                let value = FilterValue { access, generation: 0 };
                map.insert(key, value, 0).map_err(|error| failed(what, "insert", &error))?;
            }
        }
        for ((dev, ino), value) in inodes(&filter.inodes) {
            let key = InodeKey { ino, dev, pad: 0 };
            self.inodes.insert(key, value, 0).map_err(|error| failed("FILTER_INODE", "insert", &error))?;
        }
        self.write_skips(&skips(filter))
    }

    fn write_skips(&mut self, table: &[u64; SKIP_ENTRIES as usize]) -> Result<(), KernelError> {
        for (entry, word) in (0..).zip(table) {
            self.skip.set(entry, word, 0).map_err(|error| failed("FILTER_SKIP", "set", &error))?;
        }
        Ok(())
    }

    fn empty(&mut self) -> Result<(), KernelError> {
        // Nothing is skipped while the names change.
        self.write_skips(&[0; SKIP_ENTRIES as usize])?;
        let keys: Vec<_> = self.prefixes.keys().collect();
        clear("FILTER_PREFIX", keys.into_iter(), |key| self.prefixes.remove(&key))?;
        for (map, what) in [(&mut self.names, "FILTER_NAME"), (&mut self.parents, "FILTER_PARENT")] {
            let keys: Vec<_> = map.keys().collect();
            clear(what, keys.into_iter(), |key| map.remove(&key))?;
        }
        let keys: Vec<_> = self.inodes.keys().collect();
        clear("FILTER_INODE", keys.into_iter(), |key| self.inodes.remove(&key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitor_common::filter::access;
    use proptest::prelude::*;

    /// What the kernel does with the keys: longest match.
    fn longest(keys: &BTreeMap<&[u8], u32>, path: &[u8]) -> u32 {
        (0..=path.len()).rev().find_map(|len| keys.get(&path[..len])).copied().unwrap_or(0)
    }

    #[test]
    fn filter_longer_prefix_keeps_the_accesses_of_the_shorter() {
        let entries = [(b"/etc/ssh/".to_vec(), access::WRITE), (b"/etc/".to_vec(), access::READ)];
        assert_eq!(longest(&prefixes(&entries), b"/etc/ssh/x"), access::READ | access::WRITE);
        assert_eq!(longest(&prefixes(&entries), b"/etc/x"), access::READ);
    }

    #[test]
    fn filter_prefix_longer_than_a_key_is_widened() {
        let entries = [(vec![b'a'; PREFIX_MAX + 9], access::READ)];
        assert_eq!(prefixes(&entries).keys().next().map(|key| key.len()), Some(PREFIX_MAX));
    }

    #[test]
    fn filter_inode_of_two_generations_passes_any() {
        let file = |generation, access| InodeFilter { dev: 1, ino: 2, generation, access };
        let merged = inodes(&[file(5, access::READ), file(6, access::WRITE)]);
        assert_eq!(merged[&(1, 2)], FilterValue { access: access::READ | access::WRITE, generation: 0 });
    }

    proptest! {
        #[test]
        fn filter_skips_no_name_that_an_entry_matches(
            watched in proptest::collection::vec(proptest::collection::vec(b'a'..b'd', 1..70), 0..8),
            name in proptest::collection::vec(b'a'..b'd', 1..70),
        ) {
            let filter = KernelFilter {
                names: watched.iter().map(|name| (name.clone(), access::READ)).collect(),
                ..KernelFilter::default()
            };
            let (entry, bit) = skip_bit(name[0], name.len() as u64);
            let skipped = skips(&filter)[entry as usize] & bit != 0;
            let matches = names(&filter.names).contains_key(&name_key(&name));
            prop_assert!(!(skipped && matches));
            for name in &watched {
                let (entry, bit) = skip_bit(name[0], name.len() as u64);
                prop_assert_eq!(skips(&filter)[entry as usize] & bit, 0);
            }
        }

        #[test]
        fn filter_longest_match_is_the_union_of_all_matches(
            entries in proptest::collection::vec((proptest::collection::vec(b'a'..b'c', 0..5), 1u32..8), 0..12),
            path in proptest::collection::vec(b'a'..b'c', 0..8),
        ) {
            let union = entries.iter().filter(|(prefix, _)| path.starts_with(prefix)).fold(0, |all, (_, bits)| all | bits);
            prop_assert_eq!(longest(&prefixes(&entries), &path), union);
        }
    }
}

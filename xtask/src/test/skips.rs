//! `tests/expected-skips.toml`: the only skips that are accepted.

use super::outcome::PlacedSkip;
use super::table::Row;
use crate::host;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::Path;

/// The file's content.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedSkips {
    #[serde(default, rename = "skip")]
    entries: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Tier name; `*` is any text.
    tier: String,
    /// Test name; `*` is any text.
    test: String,
    /// `host`, or a cell such as `5.10-nolsm-tracepoint`; `*` is any text. Everywhere if left out.
    place: Option<String>,
    /// Why this is no loss.
    reason: String,
}

impl ExpectedSkips {
    /// Reads the file; a missing file expects no skip.
    ///
    /// # Errors
    /// It is no TOML, or has unknown or missing keys: the message names the line.
    pub(crate) fn load() -> Result<Self> {
        let path = host::repo()?.join("tests/expected-skips.toml");
        if !path.exists() {
            return Ok(Self::default());
        }
        Self::read(&path)
    }

    fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not as it should be", path.display()))
    }

    /// Whether a skip is expected.
    pub(crate) fn contains(&self, tier: &str, skip: &PlacedSkip) -> bool {
        self.entries.iter().any(|entry| entry.covers(tier, skip))
    }

    /// Entries whose tiers all ran, and in which no skip needed them.
    pub(crate) fn unused(&self, rows: &[Row]) -> Vec<String> {
        self.entries
            .iter()
            .filter(|entry| {
                let mut its = rows.iter().filter(|row| glob(&entry.tier, row.tier)).peekable();
                its.peek().is_some()
                    && its
                        .all(|row| row.ran() && !row.skipped.iter().any(|skip| entry.covers(row.tier, skip)))
            })
            .map(|entry| {
                format!(
                    "expected-skips.toml: nothing skipped {} in tier {} ({})",
                    entry.test, entry.tier, entry.reason
                )
            })
            .collect()
    }
}

impl Entry {
    fn covers(&self, tier: &str, skip: &PlacedSkip) -> bool {
        glob(&self.tier, tier)
            && glob(&self.test, &skip.skip.test)
            && self.place.as_ref().is_none_or(|place| glob(place, &skip.place))
    }
}

/// Whether `text` is `pattern`, in which each `*` stands for any text.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{ExpectedSkips, glob};
    use crate::libtest::Skip;
    use crate::test::outcome::{Outcome, PlacedSkip};
    use crate::test::table::Row;
    use crate::test::tier::{Group, Tier};
    use std::time::Duration;

    #[test]
    fn glob_star_is_any_text_and_all_else_is_literal() {
        assert!(glob("open::*", "open::ia32"));
        assert!(glob("*", ""));
        assert!(glob("a*b*c", "a-b-b-c"));
        assert!(!glob("a*b*c", "a-c-b"));
        assert!(!glob("open", "open::x"));
        assert!(!glob("ab*ba", "aba"));
    }

    #[test]
    fn skip_is_expected_only_in_its_tier_and_place() {
        let expected: ExpectedSkips = toml::from_str(
            "[[skip]]\ntier = \"vm\"\ntest = \"uring*\"\nplace = \"5.10-*\"\nreason = \"no such hook\"\n",
        )
        .unwrap();
        let skip = |place: &str, test: &str| PlacedSkip {
            place: place.into(),
            skip: Skip { test: test.into(), reason: String::new() },
        };
        assert!(expected.contains("vm", &skip("5.10-lsm-auto", "uring_open")));
        assert!(!expected.contains("vm", &skip("6.1-lsm-auto", "uring_open")));
        assert!(!expected.contains("live", &skip("5.10-lsm-auto", "uring_open")));
        assert!(!expected.contains("vm", &skip("5.10-lsm-auto", "open")));
    }

    #[test]
    fn entry_that_nothing_needed_is_told_once_all_its_tiers_ran() {
        let expected: ExpectedSkips =
            toml::from_str("[[skip]]\ntier = \"vm*\"\ntest = \"a\"\nreason = \"r\"\n").unwrap();
        let tier = |name| Tier {
            name,
            title: "",
            group: Group::Full,
            usual: Duration::ZERO,
            run: |_| Ok(Outcome::default()),
        };
        let ran = |name| Row::of(&tier(name), Outcome::default(), &expected, Duration::ZERO);
        assert_eq!(expected.unused(&[ran("vm"), ran("vm-full")]).len(), 1);
        let rows = [ran("vm"), Row::not_run(&tier("vm-full"), "deadline"), ran("live")];
        assert_eq!(expected.unused(&rows), [] as [String; 0]);
        assert_eq!(expected.unused(&[ran("live")]), [] as [String; 0]);
    }

    #[test]
    fn entry_without_reason_or_with_unknown_key_is_refused() {
        assert!(toml::from_str::<ExpectedSkips>("[[skip]]\ntier = \"a\"\ntest = \"b\"\n").is_err());
        let unknown = "[[skip]]\ntier = \"a\"\ntest = \"b\"\nreason = \"c\"\nwhere = \"d\"\n";
        assert!(toml::from_str::<ExpectedSkips>(unknown).is_err());
    }
}

//! `tests/document-commands.toml`: which test executes which command.

use super::read::Command;
use crate::host;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;

pub(super) const PATH: &str = "tests/document-commands.toml";

/// What becomes of a command.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum How {
    /// The tier `docs` executes it.
    Docs,
    /// This tier executes what the document says.
    Tier(String),
    /// This script of a test has it.
    Script(String),
    /// None does, for this reason.
    NotRun(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    command: String,
    by: How,
}

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    #[serde(rename = "entry")]
    entries: Vec<Entry>,
}

impl List {
    pub(super) fn read() -> Result<Self> {
        let path = host::repo()?.join(PATH);
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let list: Self = toml::from_str(text).with_context(|| format!("{PATH} is not as it should be"))?;
        for entry in &list.entries {
            if let How::NotRun(reason) = &entry.by {
                ensure!(
                    !reason.trim().is_empty(),
                    "{PATH}: `{}` is not run and says no reason",
                    entry.command
                );
            }
        }
        Ok(list)
    }

    pub(super) fn how(&self, text: &str) -> Option<&How> {
        self.entries.iter().find(|entry| entry.command == text).map(|entry| &entry.by)
    }

    /// Entries whose command no document has.
    pub(super) fn stale(&self, found: &[Command]) -> Vec<String> {
        let is_there = |entry: &&Entry| found.iter().any(|command| command.text == entry.command);
        let stale = self.entries.iter().filter(|entry| !is_there(entry));
        stale.map(|entry| format!("{PATH}: no document has `{}`", entry.command)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{How, List};
    use crate::commands::read::Command;

    #[test]
    fn entry_says_how_and_one_without_a_command_in_a_document_is_told() {
        let text = "[[entry]]\ncommand = \"a b\"\nby = \"docs\"\n[[entry]]\ncommand = \"c\"\nby = { tier = \"image\" }\n";
        let list = List::parse(text).unwrap();
        assert_eq!(list.how("a b"), Some(&How::Docs));
        assert_eq!(list.how("c"), Some(&How::Tier("image".to_owned())));
        assert_eq!(list.how("a"), None);
        let found = Command { document: "x.md".into(), line: 1, text: "c".into(), is_name: false };
        assert_eq!(list.stale(&[found]).len(), 1);
    }

    #[test]
    fn entry_without_a_reason_or_of_another_shape_is_refused() {
        assert!(List::parse("[[entry]]\ncommand = \"a\"\nby = { not-run = \" \" }\n").is_err());
        assert!(List::parse("[[entry]]\ncommand = \"a\"\nby = \"somebody\"\n").is_err());
        assert!(List::parse("[[entry]]\ncommand = \"a\"\n").is_err());
    }
}

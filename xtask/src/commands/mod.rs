//! The commands of the documents that people install and run sandwatch by: each is executed by a test.
//!
//! `read` finds them, `tests/document-commands.toml` says which test executes each, or why none does. A command without an entry is a
//! failure, and so is an entry whose command no document has any more. Tiers ask for theirs ([`of_tier`]) and execute the very text.

mod here;
mod list;
mod read;

use crate::{host, test};
use anyhow::{Context, Result};
use list::{How, List};
use std::collections::BTreeSet;

pub(crate) use read::block;

/// Tiers that read the commands they execute from the documents.
const EXECUTING: [&str; 4] = ["image", "package", "chart-server", "kubernetes"];

/// The commands that a tier has to execute, in the order of the documents.
///
/// # Errors
/// A document or the list cannot be read.
pub(crate) fn of_tier(tier: &str) -> Result<Vec<String>> {
    let list = List::read()?;
    let is_its = |text: &str| matches!(list.how(text), Some(How::Tier(name)) if name == tier);
    Ok(read::commands()?.into_iter().map(|command| command.text).filter(|text| is_its(text)).collect())
}

/// What is wrong, a line each: commands that no test executes, entries of none, and commands that fail here.
///
/// # Errors
/// A document or the list cannot be read, or the agent does not build.
pub(crate) fn check() -> Result<Vec<String>> {
    let list = List::read()?;
    let found = read::commands()?;
    let mut wrong = list.stale(&found);
    let mut done = BTreeSet::new();
    let here = here::Here::make()?;
    for command in &found {
        if !done.insert(&command.text) {
            continue;
        }
        let complaint = match list.how(&command.text) {
            Some(How::Docs) => here.execute(&command.text).err().map(|error| format!("{error:#}")),
            Some(How::Tier(tier)) => unknown_tier(tier),
            Some(How::Script(path)) => not_in(path, &command.text),
            Some(How::NotRun(_)) => None,
            None if command.is_name => here.is_known(&command.text).err().map(|error| format!("{error:#}")),
            None => Some(format!("no test executes it: enter it into {}", list::PATH)),
        };
        // Whatever else runs it, a command of this very program has to be one.
        let complaint = complaint.or_else(|| crate::refused(&command.text));
        wrong.extend(
            complaint
                .map(|what| format!("{}:{}: `{}`: {what}", command.document, command.line, command.text)),
        );
    }
    Ok(wrong)
}

fn unknown_tier(tier: &str) -> Option<String> {
    let known = EXECUTING.contains(&tier) && test::tier_names().contains(&tier);
    (!known)
        .then(|| format!("{tier} is no tier that executes commands of documents: {}", EXECUTING.join(", ")))
}

/// A script of a test has to have the command word for word.
fn not_in(path: &str, text: &str) -> Option<String> {
    let read = || -> Result<String> {
        let path = host::repo()?.join(path);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    match read() {
        Ok(script) if script.contains(text) => None,
        Ok(_) => Some(format!("it is not in {path}")),
        Err(error) => Some(format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{EXECUTING, not_in, of_tier, unknown_tier};

    #[test]
    fn each_executing_tier_has_commands_and_no_other_is_taken() {
        for tier in EXECUTING {
            assert!(!of_tier(tier).unwrap().is_empty(), "{tier}");
            assert_eq!(unknown_tier(tier), None);
        }
        assert!(unknown_tier("unit").is_some());
    }

    #[test]
    fn script_without_the_command_is_told() {
        assert_eq!(not_in("tests/systemd/check.sh", "systemctl daemon-reload"), None);
        assert!(not_in("tests/systemd/check.sh", "systemctl daemon-reload --now").is_some());
        assert!(not_in("tests/absent.sh", "true").is_some());
    }
}

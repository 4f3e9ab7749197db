//! Commands in Markdown: lines with a prompt in blocks of `console`, and what stands in running text as code and begins with our own programs.

use crate::host;
use anyhow::{Context, Result, anyhow};

/// The documents whose commands are executed.
const DOCUMENTS: [&str; 5] = [
    "docs/install-kubernetes.md",
    "docs/install-host.md",
    "docs/configuration.md",
    "docs/operations.md",
    "docs/security.md",
];
/// What begins a command in running text.
const OURS: [&str; 2] = ["sandwatch ", "cargo xtask "];

/// A command, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) document: String,
    pub(super) line: usize,
    /// Without prompt and remark.
    pub(super) text: String,
    /// It only names a command of the agent in running text.
    pub(super) is_name: bool,
}

/// All of them.
pub(super) fn commands() -> Result<Vec<Command>> {
    let mut all = Vec::new();
    for document in DOCUMENTS {
        all.extend(in_text(document, &text(document)?));
    }
    Ok(all)
}

/// The block of this language in a document that begins with this line.
///
/// # Errors
/// There is none.
pub(crate) fn block(document: &str, language: &str, first: &str) -> Result<String> {
    let text = text(document)?;
    let fence = format!("```{language}\n{first}\n");
    let (_, rest) = text
        .split_once(&fence)
        .ok_or_else(|| anyhow!("{document} has no block of {language} that begins with {first}"))?;
    let body = rest.split("\n```").next().unwrap_or(rest);
    Ok(format!("{first}\n{body}\n"))
}

fn text(document: &str) -> Result<String> {
    std::fs::read_to_string(host::repo()?.join(document)).with_context(|| format!("cannot read {document}"))
}

fn in_text(document: &str, text: &str) -> Vec<Command> {
    let mut found = Vec::new();
    let mut fence: Option<&str> = None;
    for (at, line) in text.lines().enumerate() {
        let mut add = |text: &str, is_name| {
            let text = text.trim().to_owned();
            found.push(Command { document: document.to_owned(), line: at + 1, text, is_name });
        };
        if let Some(language) = line.trim_start().strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(language) };
        } else if fence == Some("console") {
            let command = ["$ ", "# "].iter().find_map(|prompt| line.strip_prefix(prompt));
            if let Some(command) = command {
                add(command.split_once(" # ").map_or(command, |(command, _)| command), false);
            }
        } else if fence.is_none() {
            let code = line.split('`').skip(1).step_by(2);
            for text in code.filter(|text| OURS.iter().any(|ours| text.starts_with(ours))) {
                add(text, text.starts_with("sandwatch ") && text.split_whitespace().count() == 2);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{block, in_text};

    #[test]
    fn commands_are_those_with_a_prompt_and_our_own_in_running_text() {
        let text = "Call `sandwatch doctor`, `sandwatch log verify` or `systemctl x`.\n```console\n$ a b   # why\n# c --d\noutput\n```\n\
                    ```yaml\n# no: command\n```\n";
        let found = in_text("x.md", text);
        let found: Vec<(usize, &str, bool)> = found.iter().map(|c| (c.line, &*c.text, c.is_name)).collect();
        let expected = [
            (1, "sandwatch doctor", true),
            (1, "sandwatch log verify", false),
            (3, "a b", false),
            (4, "c --d", false),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn values_that_a_document_tells_to_write_are_found() {
        let values = block("docs/install-kubernetes.md", "yaml", "# my-values.yaml").unwrap();
        assert!(values.contains("\nsinks:\n") && !values.contains("```"), "{values}");
        assert!(block("docs/install-kubernetes.md", "yaml", "# other.yaml").is_err());
    }
}

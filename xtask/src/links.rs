//! Links in Markdown files: those that point into the repository must lead somewhere.
//!
//! Addresses on the network are not followed: a test must not depend on other people's servers.

use crate::host;
use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;

/// Every broken link, as `file:line: what`.
pub(crate) fn check() -> Result<Vec<String>> {
    let repo = host::repo()?;
    let listed = host::capture(Command::new("git").current_dir(&repo).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "*.md",
    ]))
    .context("cannot list the repository's documentation")?;
    let mut broken = Vec::new();
    for name in listed.lines() {
        let path = repo.join(name);
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let here = path.parent().unwrap_or(&repo);
        for (line, target) in targets(&text) {
            if let Some(complaint) = complaint(here, &repo, &text, target) {
                broken.push(format!("{name}:{line}: {complaint}"));
            }
        }
    }
    Ok(broken)
}

/// The targets of inline links, with their line numbers; code is left out.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        for (at, opening) in line.match_indices("](") {
            let rest = &line[at + opening.len()..];
            let Some(end) = rest.find(')') else { break };
            // An odd number of backticks before it: inside code.
            if line[..at].matches('`').count() % 2 == 0 {
                found.push((number + 1, rest[..end].split_whitespace().next().unwrap_or_default()));
            }
        }
    }
    found
}

fn complaint(here: &Path, repo: &Path, text: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let path = file.strip_prefix('/').map_or_else(|| here.join(file), |from_root| repo.join(from_root));
    if !file.is_empty() && !path.exists() {
        return Some(format!("no such file: {target}"));
    }
    let anchor = anchor?;
    let content =
        if file.is_empty() { text.to_owned() } else { std::fs::read_to_string(&path).unwrap_or_default() };
    if content.lines().filter_map(heading).any(|heading| heading == anchor) {
        None
    } else {
        Some(format!("no such heading: {target}"))
    }
}

/// The anchor of a heading line.
fn heading(line: &str) -> Option<String> {
    let title = line.strip_prefix('#')?.trim_start_matches('#').trim();
    let anchor = title
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c if c.is_alphanumeric() => Some(c.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    Some(anchor)
}

#[cfg(test)]
mod tests {
    use super::{complaint, heading, targets};
    use std::path::Path;

    #[test]
    fn targets_skip_code() {
        let text = "[a](b.md) `[x](y)` [c](d#e \"title\")\n```\n[no](no.md)\n```\n[f](g)\n";
        assert_eq!(targets(text), [(1, "b.md"), (1, "d#e"), (5, "g")]);
    }

    #[test]
    fn missing_file_and_missing_heading_are_told() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = "# One two\n";
        assert!(complaint(here, here, text, "src/main.rs").is_none());
        assert!(complaint(here, here, text, "src/absent.rs").is_some());
        assert!(complaint(here, here, text, "#one-two").is_none());
        assert!(complaint(here, here, text, "#three").is_some());
        assert!(complaint(here, here, text, "https://example.org/x").is_none());
    }

    #[test]
    fn heading_anchors_drop_punctuation() {
        assert_eq!(heading("## What it does, and not!").as_deref(), Some("what-it-does-and-not"));
        assert_eq!(heading("text"), None);
    }
}

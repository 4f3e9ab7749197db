//! Files of a package: where they go, what they are, who may do what with them.

use crate::host;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Not rules: as in `rules/embed`.
const NOT_RULES: [&str; 3] = ["tests", "schema", "embed"];

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Folder { mode: u32 },
    File { mode: u32, content: Vec<u8> },
    Link { to: String },
}

/// Paths without a leading slash, in order; the folders above each are there.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    entries: BTreeMap<String, Entry>,
}

impl Tree {
    pub(super) fn folder(&mut self, path: &str, mode: u32) {
        self.above(path);
        self.entries.insert(path.to_owned(), Entry::Folder { mode });
    }

    pub(super) fn file(&mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) {
        self.above(path);
        self.entries.insert(path.to_owned(), Entry::File { mode, content: content.into() });
    }

    pub(super) fn link(&mut self, path: &str, to: &str) {
        self.above(path);
        self.entries.insert(path.to_owned(), Entry::Link { to: to.to_owned() });
    }

    /// A file of the repository.
    pub(super) fn copy(&mut self, path: &str, mode: u32, from: &str) -> Result<()> {
        let from = host::repo()?.join(from);
        let content = std::fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
        self.file(path, mode, content);
        Ok(())
    }

    /// The shipped rules, below `path`.
    pub(super) fn rules(&mut self, path: &str) -> Result<()> {
        let top = host::repo()?.join("rules");
        let mut files = Vec::new();
        collect(&top, &top, &mut files)?;
        for file in files {
            let name = file.strip_prefix(&top).unwrap_or(&file);
            self.copy(&format!("{path}/{}", name.display()), 0o644, &format!("rules/{}", name.display()))?;
        }
        Ok(())
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    fn above(&mut self, path: &str) {
        let mut rest = path;
        while let Some((above, _)) = rest.rsplit_once('/') {
            self.entries.entry(above.to_owned()).or_insert(Entry::Folder { mode: 0o755 });
            rest = above;
        }
    }
}

fn collect(top: &Path, folder: &Path, out: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !(folder == top && NOT_RULES.contains(&name.as_ref())) {
                collect(top, &path, out)?;
            }
        } else if name.ends_with(".yaml") {
            out.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Entry, Tree};

    #[test]
    fn folders_above_are_there_and_keep_a_mode_that_was_given() {
        let mut tree = Tree::default();
        tree.folder("var/lib/sandwatch", 0o700);
        tree.file("var/lib/sandwatch/a", 0o600, "x");
        tree.link("etc/a", "b");
        let paths: Vec<&str> = tree.entries().map(|(path, _)| path).collect();
        assert_eq!(paths, ["etc", "etc/a", "var", "var/lib", "var/lib/sandwatch", "var/lib/sandwatch/a"]);
        assert!(
            tree.entries()
                .any(|(path, entry)| path == "var/lib/sandwatch" && *entry == Entry::Folder { mode: 0o700 })
        );
    }

    #[test]
    fn rules_are_there_without_their_tests() {
        let mut tree = Tree::default();
        tree.rules("usr/lib/sandwatch/rules").unwrap();
        let paths: Vec<&str> = tree.entries().map(|(path, _)| path).collect();
        assert!(paths.contains(&"usr/lib/sandwatch/rules/profiles/n8n.yaml"));
        assert!(!paths.iter().any(|path| path.contains("rules/tests") || path.contains("rules/schema")));
    }
}

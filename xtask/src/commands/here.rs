//! Commands that need no privileges, executed in a folder of their own: the agent is found, the shipped rules and those of a site that a document shows beside it.

use super::block;
use crate::build::{self, Profile};
use crate::host::{self, capture};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// A test of theirs, as small as it can be.
const TEST: &str = "schema: sandwatch/rule-test/v1\nabout: The way out of the site\nsource: the site\ntests:\n  - name: Who starts goes out\n    \
                    profile: generic\n    steps: [{ role: entry, connect: { to: \"tcp:10.0.0.5:3128\" }, finds: unexpected-connect, tier: deviation }]\n";

pub(super) struct Here {
    folder: PathBuf,
    agent: PathBuf,
}

impl Here {
    pub(super) fn make() -> Result<Self> {
        let agent = build::agent(Profile::Dev)?;
        let folder = host::target()?.join("commands");
        if folder.exists() {
            std::fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        for part in ["bin", "my-rules/tests"] {
            std::fs::create_dir_all(folder.join(part))
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        std::fs::write(folder.join("my-rules/site.yaml"), site()?).context("cannot write rules of a site")?;
        std::fs::write(folder.join("my-rules/tests/site.yaml"), TEST).context("cannot write a test")?;
        std::os::unix::fs::symlink(&agent, folder.join("bin/sandwatch")).context("cannot link the agent")?;
        std::os::unix::fs::symlink(host::repo()?.join("rules"), folder.join("rules"))
            .context("cannot link the rules")?;
        Ok(Self { folder, agent })
    }

    /// As somebody would type it.
    pub(super) fn execute(&self, text: &str) -> Result<()> {
        let old = std::env::var_os("PATH").unwrap_or_default();
        let path =
            std::env::join_paths(std::iter::once(self.folder.join("bin")).chain(std::env::split_paths(&old)))
                .context("the folder cannot be part of PATH")?;
        capture(Command::new("sh").args(["-e", "-c", text]).current_dir(&self.folder).env("PATH", path))
            .map(drop)
    }

    /// Whether the agent has the command that running text names.
    pub(super) fn is_known(&self, text: &str) -> Result<()> {
        let words = text.split_whitespace().skip(1);
        capture(Command::new(&self.agent).args(words).arg("--help").current_dir(&self.folder)).map(drop)
    }
}

/// The rules of a site that the document has a person write into the chart's values.
fn site() -> Result<String> {
    let values = block("docs/install-kubernetes.md", "yaml", "rules:")?;
    let (_, rules) =
        values.split_once("    site.yaml: |\n").context("the document shows no rules of a site")?;
    Ok(rules.lines().map(|line| format!("{}\n", line.strip_prefix("      ").unwrap_or(line))).collect())
}

#[cfg(test)]
mod tests {
    use super::site;

    #[test]
    fn rules_of_a_site_are_those_of_the_document() {
        assert!(site().unwrap().starts_with("schema: sandwatch/endpoints/v1\nendpoints:\n  - "));
    }
}

//! Building the product and its tests, and finding what came out.

use crate::{host, setup};
use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// An executable that cargo made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Executable {
    /// Name of the cargo target.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// Which build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build, slower to run: tests and the demo.
    Dev,
    /// As shipped: benchmarks.
    Release,
}

/// cargo in the repository, with the BPF linker found first.
pub(crate) fn cargo(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new("cargo");
    command.current_dir(host::repo()?).env("PATH", setup::path()?).args(arguments);
    Ok(command)
}

/// Builds the agent and returns its path.
pub(crate) fn agent(profile: Profile) -> Result<PathBuf> {
    let mut arguments = vec!["build", "--package", "monitor", "--bin", "sandwatch"];
    if profile == Profile::Release {
        arguments.push("--release");
    }
    executables(&arguments)?
        .into_iter()
        .find(|e| e.name == "sandwatch")
        .map(|e| e.path)
        .ok_or_else(|| anyhow!("cargo built no sandwatch"))
}

/// Builds the integration tests and returns their executables by target name.
pub(crate) fn integration_tests() -> Result<Vec<Executable>> {
    let mut tests = executables(&["test", "--no-run", "--package", "integration", "--tests"])?;
    // The library's own unit tests need no kernel; they run with the others.
    tests.retain(|test| test.name != "integration");
    tests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tests)
}

/// Runs cargo and collects the executables among its artifacts.
pub(crate) fn executables(arguments: &[&str]) -> Result<Vec<Executable>> {
    let mut command = cargo(arguments)?;
    command.arg("--message-format=json-render-diagnostics");
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", host::shown(&command)))?;
    if !output.status.success() {
        bail!("{} failed: {}", host::shown(&command), output.status);
    }
    parse(&String::from_utf8_lossy(&output.stdout))
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

fn parse(messages: &str) -> Result<Vec<Executable>> {
    let mut found = Vec::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Message = serde_json::from_str(line).context("cargo's messages have changed")?;
        if message.reason == "compiler-artifact"
            && let (Some(target), Some(path)) = (message.target, message.executable)
        {
            found.push(Executable { name: target.name, path });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_artifacts_with_an_executable_count() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"lib"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"sandwatch"},"executable":"/t/sandwatch"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
            "\nrunning 1 test\n"
        );
        let found = parse(messages).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name, "sandwatch");
    }
}

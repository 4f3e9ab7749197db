//! Writes manual pages and shell completions into a folder: `pages FOLDER`.
//!
//! A package of its own, so that neither the agent nor xtask carries what only packages need.

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::Path;
use std::process::ExitCode;

/// Folder below the given one, and how the shell wants its file to be called there.
const SHELLS: [(Shell, &str); 3] =
    [(Shell::Bash, "sandwatch"), (Shell::Zsh, "_sandwatch"), (Shell::Fish, "sandwatch.fish")];

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: pages FOLDER");
        return ExitCode::from(2);
    };
    match write(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pages: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path) -> Result<()> {
    let make = |folder: &Path| {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
    };
    let manual = folder.join("man1");
    make(&manual)?;
    clap_mangen::generate_to(monitor::cli::Cli::command(), &manual)
        .with_context(|| format!("cannot write manual pages to {}", manual.display()))?;
    let completions = folder.join("completions");
    make(&completions)?;
    for (shell, name) in SHELLS {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut monitor::cli::Cli::command(), "sandwatch", &mut text);
        let path = completions.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_command_has_a_page_and_every_shell_its_completions() {
        let folder = std::env::temp_dir().join(format!("sandwatch-pages-{}", std::process::id()));
        super::write(&folder).unwrap();
        for page in ["sandwatch.1", "sandwatch-run.1", "sandwatch-incident-close.1"] {
            let text = std::fs::read_to_string(folder.join("man1").join(page)).unwrap();
            assert!(text.contains(".TH"), "{page}");
        }
        assert!(!folder.join("man1/sandwatch-demo-toy.1").exists(), "hidden commands have no page");
        for (_, name) in super::SHELLS {
            let text = std::fs::read_to_string(folder.join("completions").join(name)).unwrap();
            assert!(text.contains("incident"), "{name}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}

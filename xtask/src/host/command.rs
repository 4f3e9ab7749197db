//! Running other programs, with errors that say which one failed and how.

use anyhow::{Context, Result, bail};
use std::process::{Command, Stdio};

/// Runs a command whose output belongs on the terminal.
///
/// # Errors
/// It cannot be started, or does not exit with 0.
pub(crate) fn checked(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", shown(command));
    }
    Ok(())
}

/// Runs a command and returns what it wrote to standard output.
///
/// # Errors
/// It cannot be started, does not exit with 0 (its standard error is part of the message), or its output
/// is not UTF-8.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed: {}\n{}", shown(command), output.status, complaint.trim_end());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} did not write UTF-8", shown(command)))
}

/// The command as one would type it, cut to a readable length.
pub(crate) fn shown(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
        if line.len() > 300 {
            line.push_str(" …");
            break;
        }
    }
    line
}

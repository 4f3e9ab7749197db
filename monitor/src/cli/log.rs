//! `sandwatch log`: the local log of what the agent did, and whether anybody changed it.

use super::args::{HooksArgs, LogArgs, LogCommand, VerifyArgs};
use super::run::configuration;
use super::{CliError, Exit};
use crate::alert::escape;
use crate::ledger::{Head, Verified, verify};
use crate::state_dir::StateError;

pub(super) fn run(args: &LogArgs) -> Result<Exit, CliError> {
    match &args.command {
        LogCommand::Verify(args) => verify_log(args),
    }
}

fn verify_log(args: &VerifyArgs) -> Result<Exit, CliError> {
    let state_dir = match &args.state_dir {
        Some(dir) => dir.clone(),
        None => configuration(&args.files, &HooksArgs::default())?.state_dir,
    };
    let heads: Vec<Head> =
        args.head.iter().map(|head| head.parse()).collect::<Result<_, _>>().map_err(CliError::usage)?;
    let found = match verify(&state_dir, &heads) {
        Ok(found) => found,
        // No log is not a whole one.
        Err(StateError::Io { path, source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Err(CliError::no(format!("{}: there is no log", path.display())));
        }
        Err(error) => return Err(CliError::new(Exit::Usage, error)),
    };
    if found.entries == 0 && found.broken.is_none() {
        return Err(CliError::no(format!("{}: the log is empty", state_dir.display())));
    }
    crate::observe::say(&told(&found, heads.len()));
    Ok(if found.broken.is_some() { Exit::No } else { Exit::Ok })
}

fn told(found: &Verified, heads: usize) -> String {
    let count =
        |number: u64, one: &str, more: &str| format!("{number} {}", if number == 1 { one } else { more });
    let mut lines = Vec::new();
    let last = found.first.saturating_add(found.entries).saturating_sub(1);
    match &found.broken {
        Some(broken) => {
            lines.push(format!("BROKEN  {broken}"));
            if found.entries > 0 {
                lines.push(format!("        entries {} to {last} follow each other", found.first));
            }
        }
        None => {
            let entries = count(found.entries, "entry", "entries");
            let files = count(found.files as u64, "file", "files");
            lines.push(format!("WHOLE   {entries} in {files}, {} to {last}", found.first));
        }
    }
    lines.extend(found.notes.iter().map(|note| format!("note    {note}")));
    if let Some(head) = &found.head {
        lines.push(format!("head    {head}"));
    }
    if heads == 0 && found.broken.is_none() {
        lines.push(
            "        who may write these files could have written them anew: give --head `log` of a heartbeat that left this node"
                .to_owned(),
        );
    }
    // Names and texts in it may be anybody's.
    lines.iter().map(|line| escape::for_terminal(line)).collect::<Vec<_>>().join("\n")
}

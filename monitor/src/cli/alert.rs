//! `sandwatch alert`: alerts that a receiver refused, as their files in the state directory say.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::args::{AlertArgs, AlertCommand, DeadArgs, FilesArgs, HooksArgs, ReplayDeadArgs};
use super::run::configuration;
use super::{CliError, Exit};
use crate::delivery::{ask_replay, count_dead, is_taken, replay_waits};

/// How long the running agent is waited for: it looks for dead letters to replay each second.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn run(args: &AlertArgs) -> Result<Exit, CliError> {
    match &args.command {
        AlertCommand::Test(args) => super::alert_test::run(args),
        AlertCommand::Dead(args) => dead(args),
        AlertCommand::Replay(args) => replay(args),
    }
}

fn dead(args: &DeadArgs) -> Result<Exit, CliError> {
    let state_dir = state_dir(args.state_dir.as_ref(), &args.files)?;
    let counts = count_dead(&state_dir).map_err(|error| unreadable(&state_dir, &error))?;
    for (sink, count) in &counts {
        let path = state_dir.join("dead").join(format!("{sink}.jsonl"));
        crate::observe::say(&format!("{sink}: {count} dead letter(s), the newest in {}", path.display()));
    }
    if counts.is_empty() {
        crate::observe::say(&format!("No dead letters below {}.", state_dir.display()));
        return Ok(Exit::No);
    }
    Ok(Exit::Ok)
}

fn replay(args: &ReplayDeadArgs) -> Result<Exit, CliError> {
    let state_dir = state_dir(args.state_dir.as_ref(), &args.files)?;
    let sinks =
        ask_replay(&state_dir, args.sink.as_deref()).map_err(|error| unreadable(&state_dir, &error))?;
    if sinks.is_empty() {
        let of = args.sink.as_ref().map_or(String::new(), |sink| format!(" of sink {sink:?}"));
        return Err(CliError::no(format!("there are no dead letters{of} below {}", state_dir.display())));
    }
    let sinks = sinks.join(", ");
    if !is_taken(&state_dir) {
        crate::observe::say(&format!(
            "No agent runs with this state directory; the dead letters of {sinks} are sent when one does."
        ));
        return Ok(Exit::Ok);
    }
    let until = Instant::now() + PATIENCE;
    while replay_waits(&state_dir) {
        if Instant::now() > until {
            return Err(CliError::no(format!(
                "the agent did not take the dead letters of {sinks} within {} s; its log says why",
                PATIENCE.as_secs()
            )));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    crate::observe::say(&format!(
        "The dead letters of {sinks} are on their way again; what is refused again is a dead letter again."
    ));
    Ok(Exit::Ok)
}

fn unreadable(state_dir: &Path, error: &std::io::Error) -> CliError {
    let hint = if error.kind() == std::io::ErrorKind::PermissionDenied { "; run it as root" } else { "" };
    CliError::usage(format!("{}: {error}{hint}", state_dir.join("dead").display()))
}

fn state_dir(given: Option<&PathBuf>, files: &FilesArgs) -> Result<PathBuf, CliError> {
    match given {
        Some(dir) => Ok(dir.clone()),
        None => Ok(configuration(files, &HooksArgs::default())?.state_dir),
    }
}

//! `sandwatch status`: how the running agent is, as it says itself on its socket.
//!
//! `--live` and `--ready` are for probes of Kubernetes and the like: an exit code, and in words what is wrong.

use std::path::PathBuf;

use super::args::{FilesArgs, HooksArgs, StatusArgs};
use super::run::configuration;
use super::{CliError, Exit};
use crate::config;
use crate::control::{self, Ask, AskError, Status};

pub(super) fn run(args: &StatusArgs) -> Result<Exit, CliError> {
    let socket = socket(args.socket.as_ref(), &args.files)?;
    let status: Status = control::ask(&socket, &Ask::Status)?;
    let good = if args.live { status.live } else { status.ready };
    if args.json {
        crate::observe::say(&json(&status)?);
    } else if args.live || args.ready {
        crate::observe::say(&short(&status, args.live, good));
    } else {
        crate::observe::say(&control::page(&status));
    }
    Ok(if good { Exit::Ok } else { Exit::No })
}

fn short(status: &Status, live: bool, good: bool) -> String {
    let word = if live { "live" } else { "ready" };
    if good {
        return word.to_owned();
    }
    // Why it is not ready is no reason for not being live.
    let reasons = control::reasons(status);
    let reasons = if live { &reasons[..reasons.len().min(1)] } else { &reasons[..] };
    format!("not {word}: {}", reasons.join("; "))
}

fn json(status: &Status) -> Result<String, CliError> {
    serde_json::to_string_pretty(status).map_err(|error| CliError::new(Exit::No, error))
}

/// The socket of the agent that is asked.
pub(super) fn socket(given: Option<&PathBuf>, files: &FilesArgs) -> Result<PathBuf, CliError> {
    match given {
        Some(path) => Ok(path.clone()),
        // Whoever broke the configuration wants to know how the agent is all the more.
        None => Ok(configuration(files, &HooksArgs::default()).map_or_else(
            |_| config::state_dir_of(super::run::config_file(files).as_deref()).join(control::SOCKET),
            |config| control::socket_path(&config),
        )),
    }
}

impl From<AskError> for CliError {
    fn from(error: AskError) -> Self {
        Self::new(Exit::No, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Snapshot;

    #[test]
    fn what_is_wrong_is_said_in_words_for_the_probe_it_matters_to() {
        let unready = Snapshot { not_ready: vec!["the canary was not seen".into()], ..Snapshot::default() };
        let second = 1_000_000_000;
        let moves = Status::new(unready.clone(), 100 * second, 101 * second);
        assert_eq!(short(&moves, true, moves.live), "live");
        assert_eq!(short(&moves, false, moves.ready), "not ready: the canary was not seen");
        let hangs = Status::new(unready, 100 * second, 130 * second);
        assert!(!hangs.live && !hangs.ready);
        let line = short(&hangs, true, hangs.live);
        assert!(line.starts_with("not live: the pipeline has not moved for 30 s"), "{line}");
        assert!(!line.contains("canary"), "{line}");
    }
}

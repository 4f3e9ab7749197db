//! `sandwatch incident`: the incidents this node knows, as the running agent and their files in the state directory say.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::args::{CloseArgs, FilesArgs, HooksArgs, IncidentArgs, IncidentCommand, ListArgs, ShowArgs};
use super::run::configuration;
use super::{CliError, Exit};
use crate::alert::{Alert, SafeAlert, State, escape, json};
use crate::control::{self, Ask};
use crate::detect::{CloseRequest, Saved, leave_request, read_incidents, request_waits};

/// How long the running agent is waited for: it looks for requests each second.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn run(args: &IncidentArgs) -> Result<Exit, CliError> {
    match &args.command {
        IncidentCommand::List(args) => list(args),
        IncidentCommand::Show(args) => show(args),
        IncidentCommand::Close(args) => close(args),
    }
}

fn list(args: &ListArgs) -> Result<Exit, CliError> {
    let state_dir = state_dir(args.state_dir.as_ref(), &args.files)?;
    let mut incidents = newest(&state_dir, args)?;
    incidents.retain(|saved| args.all || (saved.state() != State::Closed && !saved.is_digest()));
    if args.json {
        for saved in &incidents {
            crate::observe::say(&json::line(&SafeAlert::new(saved.alert().clone()), None));
        }
    } else if incidents.is_empty() {
        crate::observe::say(&format!("No incident is open below {}.", state_dir.display()));
    } else {
        crate::observe::say(&table(&incidents, &state_dir));
    }
    Ok(if incidents.is_empty() { Exit::No } else { Exit::Ok })
}

fn table(incidents: &[Saved], state_dir: &Path) -> String {
    let mut lines = vec![format!(
        "{:<10} {:<8} {:<9} {:<20} {:<20} WHAT",
        "INCIDENT", "STATE", "TIER", "LAST (UTC)", "WORKER"
    )];
    for saved in incidents {
        let alert = saved.alert();
        let short: String = saved.id().chars().take(8).collect();
        let tier = alert.tier.map_or("", |tier| tier.name());
        let last = alert.incident.as_ref().map_or(&*alert.time, |incident| &*incident.last);
        let last = last.get(..19).unwrap_or(last).replace('T', " ");
        let worker = alert.worker.as_ref().map_or("", |worker| &*worker.name);
        let asked = if request_waits(state_dir, saved.id()) { " (closing is asked for)" } else { "" };
        lines.push(format!(
            "{short:<10} {:<8} {tier:<9} {last:<20} {:<20} {}{asked}",
            saved.state().name(),
            escape::for_terminal(worker),
            escape::for_terminal(&alert.title),
        ));
    }
    lines.join("\n")
}

fn show(args: &ShowArgs) -> Result<Exit, CliError> {
    let state_dir = state_dir(args.state_dir.as_ref(), &args.files)?;
    let saved = find(&state_dir, &args.id)?;
    let alert = saved.alert().clone();
    let text = if args.json {
        json::line(&SafeAlert::new(alert), None)
    } else {
        super::explain::explained(alert, &super::doctor::style())
    };
    crate::observe::say(&text);
    Ok(Exit::Ok)
}

fn close(args: &CloseArgs) -> Result<Exit, CliError> {
    let state_dir = state_dir(args.state_dir.as_ref(), &args.files)?;
    let saved = find(&state_dir, &args.id)?;
    let short: String = saved.id().chars().take(8).collect();
    if saved.state() == State::Closed {
        return Err(CliError::no(format!("incident {short} is closed already{}", closed_by(saved.alert()))));
    }
    let request = CloseRequest {
        id: saved.id().to_owned(),
        by: args.by.clone(),
        reason: args.reason.clone(),
        time: jiff::Timestamp::now().to_string(),
    };
    let request = request.check().map_err(CliError::usage)?;
    leave_request(&state_dir, &request).map_err(|error| CliError::new(Exit::Usage, error))?;
    let until = Instant::now() + PATIENCE;
    while request_waits(&state_dir, saved.id()) {
        if Instant::now() > until {
            crate::observe::say(&format!(
                "No agent took the request yet; incident {short} is closed as soon as one runs with this state directory."
            ));
            return Ok(Exit::Ok);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let now = find(&state_dir, saved.id())?;
    if now.state() != State::Closed {
        return Err(CliError::no(format!("the agent did not close incident {short}; its log says why")));
    }
    crate::observe::say(&format!("Incident {short} is closed."));
    Ok(Exit::Ok)
}

fn closed_by(alert: &Alert) -> String {
    let closure = alert.incident.as_ref().and_then(|incident| incident.closure.as_ref());
    closure.map_or(String::new(), |closure| {
        format!(", by {}: {}", escape::for_terminal(&closure.by), escape::for_terminal(&closure.reason))
    })
}

/// All incidents: as the running agent knows them, and those that only their files tell of.
fn newest(state_dir: &Path, args: &ListArgs) -> Result<Vec<Saved>, CliError> {
    let socket = match &args.state_dir {
        Some(dir) => dir.join(control::SOCKET),
        None => control::socket_path(&configuration(&args.files, &HooksArgs::default())?),
    };
    let asked: Vec<Saved> = match control::ask(&socket, &Ask::Incidents) {
        Ok(asked) => asked,
        Err(error) if error.is_nobody() => return incidents(state_dir),
        Err(error) => {
            crate::observe::complain(&format!("sandwatch: {error}; these are its files"));
            return incidents(state_dir);
        }
    };
    // An agent that keeps no files knows its incidents all the same.
    let mut all = incidents(state_dir).unwrap_or_default();
    all.retain(|saved| asked.iter().all(|newer| newer.id() != saved.id()));
    all.extend(asked);
    sort(&mut all);
    Ok(all)
}

/// The newest first.
fn sort(incidents: &mut [Saved]) {
    let last = |saved: &Saved| saved.alert().incident.as_ref().map(|incident| incident.last.clone());
    incidents.sort_by(|a, b| last(b).cmp(&last(a)).then_with(|| a.id().cmp(b.id())));
}

/// All incidents that have a file, the newest first. What cannot be read is said.
fn incidents(state_dir: &Path) -> Result<Vec<Saved>, CliError> {
    let (mut incidents, problems) =
        read_incidents(state_dir).map_err(|error| CliError::new(Exit::Usage, error))?;
    for problem in problems {
        crate::observe::complain(&format!("sandwatch: {problem}"));
    }
    sort(&mut incidents);
    Ok(incidents)
}

fn find(state_dir: &Path, id: &str) -> Result<Saved, CliError> {
    let mut found: Vec<Saved> = incidents(state_dir)?
        .into_iter()
        .filter(|saved| !id.is_empty() && saved.id().starts_with(id))
        .collect();
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(CliError::no(format!(
            "no incident {id:?} below {}; `sandwatch incident list --all` names those there are",
            state_dir.display()
        ))),
        several => {
            Err(CliError::usage(format!("{several} incidents begin with {id:?}; give more of the id")))
        }
    }
}

fn state_dir(given: Option<&PathBuf>, files: &FilesArgs) -> Result<PathBuf, CliError> {
    match given {
        Some(dir) => Ok(dir.clone()),
        None => Ok(configuration(files, &HooksArgs::default())?.state_dir),
    }
}

//! `sandwatch explain`: an alert again, with its reasons.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::args::{ExplainArgs, HooksArgs};
use super::run::configuration;
use super::{CliError, Exit};
use crate::alert::{Alert, AlertKind, SafeAlert, escape, human};
use crate::config::SinkKind;
use crate::detect::read_incidents;

/// An id is looked up by at least this much of it.
const SHORTEST_ID: usize = 8;

pub(super) fn run(args: &ExplainArgs) -> Result<Exit, CliError> {
    let alert = find(args)?;
    crate::observe::say(&explained(alert, &super::doctor::style()));
    Ok(Exit::Ok)
}

/// The alert as people read it, with what only an explanation has room for.
pub(super) fn explained(alert: Alert, style: &human::Style) -> String {
    let safe = SafeAlert::new(alert);
    let mut text = human::story(&safe, style);
    let paragraph = |text: &mut String, more: &str| {
        text.push_str("\n\n");
        text.push_str(&human::wrap(&escape::for_terminal(more), style.width).join("\n"));
    };
    if !safe.refs.is_empty() {
        let refs: Vec<String> =
            safe.refs.iter().map(|(name, ids)| format!("{name} {}", ids.join(" "))).collect();
        paragraph(&mut text, &format!("Described in: {}", refs.join("; ")));
    }
    if safe.kind == AlertKind::Incident {
        paragraph(&mut text, &allowing(&safe));
    }
    if let Some(yaml) = &safe.allow_with {
        let lines: Vec<_> = yaml.lines().map(escape::for_terminal).collect();
        text.push_str(&format!("\n\n{}", lines.join("\n")));
    }
    text
}

/// What to write where, if it is normal.
fn allowing(alert: &Alert) -> String {
    if alert.allow_with.is_some() {
        return "If this is normal for this worker, this in a file of your rules directory would allow it, once owner, reason \
                and expiry are filled in:"
            .to_owned();
    }
    let Some(finding) = &alert.finding else { return String::new() };
    let lead = (&finding.id, &finding.kind, &finding.rule);
    let also = finding.also.iter().map(|also| (&also.finding, &also.kind, &also.rule));
    let mut text = "No exception is offered for this.".to_owned();
    for (id, kind, rule) in std::iter::once(lead).chain(also) {
        let place = rule.as_ref().map_or(String::new(), |rule| format!(" ({}:{})", rule.file, rule.line));
        text.push_str(&if kind == "expectation" {
            format!(" `{id}` is something that the profile does not expect{place}: if it is normal, an allow item there says so.")
        } else {
            format!(" `{id}` is a detection{place}: only an allow item of the profile that also names it in `permits` silences it.")
        });
    }
    text
}

fn find(args: &ExplainArgs) -> Result<Alert, CliError> {
    if args.alert == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| CliError::usage(format!("standard input: {error}")))?;
        return last_alert("standard input", &text);
    }
    let path = Path::new(&args.alert);
    if path.is_file() {
        return last_alert(&args.alert, &read(path)?);
    }
    let is_id = args.alert.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if !is_id || path.exists() {
        let what = if path.exists() { "is no file" } else { "is neither a file that is there nor an id" };
        return Err(CliError::usage(format!("{}: {what}; name a file with alerts, or an id", args.alert)));
    }
    if args.alert.len() < SHORTEST_ID {
        return Err(CliError::usage(format!(
            "{:?} is neither a file nor an id; give at least {SHORTEST_ID} characters of an id",
            args.alert
        )));
    }
    let files = match &args.within {
        Some(file) => vec![file.clone()],
        None => sink_files(args)?,
    };
    // What the agent keeps has the newest alert of each incident.
    let state_dir = configuration(&args.files, &HooksArgs::default())?.state_dir;
    if args.within.is_none()
        && let Ok((incidents, _)) = read_incidents(&state_dir)
        && let Some(saved) = incidents.iter().find(|saved| names(saved.alert(), &args.alert))
    {
        return Ok(saved.alert().clone());
    }
    for file in &files {
        let text = read(file)?;
        if let Some(alert) = text.lines().rev().filter_map(parse).find(|alert| names(alert, &args.alert)) {
            return Ok(alert);
        }
    }
    let places: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    Err(CliError::no(format!(
        "no alert or incident {:?} in {}; name the file with --in",
        args.alert,
        if places.is_empty() { state_dir.display().to_string() } else { places.join(", ") }
    )))
}

fn names(alert: &Alert, id: &str) -> bool {
    alert.id.starts_with(id) || alert.incident.as_ref().is_some_and(|incident| incident.id.starts_with(id))
}

fn sink_files(args: &ExplainArgs) -> Result<Vec<PathBuf>, CliError> {
    let config = configuration(&args.files, &HooksArgs::default())?;
    let files: Vec<PathBuf> = config
        .sinks
        .into_iter()
        .filter(|sink| sink.kind == SinkKind::File)
        .filter_map(|sink| sink.path)
        .collect();
    Ok(files)
}

fn read(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(|error| CliError::usage(format!("{}: {error}", path.display())))
}

/// The newest alert of a text: one object over several lines, or JSON lines.
fn last_alert(place: &str, text: &str) -> Result<Alert, CliError> {
    if let Some(alert) = parse(text) {
        return Ok(alert);
    }
    text.lines().rev().find_map(parse).ok_or_else(|| {
        let why =
            serde_json::from_str::<Alert>(text).err().map_or(String::new(), |error| format!(": {error}"));
        CliError::usage(format!("{place} holds no alert of schema {}{why}", crate::alert::ALERT_SCHEMA))
    })
}

fn parse(text: &str) -> Option<Alert> {
    serde_json::from_str(text).ok()
}

//! `sandwatch doctor`: what this host lets the agent see.
//!
//! The answer is not read off a list: it is what the running agent found at its start. Without one, the probes are loaded,
//! attached and shown a canary, and taken down again.

mod text;

use serde::Serialize;

use super::args::DoctorArgs;
use super::run::configuration;
use super::{CliError, Exit, RulesFrom, load_rules};
use crate::alert::human::Style;
use crate::config::Config;
use crate::control::{self, Ask, DoctorAnswer};
use crate::event::Signal;
use crate::kernel::{Coverage, GapWeight, KernelError, Level, Sensor};
use crate::observe::{LogFormat, start_log};
use crate::privilege::{self, Plan};
use crate::profile::RuleSet;
use crate::profile::doc::On;
use crate::run::sensor_options;

pub(crate) use text::coverage as coverage_text;

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    coverage: &'a Coverage,
    /// What the agent keeps once it watches.
    privileges: Privileges,
    /// Detections that a gap through which an action can succeed unseen takes something from.
    weakened: &'a [Weakened],
}

/// What an agent that is started like this keeps once it watches.
#[derive(Debug, Serialize)]
struct Privileges {
    #[serde(flatten)]
    plan: Plan,
    /// Number of system calls that are refused from then on; none if the kernel cannot.
    refused_calls: Option<usize>,
}

impl Privileges {
    fn of(coverage: &Coverage) -> Self {
        Self { plan: Plan::of(coverage.host.capabilities), refused_calls: privilege::refused_calls() }
    }
}

/// A detection that this host's coverage weakens.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Weakened {
    detection: String,
    tier: &'static str,
    /// Its signal is not watched at all.
    blind: bool,
    /// Names of the gaps.
    gaps: Vec<&'static str>,
}

fn weakened(coverage: &Coverage, rules: &RuleSet) -> Vec<Weakened> {
    let mut list = Vec::new();
    for detection in rules.detections() {
        let signals: &[Signal] = match detection.on {
            On::Exec => &[Signal::Exec],
            On::Open => &[Signal::Open],
            // A detection on connects also judges unconnected sends.
            On::Connect => &[Signal::Connect, Signal::Send],
            On::Unix => &[Signal::Unix],
            On::Socket => &[Signal::Socket],
            On::CgroupMove => &[],
        };
        let entries = || signals.iter().filter_map(|signal| coverage.signal(*signal));
        let mut gaps: Vec<&'static str> = entries()
            .flat_map(|entry| {
                entry.gaps.iter().filter(|gap| gap.weight == GapWeight::Blind).map(|gap| gap.name)
            })
            .collect();
        gaps.sort_unstable();
        gaps.dedup();
        let blind = entries().any(|entry| entry.rung.is_none());
        if blind || !gaps.is_empty() {
            list.push(Weakened {
                detection: detection.id.to_owned(),
                tier: detection.tier.name(),
                blind,
                gaps,
            });
        }
    }
    list
}

/// What `--json` prints when nothing can be watched.
#[derive(Serialize)]
struct Nothing<'a> {
    level: Level,
    error: &'a str,
}

pub(super) fn run(args: &DoctorArgs) -> Result<Exit, CliError> {
    start_log(LogFormat::detect(), "warn");
    let config = configuration(&args.files, &args.hooks)?;
    if !args.fresh
        && args.hooks.hooks.is_none()
        && let Some(exit) = of_agent(&config, args)?
    {
        return Ok(exit);
    }
    let rules = load_rules(&RulesFrom::choose(&args.files.rules, &config.rules))?;
    let options = sensor_options(&config, &rules)?;
    match Sensor::start(&options) {
        Ok(sensor) => {
            let coverage = sensor.coverage();
            let (page, answer) = answer(coverage, &rules, args.programs, &style())
                .map_err(|error| CliError::new(Exit::No, error))?;
            crate::observe::say(&if args.json { json(&answer)? } else { page });
            Ok(exit(coverage.level))
        }
        Err(error @ KernelError::Hooks(_)) => Err(error.into()),
        Err(error) => {
            let why = error.to_string();
            if args.json {
                crate::observe::say(&json(&Nothing { level: Level::None, error: &why })?);
            } else {
                crate::observe::say(&format!(
                    "Coverage: none. Nothing can be watched on this host:\n  {why}"
                ));
            }
            Ok(exit(Level::None))
        }
    }
}

/// What a running agent says; `None`: there is none.
fn of_agent(config: &Config, args: &DoctorArgs) -> Result<Option<Exit>, CliError> {
    let style = style();
    let question = Ask::Doctor { programs: args.programs, width: Some(style.width), color: style.color };
    let answer: DoctorAnswer = match control::ask(&control::socket_path(config), &question) {
        Ok(answer) => answer,
        Err(error) if error.is_nobody() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if args.json {
        crate::observe::say(&json(&answer.json)?);
    } else {
        crate::observe::say(&answer.page);
        crate::observe::say("\nAs the running agent found it at its start; `--fresh` tries the hooks anew.");
    }
    Ok(Some(match answer.level.as_str() {
        "full" => Exit::Ok,
        "partial" => Exit::No,
        _ => Exit::Usage,
    }))
}

/// The answer as people read it and as `--json` prints it.
pub(crate) fn answer(
    coverage: &Coverage,
    rules: &RuleSet,
    programs: bool,
    style: &Style,
) -> Result<(String, serde_json::Value), serde_json::Error> {
    let weakened = weakened(coverage, rules);
    let privileges = Privileges::of(coverage);
    let page = text::page(coverage, &privileges, &weakened, programs, style);
    let answer = serde_json::to_value(Answer { coverage, privileges, weakened: &weakened })?;
    Ok((page, answer))
}

/// 0 full, 1 partial, 2 none.
fn exit(level: Level) -> Exit {
    match level {
        Level::Full => Exit::Ok,
        Level::Partial => Exit::No,
        Level::None => Exit::Usage,
    }
}

fn json(value: &impl Serialize) -> Result<String, CliError> {
    serde_json::to_string_pretty(value).map_err(|error| CliError::new(Exit::No, error))
}

/// The style of standard output.
pub(super) fn style() -> Style {
    use std::io::IsTerminal;
    use std::os::fd::AsFd;
    let out = std::io::stdout();
    Style::detect(out.is_terminal().then(|| crate::sink::terminal_columns(out.as_fd())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_has_its_exit_code() {
        assert_eq!([Level::Full, Level::Partial, Level::None].map(exit), [Exit::Ok, Exit::No, Exit::Usage]);
    }
}

//! `sandwatch workers`: the workers on this host, as the running agent knows them, else as one would find them now.
//!
//! Without an agent it walks the very way of the agent's start (discovery, selection, scan of /proc) without probes. Roles are those a scan can
//! tell: what a process was before the program it runs now, nobody can know afterwards.

mod probes;
mod text;

use super::args::{FilesArgs, HooksArgs, WorkersArgs};
use super::run::configuration;
use super::{CliError, Exit, RulesFrom, load_rules};
use crate::alert::human::Style;
use crate::config::Config;
use crate::control::{self, Ask, Listed, list};
use crate::delivery::Engine;
use crate::kernel::cgroup2_mount;
use crate::observe::{LogFormat, start_log};
use crate::run::{Agent, RuleFiles, envelope, sensor_options};

use probes::NoProbes;

pub(super) fn run(args: &WorkersArgs) -> Result<Exit, CliError> {
    start_log(LogFormat::detect(), "warn");
    let config = configuration(&args.files, &HooksArgs::default())?;
    let listed = match control::ask(&control::socket_path(&config), &Ask::Workers) {
        Ok(listed) if !args.fresh => listed,
        Err(error) if !args.fresh && !error.is_nobody() => return Err(error.into()),
        _ => found(&args.files, config)?,
    };
    if args.json {
        let text = serde_json::to_string_pretty(&listed).map_err(|error| CliError::new(Exit::No, error))?;
        crate::observe::say(&text);
    } else {
        crate::observe::say(&text::page(&listed, &Style::PLAIN));
    }
    Ok(if listed.is_empty() { Exit::No } else { Exit::Ok })
}

/// The workers as an agent would find them now.
fn found(files: &FilesArgs, config: Config) -> Result<Vec<Listed>, CliError> {
    let from = RulesFrom::choose(&files.rules, &config.rules);
    let rules = load_rules(&from)?;
    let labels = sensor_options(&config, &rules)?.sizes.labels;
    let rule_files = RuleFiles::new(Box::new(move || load_rules(&from)), Vec::new());
    let root = cgroup2_mount()?;
    let envelope = envelope(&config, rules.digest(), &root);
    let mut agent =
        Agent::new(NoProbes::new()?, &config, rules, rule_files, Engine::none(envelope), &root, labels)?;
    agent.look_at_setups();
    Ok(list(agent.pipeline()))
}

//! `sandwatch run`.

use std::path::Path;

use super::args::{FilesArgs, HooksArgs, RunArgs};
use super::{CliError, Exit, RulesFrom, load_rules};
use crate::config::{self, Config, Hooks, SinkConfig};
use crate::observe::{LogFormat, start_log};
use crate::sink::Sinks;

/// Where the configuration is looked for when none is named.
const DEFAULT_CONFIG: &str = "/etc/sandwatch/sandwatch.yaml";

pub(super) fn run(args: &RunArgs) -> Result<Exit, CliError> {
    start_log(LogFormat::detect(), "info");
    let mut config = configuration(&args.files, &args.hooks)?;
    if let Some(output) = &args.output {
        config.sinks =
            vec![if output.as_os_str() == "-" { json_stdout() } else { SinkConfig::file(output.clone()) }];
    }
    if config.workers.watch.is_empty() && config.workers.assign.is_empty() {
        return Err(CliError::usage(
            "no worker is named, so nothing would be watched; name cgroups or units in the configuration: \
             workers: { watch: [\"n8n.service\"] }"
                .into(),
        ));
    }
    let from = RulesFrom::choose(&args.files.rules, &config.rules);
    let rules = load_rules(&from)?;
    let sinks = Sinks::open(&config.sinks)?;
    tracing::info!(rules = %from, digest = rules.digest(), "rules loaded");
    drop(sinks);
    Ok(Exit::Ok)
}

fn json_stdout() -> SinkConfig {
    SinkConfig { format: config::SinkFormat::Json, ..SinkConfig::stdout() }
}

/// The configuration named on the command line, the one at its usual place, or the defaults; `--hooks` overrides.
pub(super) fn configuration(files: &FilesArgs, hooks: &HooksArgs) -> Result<Config, CliError> {
    let mut config = match &files.config {
        Some(path) => config::load(path)?,
        None if Path::new(DEFAULT_CONFIG).exists() => config::load(Path::new(DEFAULT_CONFIG))?,
        None => Config::default(),
    };
    if let Some(hooks) = &hooks.hooks {
        config.hooks = Hooks::Text(hooks.clone());
    }
    Ok(config)
}

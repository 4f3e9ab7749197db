//! `sandwatch run`.

use std::path::{Path, PathBuf};

use super::args::{FilesArgs, HooksArgs, RunArgs};
use super::{CliError, Exit, RulesFrom, load_rules};
use crate::config::{self, Config, Hooks, SinkConfig};
use crate::delivery::{Engine, Setup};
use crate::kernel::Sensor;
use crate::ledger::Hash;
use crate::observe::{LogFormat, start_log};
use crate::privilege;
use crate::run::{self, Agent, RuleFiles, sensor_options};

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
    let envelope = run::envelope(&config, rules.digest(), &crate::kernel::cgroup2_mount()?);
    let setup = Setup::of(&config, envelope);
    // Alerts for this call's own output are nobody's later.
    let sinks = Engine::open(if args.output.is_some() { setup.in_memory() } else { setup })?;
    tracing::info!(rules = %from, digest = rules.digest(), "rules loaded");
    let options = sensor_options(&config, &rules)?;
    let sensor = Sensor::start(&options)?;
    for signal in sensor.coverage().signals.iter().filter(|signal| signal.rung.is_none()) {
        tracing::warn!(
            signal = signal.signal.name(),
            "not watched on this host; `sandwatch doctor` says why"
        );
    }
    let cgroup_root = sensor.cgroup_root().to_owned();
    let coverage = sensor.coverage().mark();
    let files = rule_files(from);
    // With the last probe attached and before the first thread: those of delivery start in `Agent::new`.
    privilege::lower().log(&written_later(&config));
    let mut agent = Agent::new(sensor, &config, rules, files, sinks, &cgroup_root, options.sizes.labels)?;
    agent.keep_log(&config.state_dir, &config_digest(&args.files));
    agent.keep_incidents(&config.state_dir);
    agent.beat(config.heartbeat.every.0, coverage);
    tracing::info!(workers = agent.pipeline().workers.present(), "watching");
    let summary = run::run(agent)?;
    // Not through the log, whose level may leave it out.
    crate::observe::complain(&format!("sandwatch: {summary}"));
    for (name, stats) in &summary.sinks {
        crate::observe::complain(&format!("sandwatch: sink {name}: {stats}"));
    }
    Ok(Exit::Ok)
}

/// The rules as they are loaded again while the agent runs.
pub(super) fn rule_files(from: RulesFrom) -> RuleFiles {
    let folders = match &from {
        RulesFrom::Directories(folders) => folders.clone(),
        RulesFrom::Shipped => Vec::new(),
    };
    RuleFiles::new(Box::new(move || load_rules(&from)), folders)
}

/// Files that are opened, or opened again, while the agent runs.
fn written_later(config: &Config) -> Vec<PathBuf> {
    let files = config.sinks.iter().filter(|sink| sink.kind == config::SinkKind::File);
    files.filter_map(|sink| sink.path.clone()).chain([config.state_dir.join("spool")]).collect()
}

fn json_stdout() -> SinkConfig {
    SinkConfig { format: config::SinkFormat::Json, ..SinkConfig::stdout() }
}

/// What the local log knows a configuration by: its file's bytes, and the command line, which replaces parts of it.
fn config_digest(files: &FilesArgs) -> String {
    let path = files.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG));
    let mut bytes = std::fs::read(path).unwrap_or_default();
    for argument in std::env::args_os().skip(1) {
        bytes.push(0);
        bytes.extend_from_slice(argument.as_encoded_bytes());
    }
    Hash::of(&bytes).named()
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

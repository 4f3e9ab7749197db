//! `sandwatch run`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::{FilesArgs, HooksArgs, RunArgs};
use super::rules_from::check_owners;
use super::{CliError, Exit, RulesFrom, load_rules};
use crate::config::{self, Config, Hooks, SinkConfig, SinkKind};
use crate::control::{self, ConfigState};
use crate::delivery::{Engine, Setup};
use crate::frugal;
use crate::kernel::{Sensor, SensorOptions};
use crate::ledger::Hash;
use crate::observe::{LogFormat, start_log};
use crate::privilege;
use crate::profile::RuleSet;
use crate::run::{self, Agent, LastGood, Loaded, NewConfig, Refused, RuleFiles, Signals, sensor_options};
use crate::sink::FileSink;

/// Where the configuration is looked for when none is named.
const DEFAULT_CONFIG: &str = "/etc/sandwatch/sandwatch.yaml";

pub(super) fn run(args: &RunArgs) -> Result<Exit, CliError> {
    start_log(LogFormat::detect(), "info");
    let signals = Signals::catch()?;
    let (prepared, bad) = match prepare(args, None) {
        Ok(prepared) => (prepared, None),
        Err(error) => match on_last_good(args, &error) {
            Some(prepared) => (prepared, Some(error.message())),
            None => return Err(error),
        },
    };
    let Prepared { config, from, rules, sinks, options } = prepared;
    tracing::info!(rules = %from, digest = rules.digest(), "rules loaded");
    let sensor = Sensor::start(&options)?;
    for signal in sensor.coverage().signals.iter().filter(|signal| signal.rung.is_none()) {
        tracing::warn!(
            signal = signal.signal.name(),
            "not watched on this host; `sandwatch doctor` says why"
        );
    }
    let cgroup_root = sensor.cgroup_root().to_owned();
    let coverage = sensor.coverage().clone();
    let file = config_file(&args.files);
    let folders = folders(&RulesFrom::choose(&args.files.rules, &config.rules));
    let files = RuleFiles::whole(loader(args.clone()), folders, file.clone());
    // With the last probe attached and before the first thread: those of delivery start in `Agent::new`.
    frugal::take_short_turns();
    privilege::lower().log(&written_later(&config));
    let mut agent = Agent::new(sensor, &config, rules, files, sinks, &cgroup_root, options.sizes.labels)?;
    agent.heed(signals)?;
    let digest = config_digest(&args.files);
    agent.keep_log(&config.state_dir, &digest);
    agent.keep_incidents(&config.state_dir);
    // Log and incidents are the first agent's to take; these files have no lock, and are the service's.
    if args.output.is_none() {
        agent.keep_postures(&config.state_dir);
        agent.keep_interval(&config.state_dir);
    }
    agent.follow_config(config.clone(), digest.clone());
    agent.watch_canary(options.sizes.labels.max(2) - 1, |signal| {
        coverage.signal(signal).is_some_and(|entry| entry.rung.is_some())
    });
    let mark = coverage.mark();
    let state = ConfigState { digest, ..ConfigState::default() };
    agent.report(Some(&control::socket_path(&config)), Some(coverage), state);
    agent.serve_metrics(config.listen.as_deref());
    match &bad {
        Some(why) => agent.runs_on_last_good(&config.state_dir, file, why),
        None if args.output.is_none() => agent.keep_last_good(&config.state_dir, file),
        None => {}
    }
    agent.beat(config.heartbeat.every.0, mark);
    tracing::info!(workers = agent.pipeline().workers.present(), "watching");
    frugal::give_back();
    let summary = run::run(agent)?;
    // Not through the log, whose level may leave it out.
    crate::observe::complain(&format!("sandwatch: {summary}"));
    for (name, stats) in &summary.sinks {
        crate::observe::complain(&format!("sandwatch: sink {name}: {stats}"));
    }
    Ok(Exit::Ok)
}

/// What an agent starts with: all that can be wrong with configuration and rules is found out by then.
struct Prepared {
    config: Config,
    from: RulesFrom,
    rules: Arc<RuleSet>,
    sinks: Engine,
    options: SensorOptions,
}

fn prepare(args: &RunArgs, kept: Option<&LastGood>) -> Result<Prepared, CliError> {
    let (config, from) = match kept {
        None => {
            let config = configured(args, None)?;
            let from = RulesFrom::choose(&args.files.rules, &config.rules);
            (config, from)
        }
        Some(kept) => (configured(args, Some(kept))?, RulesFrom::kept(&kept.rules)),
    };
    let rules = load_rules(&from)?;
    check_owners(&from)?;
    let options = SensorOptions { canary: true, ..sensor_options(&config, &rules)? };
    let envelope = run::envelope(&config, rules.digest(), &crate::kernel::cgroup2_mount()?);
    let setup = Setup::of(&config, envelope);
    // Whoever names a file on the command line waits for it here, and not for the disk to change.
    if let Some(output) =
        config.sinks.iter().find(|sink| args.output.is_some() && sink.kind == SinkKind::File)
    {
        FileSink::open(output).map_err(|error| CliError::usage(error.to_string()))?;
    }
    // Alerts for this call's own output are nobody's later.
    let sinks = Engine::open(if args.output.is_some() { setup.in_memory() } else { setup })?;
    Ok(Prepared { config, from, rules, sinks, options })
}

/// The last good configuration in place of one that is bad; `None`: there is none, or the fault is another.
fn on_last_good(args: &RunArgs, error: &CliError) -> Option<Prepared> {
    if error.exit() != Exit::Usage || args.output.is_some() {
        return None;
    }
    let state_dir = config::state_dir_of(config_file(&args.files).as_deref());
    let kept = LastGood::find(&state_dir)?;
    tracing::error!(error = error.message(), "the configuration is bad; trying the last good one");
    prepare(args, Some(&kept))
        .inspect_err(|error| tracing::error!(error = error.message(), "the last good one is bad too"))
        .ok()
}

/// The configuration with what the command line says, or the one that was kept.
fn configured(args: &RunArgs, kept: Option<&LastGood>) -> Result<Config, CliError> {
    let mut config = match kept {
        None => configuration(&args.files, &args.hooks)?,
        Some(kept) => {
            let mut config = match &kept.config {
                Some(path) => config::load(path)?,
                None => Config::default(),
            };
            if let Some(hooks) = &args.hooks.hooks {
                config.hooks = Hooks::Text(hooks.clone());
            }
            config
        }
    };
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
    Ok(config)
}

/// Configuration and rules as they are loaded again while the agent runs.
fn loader(args: RunArgs) -> run::Load {
    Box::new(move || {
        let config = configured(&args, None).map_err(|error| Refused::Config(error.message()))?;
        let from = RulesFrom::choose(&args.files.rules, &config.rules);
        let rules = load_rules(&from)?;
        check_owners(&from)?;
        let (digest, folders) = (config_digest(&args.files), folders(&from));
        Ok(Loaded { rules, config: Some(NewConfig { config, digest, folders }) })
    })
}

fn folders(from: &RulesFrom) -> Vec<PathBuf> {
    match from {
        RulesFrom::Directories(folders) => folders.clone(),
        RulesFrom::Shipped => Vec::new(),
    }
}

/// The configuration file, if there is to be one.
pub(super) fn config_file(files: &FilesArgs) -> Option<PathBuf> {
    let usual = || Some(PathBuf::from(DEFAULT_CONFIG)).filter(|path| path.exists());
    files.config.clone().or_else(usual)
}

/// The rules as they are loaded again while the agent runs.
pub(super) fn rule_files(from: RulesFrom) -> RuleFiles {
    let folders = folders(&from);
    RuleFiles::new(Box::new(move || load_rules(&from)), folders)
}

/// Files that are opened, or opened again, while the agent runs.
fn written_later(config: &Config) -> Vec<PathBuf> {
    let files = config.sinks.iter().filter(|sink| sink.kind == SinkKind::File);
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
